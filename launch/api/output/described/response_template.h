// SPDX-License-Identifier: Apache-2.0
// The format of answers that a model describes itself: "response_template" of
// tokenizer_config.json, version 1, as Transformers 5 reads it (utils/chat_parsing). Fields of a
// message stand between marks; text outside of all belongs to the field that has no opening mark.
// "defaults", "optional" and "repeats" change nothing here: an answer is told as it is.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/output/described/python_regex.h"
#include "launch/api/output/described/region_value.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {

struct ResponseField {
  // What it is to a client, by its name: "content"; "reasoning_content", "reasoning" or "thinking";
  // "tool_calls"; others are not told.
  enum class Use : uint8_t { kContent, kReasoning, kToolCalls, kOther };

  std::string name;
  Use use = Use::kOther;
  std::optional<PythonRegex> open;   // none: text outside of all others
  std::optional<PythonRegex> close;  // none: it ends with the answer
  RegionReader reader;
  std::string join = "\n";  // between its texts, where it comes several times
  // What becomes of a value; null: it stays. "{content.name}" stands for a part of it, and
  // "{group}" for what a mark captured. each: the value is a list, and its members become so.
  nlohmann::ordered_json transform = nullptr;
  bool transform_each = false;
};

// Immutable.
class ResponseTemplate {
 public:
  // InvalidArgument: the field and the reason.
  static absl::StatusOr<std::shared_ptr<const ResponseTemplate>> Parse(
      const nlohmann::ordered_json& json);

  const std::vector<ResponseField>& fields() const { return fields_; }
  bool Has(ResponseField::Use use) const;
  // What `prompt` already has of the answer: all behind its last start anchor; nothing without one.
  std::string_view Begun(std::string_view prompt) const;
  // Whether a mark or a value of the template names this text (a special token).
  bool Mentions(std::string_view text) const;

 private:
  ResponseTemplate() = default;

  std::vector<ResponseField> fields_;
  std::optional<PythonRegex> start_;
  std::vector<std::string> texts_;  // all of the template, without backslashes
};

}  // namespace folkmoot
