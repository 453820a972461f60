// SPDX-License-Identifier: Apache-2.0
#include "parallel/expert_placement.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "nlohmann/json.hpp"
#include "runtime/check.h"

namespace folkmoot {
namespace {

// A list of a million experts is 8 MB of text; anything greater is the wrong file.
constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 23;

absl::StatusOr<std::string> ReadPlacementFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return NotFound(
        "expert placement '{}': not 'contiguous', not 'round_robin', and there is no file of this "
        "name",
        path);
  }
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) return NotFound("expert placement file {}: {}", path, error.message());
  if (bytes > kMaxFileBytes) {
    return InvalidArgument(
        "expert placement file {}: {} bytes; expected a JSON list of ranks of at most {} bytes",
        path, bytes, kMaxFileBytes);
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    return DataLoss("expert placement file {}: cannot be read", path);
  }
  return text;
}

absl::StatusOr<std::vector<int>> ParseRanks(const std::string& path, const std::string& text,
                                            int experts, int ranks) {
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) {
    return InvalidArgument(
        "expert placement file {}: expected a JSON list with the rank of every expert, such as "
        "[0, 0, 1, 1]",
        path);
  }
  if (list.size() != static_cast<size_t>(experts)) {
    return InvalidArgument("expert placement file {}: it lists {} experts, the model has {}", path,
                           list.size(), experts);
  }
  std::vector<int> rank_of;
  for (const nlohmann::json& entry : list) {
    const size_t expert = rank_of.size();
    // A negative or too great number is an integer of JSON all the same: compare before narrowing.
    if (!entry.is_number_integer() || entry < 0 || entry >= ranks) {
      return InvalidArgument(
          "expert placement file {}: expert {} is placed on {}; expected a rank from 0 to {}", path,
          expert, entry.is_number() ? entry.dump() : entry.type_name(), ranks - 1);
    }
    rank_of.push_back(entry.get<int>());
  }
  return rank_of;
}

}  // namespace

ExpertPlacement::ExpertPlacement(std::vector<int> rank_of, int ranks)
    : rank_of_(std::move(rank_of)), experts_of_(static_cast<size_t>(ranks)) {
  slot_of_.reserve(rank_of_.size());
  for (size_t expert = 0; expert < rank_of_.size(); ++expert) {
    std::vector<int>& held = experts_of_[static_cast<size_t>(rank_of_[expert])];
    slot_of_.push_back(static_cast<int>(held.size()));
    held.push_back(static_cast<int>(expert));
  }
}

ExpertPlacement ExpertPlacement::Contiguous(int experts, int ranks) {
  FM_CHECK(experts >= 0 && ranks >= 1);
  std::vector<int> rank_of;
  rank_of.reserve(static_cast<size_t>(experts));
  for (int rank = 0; rank < ranks; ++rank) {
    const int held = experts / ranks + (rank < experts % ranks ? 1 : 0);
    rank_of.insert(rank_of.end(), static_cast<size_t>(held), rank);
  }
  return ExpertPlacement(std::move(rank_of), ranks);
}

ExpertPlacement ExpertPlacement::RoundRobin(int experts, int ranks) {
  FM_CHECK(experts >= 0 && ranks >= 1);
  std::vector<int> rank_of(static_cast<size_t>(experts));
  for (int expert = 0; expert < experts; ++expert) {
    rank_of[static_cast<size_t>(expert)] = expert % ranks;
  }
  return ExpertPlacement(std::move(rank_of), ranks);
}

absl::StatusOr<ExpertPlacement> ExpertPlacement::Explicit(std::vector<int> rank_of, int ranks) {
  if (ranks < 1) return InvalidArgument("expert placement: {} ranks; expected at least 1", ranks);
  for (size_t expert = 0; expert < rank_of.size(); ++expert) {
    if (rank_of[expert] < 0 || rank_of[expert] >= ranks) {
      return InvalidArgument(
          "expert placement: expert {} is placed on rank {}; expected a rank from 0 to {}", expert,
          rank_of[expert], ranks - 1);
    }
  }
  return ExpertPlacement(std::move(rank_of), ranks);
}

absl::StatusOr<ExpertPlacement> ExpertPlacement::Parse(std::string_view text, int experts,
                                                       int ranks) {
  if (experts < 0) return InvalidArgument("expert placement: {} experts", experts);
  if (ranks < 1) return InvalidArgument("expert placement: {} ranks; expected at least 1", ranks);
  if (text == "contiguous") return Contiguous(experts, ranks);
  if (text == "round_robin") return RoundRobin(experts, ranks);
  const std::string path(text);
  FM_ASSIGN_OR_RETURN(const std::string content, ReadPlacementFile(path));
  FM_ASSIGN_OR_RETURN(std::vector<int> rank_of, ParseRanks(path, content, experts, ranks));
  return ExpertPlacement(std::move(rank_of), ranks);
}

uint64_t ExpertPlacement::Fingerprint() const {
  // FNV-1a over the numbers; it guards against mistakes, not against an enemy.
  uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0x100000001b3u; };
  mix(static_cast<uint64_t>(ranks()));
  for (const int rank : rank_of_) mix(static_cast<uint64_t>(rank));
  return hash;
}

}  // namespace folkmoot
