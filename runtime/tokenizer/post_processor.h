// SPDX-License-Identifier: Apache-2.0
// Post-processors of tokenizer.json: the special tokens around the ids of a text.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Immutable; any thread may call Apply at the same time.
class PostProcessor {
 public:
  // Adds nothing.
  PostProcessor() = default;
  // Puts `prefix` before and `suffix` after the ids.
  PostProcessor(std::vector<int32_t> prefix, std::vector<int32_t> suffix)
      : prefix_(std::move(prefix)), suffix_(std::move(suffix)) {}

  // TemplateProcessing (its template for one sequence), ByteLevel (changes offsets only) and
  // Sequence; refuses others by name. Ids must be below `id_limit`. `node` may be absent.
  static absl::StatusOr<PostProcessor> Parse(const std::optional<JsonNode>& node, int64_t id_limit);

  std::vector<int32_t> Apply(std::vector<int32_t> ids) const;

 private:
  absl::Status ParseNode(const JsonNode& node, int64_t id_limit);
  absl::Status ParseTemplate(const JsonNode& node, int64_t id_limit);

  std::vector<int32_t> prefix_;
  std::vector<int32_t> suffix_;
};

}  // namespace folkmoot
