// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/journal_records.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "launch/plan_codec.h"
#include "proto/journal.pb.h"

namespace folkmoot {
namespace {

constexpr uint32_t kVersion = 1;
constexpr char kHeaderLetter = 'H';
constexpr char kRecordsLetter = 'R';

// Reads the message of a frame with this letter; false: it is none.
template <typename Wire>
bool ReadFrame(std::string_view frame, char letter, Wire* wire) {
  return frame.starts_with(letter) &&
         wire->ParseFromArray(frame.data() + 1, static_cast<int>(frame.size() - 1));
}

// Why requests under this header cannot go on here; empty: they can.
std::string Differs(const wire::JournalHeader& header, const AgreementFields& fields) {
  if (header.version() != kVersion) return "its format";
  for (int i = 0; i < header.fields_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const wire::JournalHeader::Field& field = header.fields(i);
    if (at >= fields.size()) return field.name();
    if (field.name() != fields[at].first || field.value() != fields[at].second) return field.name();
  }
  return fields.size() == static_cast<size_t>(header.fields_size()) ? "" : fields.back().first;
}

JournaledRequest FromWire(uint64_t id, const wire::JournalAccept& in) {
  JournaledRequest request;
  request.id = id;
  request.http = {.method = "POST",
                  .path = in.path(),
                  .body = in.body(),
                  .id = in.request_id(),
                  .client = in.client()};
  const int headers = std::min(in.header_names_size(), in.header_values_size());
  for (int i = 0; i < headers; ++i) {
    request.http.headers.emplace_back(in.header_names(i), in.header_values(i));
  }
  request.fresh_seed = in.fresh_seed();
  request.now = in.now();
  return request;
}

absl::Status FromWire(const wire::JournalEvent& in, JournaledRequest::Event* out) {
  FM_ASSIGN_OR_RETURN(StepResult result, DecodeResult(in.result()));
  if (result.sequences.size() != 1 || in.choice() < 0 ||
      in.finish() > static_cast<uint32_t>(FinishReason::kError)) {
    return DataLoss("an event of a journal is none");
  }
  out->prompt = in.prompt();
  out->event.choice = in.choice();
  out->event.result = std::move(result.sequences.front());
  out->event.finish = static_cast<FinishReason>(in.finish());
  out->event.cached_tokens = in.cached_tokens();
  out->event.drafted = in.drafted();
  out->event.accepted = in.accepted();
  return absl::OkStatus();
}

std::string EncodeOne(const wire::JournalRecord& record) {
  wire::JournalRecords records;
  *records.add_records() = record;
  return records.SerializeAsString();
}

// Records that make no sense are left out: what they belong to begins anew, or is unknown.
void Apply(const wire::JournalRecords& records, std::map<uint64_t, JournaledRequest>* requests) {
  for (const wire::JournalRecord& record : records.records()) {
    if (record.has_accept()) {
      requests->insert_or_assign(record.request(), FromWire(record.request(), record.accept()));
      continue;
    }
    const auto found = requests->find(record.request());
    if (found == requests->end()) continue;
    JournaledRequest::Event event;
    if (record.has_event() && FromWire(record.event(), &event).ok()) {
      found->second.events.push_back(std::move(event));
    } else if (record.end()) {
      found->second.ended = true;
    }
  }
}

}  // namespace

std::string HeaderFrame(const AgreementFields& fields) {
  wire::JournalHeader header;
  header.set_version(kVersion);
  for (const auto& [name, value] : fields) {
    wire::JournalHeader::Field* field = header.add_fields();
    field->set_name(name);
    field->set_value(value);
  }
  return kHeaderLetter + header.SerializeAsString();
}

std::string AcceptRecord(uint64_t id, const HttpRequest& http, uint64_t fresh_seed, int64_t now) {
  wire::JournalRecord record;
  record.set_request(id);
  wire::JournalAccept* out = record.mutable_accept();
  out->set_path(http.path);
  out->set_body(http.body);
  out->set_request_id(http.id);
  out->set_client(http.client);
  for (const auto& [name, value] : http.headers) {
    out->add_header_names(name);
    out->add_header_values(value);
  }
  out->set_fresh_seed(fresh_seed);
  out->set_now(now);
  return EncodeOne(record);
}

std::string EventRecord(uint64_t id, size_t prompt, const OutputEvent& event) {
  wire::JournalRecord record;
  record.set_request(id);
  wire::JournalEvent* out = record.mutable_event();
  StepResult result;
  result.sequences.push_back(event.result);
  out->set_prompt(prompt);
  out->set_choice(event.choice);
  out->set_result(EncodeResult(result));
  out->set_finish(static_cast<uint32_t>(event.finish));
  out->set_cached_tokens(event.cached_tokens);
  out->set_drafted(event.drafted);
  out->set_accepted(event.accepted);
  return EncodeOne(record);
}

std::string EndRecord(uint64_t id) {
  wire::JournalRecord record;
  record.set_request(id);
  record.set_end(true);
  return EncodeOne(record);
}

std::string RecordsFrame(const std::string& records) { return kRecordsLetter + records; }

std::string ReadRecords(const std::vector<std::string>& frames, const AgreementFields& fields,
                        std::map<uint64_t, JournaledRequest>* requests) {
  for (size_t i = 0; i < frames.size(); ++i) {
    if (i == 0) {
      wire::JournalHeader header;
      const bool read = ReadFrame(frames[i], kHeaderLetter, &header);
      std::string differs = read ? Differs(header, fields) : "its header";
      if (!differs.empty()) return differs;
      continue;
    }
    wire::JournalRecords records;
    if (!ReadFrame(frames[i], kRecordsLetter, &records)) break;
    Apply(records, requests);
  }
  return "";
}

}  // namespace folkmoot
