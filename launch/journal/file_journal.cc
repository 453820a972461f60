// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/file_journal.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "launch/plan_codec.h"
#include "proto/journal.pb.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kVersion = 1;
constexpr char kHeaderLetter = 'H';
constexpr char kRecordsLetter = 'R';
constexpr std::string_view kSuffix = ".journal";

std::string PathOf(const std::string& directory, int64_t number) {
  return fmt::format("{}/{:010}{}", directory, number, kSuffix);
}

// The numbers of the directory's files, ascending.
std::vector<int64_t> NumbersIn(const std::string& directory) {
  std::vector<int64_t> numbers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    int64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && std::string_view(end) == kSuffix) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

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

void ToWire(const HttpRequest& http, uint64_t fresh_seed, int64_t now, wire::JournalAccept* out) {
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

void ToWire(size_t prompt, const OutputEvent& event, wire::JournalEvent* out) {
  StepResult result;
  result.sequences.push_back(event.result);
  out->set_prompt(prompt);
  out->set_choice(event.choice);
  out->set_result(EncodeResult(result));
  out->set_finish(static_cast<uint32_t>(event.finish));
  out->set_cached_tokens(event.cached_tokens);
  out->set_drafted(event.drafted);
  out->set_accepted(event.accepted);
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

absl::StatusOr<std::unique_ptr<FileJournal>> FileJournal::Open(const FileJournalOptions& options) {
  std::unique_ptr<FileJournal> journal(new FileJournal(options));
  const absl::Status begun = Annotate(journal->Begin(), "--journal");
  if (begun.ok()) return journal;
  journal->RemoveOwnSegment();
  if (!options.may_end) return begun;
  journal->Fail(begun);
  return journal;
}

absl::Status FileJournal::Begin() {
  std::error_code error;
  fs::create_directories(options_.directory, error);
  if (error) return Unavailable("{}: {}", options_.directory, error.message());
  fs::permissions(options_.directory, fs::perms::owner_all, error);
  FM_RETURN_IF_ERROR(ReadAll());
  return Rewrite();
}

absl::Status FileJournal::ReadAll() {
  segments_ = NumbersIn(options_.directory);
  for (const int64_t number : segments_) {
    const std::string path = PathOf(options_.directory, number);
    FM_ASSIGN_OR_RETURN(const std::vector<std::string> frames, ReadFrames(path));
    for (size_t i = 0; i < frames.size(); ++i) {
      const std::string_view body = std::string_view(frames[i]).substr(1);
      if (i == 0) {
        wire::JournalHeader header;
        const bool read = frames[i][0] == kHeaderLetter &&
                          header.ParseFromArray(body.data(), static_cast<int>(body.size()));
        const std::string differs = read ? Differs(header, options_.fields) : "its header";
        if (differs.empty()) continue;
        spdlog::warn("{}: differs from this server in {}; its requests do not go on here", path,
                     differs);
        foreign_.insert(number);
        break;
      }
      wire::JournalRecords records;
      if (frames[i][0] != kRecordsLetter ||
          !records.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        break;
      }
      Apply(records, &found_);
    }
  }
  if (!found_.empty()) next_id_ = found_.rbegin()->first + 1;
  return absl::OkStatus();
}

// What is still of use, in a file of our own; the others go, but for those of another server.
absl::Status FileJournal::Rewrite() {
  const std::vector<int64_t> old = segments_;
  FM_RETURN_IF_ERROR(BeginSegment());
  for (const auto& [id, request] : found_) {
    wire::JournalRecord record;
    record.set_request(id);
    ToWire(request.http, request.fresh_seed, request.now, record.mutable_accept());
    pending_ += EncodeOne(record);
    for (const JournaledRequest::Event& event : request.events) Add(id, event.prompt, event.event);
    live_[id] = {.segment = segments_.back(), .ended = {}};
    if (request.ended) End(id);
    Commit();
  }
  FM_RETURN_IF_ERROR(status_);
  for (const int64_t number : old) {
    if (foreign_.contains(number)) continue;
    std::error_code ignored;
    fs::remove(PathOf(options_.directory, number), ignored);
  }
  segments_ = {segments_.back()};
  return absl::OkStatus();
}

absl::Status FileJournal::BeginSegment() {
  const int64_t number = segments_.empty() ? 1 : segments_.back() + 1;
  FM_ASSIGN_OR_RETURN(writer_, FrameWriter::Create(PathOf(options_.directory, number)));
  segments_.push_back(number);
  FM_RETURN_IF_ERROR(writer_->Append(HeaderFrame(options_.fields), options_.sync));
  bytes_ += writer_->bytes();
  return absl::OkStatus();
}

std::vector<JournaledRequest> FileJournal::TakeRequests() {
  std::vector<JournaledRequest> requests;
  for (auto& [id, request] : found_) requests.push_back(std::move(request));
  found_.clear();
  return requests;
}

uint64_t FileJournal::Accept(const HttpRequest& http, uint64_t fresh_seed, int64_t now) {
  const uint64_t id = next_id_++;
  if (!status_.ok()) return id;
  wire::JournalRecord record;
  record.set_request(id);
  ToWire(http, fresh_seed, now, record.mutable_accept());
  pending_ += EncodeOne(record);
  live_[id] = {.segment = segments_.back(), .ended = {}};
  return id;
}

void FileJournal::Add(uint64_t id, size_t prompt, const OutputEvent& event) {
  if (!status_.ok()) return;
  wire::JournalRecord record;
  record.set_request(id);
  ToWire(prompt, event, record.mutable_event());
  pending_ += EncodeOne(record);
}

void FileJournal::End(uint64_t id) {
  if (!status_.ok()) return;
  wire::JournalRecord record;
  record.set_request(id);
  record.set_end(true);
  pending_ += EncodeOne(record);
  const auto found = live_.find(id);
  if (found != live_.end()) found->second.ended = Clock::now();
}

void FileJournal::Commit() {
  if (!status_.ok() || pending_.empty()) return;
  if (options_.progress != nullptr) options_.progress->Begin({.phase = "write to the journal"});
  Write();
  if (options_.progress != nullptr) options_.progress->End();
}

void FileJournal::Write() {
  const std::string frame = kRecordsLetter + std::exchange(pending_, std::string());
  const int64_t before = writer_->bytes();
  const absl::Status written = writer_->Append(frame, options_.sync);
  if (!written.ok()) return Fail(written);
  bytes_ += writer_->bytes() - before;
  if (writer_->bytes() < options_.segment_bytes) return;
  const absl::Status begun = BeginSegment();
  if (!begun.ok()) return Fail(begun);
  RemoveOldSegments();
}

// Those whose requests have all ended long ago.
void FileJournal::RemoveOldSegments() {
  const auto now = Clock::now();
  int64_t oldest = segments_.back();
  for (auto it = live_.begin(); it != live_.end();) {
    const bool ended = it->second.ended != Clock::time_point();
    if (ended && now - it->second.ended > std::chrono::seconds(options_.retention_seconds)) {
      it = live_.erase(it);
      continue;
    }
    oldest = std::min(oldest, it->second.segment);
    ++it;
  }
  while (segments_.front() < oldest) {
    std::error_code ignored;
    fs::remove(PathOf(options_.directory, segments_.front()), ignored);
    segments_.erase(segments_.begin());
  }
}

void FileJournal::RemoveOwnSegment() {
  if (!writer_) return;
  std::error_code ignored;
  fs::remove(writer_->path(), ignored);
}

void FileJournal::Fail(const absl::Status& status) {
  status_ = status;
  pending_.clear();
  spdlog::error("the journal ends here, the server goes on: {}", Message(status));
}

}  // namespace folkmoot
