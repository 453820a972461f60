// SPDX-License-Identifier: Apache-2.0
// Input: a file of a journal, or what one frame of it says, as the first byte chooses. What is read
// of requests can be written down and read again, as a server does that starts over.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launch/journal/journal_records.h"
#include "launch/journal/journal_segment.h"
#include "runtime/check.h"

namespace {

using Requests = std::map<uint64_t, folkmoot::JournaledRequest>;

const folkmoot::AgreementFields& Fields() {
  static const folkmoot::AgreementFields fields = {{"version", "1"}, {"model", "m"}};
  return fields;
}

// Whole frames from the start, of which each is what it was written as.
std::vector<std::string> Frames(std::string_view bytes) {
  std::vector<std::string> frames = folkmoot::FramesOf(bytes);
  for (const std::string& frame : frames) {
    const std::string framed = folkmoot::Framed(frame);
    FM_CHECK(bytes.starts_with(framed));
    bytes.remove_prefix(framed.size());
  }
  return frames;
}

std::string Write(const Requests& requests) {
  std::string records;
  for (const auto& [id, request] : requests) {
    FM_CHECK(id == request.id);
    records += folkmoot::AcceptRecord(id, request.http, request.fresh_seed, request.now);
    for (const auto& [prompt, event] : request.events) {
      FM_CHECK(event.choice >= 0 && event.finish <= folkmoot::FinishReason::kError);
      records += folkmoot::EventRecord(id, prompt, event);
    }
    if (request.ended) records += folkmoot::EndRecord(id);
  }
  return records;
}

void Read(const std::vector<std::string>& frames) {
  Requests requests;
  const std::string differs = folkmoot::ReadRecords(frames, Fields(), &requests);
  if (!differs.empty()) FM_CHECK(requests.empty());
  const std::string records = Write(requests);
  Requests again;
  FM_CHECK(folkmoot::ReadRecords({folkmoot::HeaderFrame(Fields()), folkmoot::RecordsFrame(records)},
                                 Fields(), &again)
               .empty());
  FM_CHECK(again.size() == requests.size() && Write(again) == records);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      Read(Frames(bytes));
      break;
    case 1:
      Read({std::string(bytes)});
      break;
    default:
      Read({folkmoot::HeaderFrame(Fields()), folkmoot::RecordsFrame(std::string(bytes))});
  }
  return 0;
}
