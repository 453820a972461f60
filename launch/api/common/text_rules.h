// SPDX-License-Identifier: Apache-2.0
// From sampled ids to the text that may be shown: whole characters, and nothing that could still
// become a stop string.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

// Finds the first of many strings in a text that comes in pieces, in time proportional to the text
// for each string (Knuth, Morris, Pratt). Shared by all choices of a request.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);  // empty ones are left out

  struct State {
    std::vector<uint32_t> matched;  // per string: how much of it the text ends with
  };
  // Takes one more byte. The index of a string that the text now ends with, the longest of them, or
  // -1.
  int Advance(char byte, State* state) const;
  // Bytes at the end of the text that may yet become a stop string.
  static size_t Pending(const State& state);

  const std::vector<std::string>& stops() const { return stops_; }

 private:
  std::vector<std::string> stops_;
  std::vector<std::vector<uint32_t>> fallback_;
};

struct TextRules {
  std::shared_ptr<const StopStrings> stops =
      std::make_shared<StopStrings>(std::vector<std::string>());
  bool include_stop = false;  // the stop string, or the stop token's text, is part of the text
  bool skip_special_tokens = true;
  std::vector<int32_t> shown_special;  // are not skipped: a parser looks for them
  int64_t min_tokens = 0;  // no stop string ends within the text of the first so many tokens
};

// The text of one choice.
class ChoiceText {
 public:
  // `tokenizer` may be null (no text at all) and must outlive the object.
  ChoiceText(const Tokenizer* tokenizer, const TextRules& rules);

  // Each returns the text that became final. After a stop string nothing more comes.
  std::string Push(int32_t token);
  std::string Finish();

  // The stop string that ended the text, or null.
  const std::string* stopped_by() const;
  // Unicode characters that the tokens so far made certain, cut off or not.
  int64_t characters() const { return characters_; }

 private:
  bool Skips(int32_t token) const;
  std::string Take(const std::string& piece);

  const TextRules rules_;
  const Tokenizer* tokenizer_;
  std::unique_ptr<IncrementalDecoder> decoder_;
  StopStrings::State state_;
  std::string held_;
  int64_t tokens_ = 0;
  int64_t characters_ = 0;
  int stopped_by_ = -1;
};

// Characters of valid UTF-8.
int64_t CountCharacters(std::string_view text);

}  // namespace folkmoot
