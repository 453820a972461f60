// SPDX-License-Identifier: Apache-2.0
#include "launch/agreement.h"

#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

std::string Describe(const absl::Status& mine, const AgreementFields& fields) {
  nlohmann::json note;
  note["code"] = static_cast<int>(mine.code());
  note["error"] = std::string(Message(mine));
  note["fields"] = nlohmann::json::array();
  for (const auto& [name, value] : fields) note["fields"].push_back({name, value});
  return note.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status Differs(const nlohmann::json& first, const nlohmann::json& other, size_t rank) {
  const auto& expected = first["fields"];
  const auto& actual = other["fields"];
  for (size_t i = 0; i < expected.size() && i < actual.size(); ++i) {
    if (expected[i] == actual[i]) continue;
    return FailedPrecondition(
        "rank {} differs from rank 0 in {}: '{}' there, '{}' on rank 0; start all ranks with the "
        "same program, model files and flags",
        rank, expected[i][0].get<std::string>(), actual[i][1].get<std::string>(),
        expected[i][1].get<std::string>());
  }
  if (expected.size() != actual.size()) {
    return FailedPrecondition("rank {} runs another build than rank 0", rank);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AgreeOrFail(Communicator& world, const absl::Status& mine,
                         const AgreementFields& fields) {
  if (world.size() == 1) return mine;
  FM_ASSIGN_OR_RETURN(
      const std::vector<std::string> notes,
      AllGatherStrings(world, Describe(mine, fields), {.phase = "start-up agreement"}));
  std::vector<nlohmann::json> parsed;
  for (size_t r = 0; r < notes.size(); ++r) {
    parsed.push_back(nlohmann::json::parse(notes[r], nullptr, false));
    if (parsed.back().is_discarded()) return DataLoss("rank {} sent an unreadable greeting", r);
  }
  size_t failed = 0;
  for (const nlohmann::json& note : parsed) failed += note["code"] != 0 ? 1 : 0;
  for (size_t r = 0; r < parsed.size(); ++r) {
    if (parsed[r]["code"] == 0) continue;
    const auto code = static_cast<absl::StatusCode>(parsed[r]["code"].get<int>());
    const absl::Status error(code, parsed[r]["error"].get<std::string>());
    // What all ranks see is the user's mistake; what one sees is that rank's.
    return failed == parsed.size() ? error : Annotate(error, fmt::format("rank {}", r));
  }
  for (size_t r = 1; r < parsed.size(); ++r) {
    FM_RETURN_IF_ERROR(Differs(parsed[0], parsed[r], r));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
