// SPDX-License-Identifier: Apache-2.0
// tokenizer_tool TOKENIZER_JSON|GGUF < lines: for comparison with other implementations.
//   {"text": T}     -> {"ids", "plain" (no special tokens added or parsed), "text", "skipped"}
//   {"hex": BYTES}  -> the same of a text that need not be UTF-8
//   {"ids": [...]}  -> {"text", "skipped" (without special tokens)}
// "text" comes from the incremental decoder; it ends the program if Decode disagrees.
#include <absl/strings/escaping.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

std::string DecodeBothWays(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  IncrementalDecoder decoder(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  text += decoder.Finish();
  FM_CHECK(text == tokenizer.Decode(ids, skip));
  return text;
}

std::string TextOf(const nlohmann::json& question) {
  if (question.contains("hex")) return absl::HexStringToBytes(question["hex"].get<std::string>());
  return question["text"].get<std::string>();
}

absl::StatusOr<nlohmann::json> Answer(const Tokenizer& tokenizer, const nlohmann::json& question) {
  nlohmann::json answer;
  std::vector<int32_t> ids;
  if (!question.contains("ids")) {
    const std::string text = TextOf(question);
    FM_ASSIGN_OR_RETURN(ids, tokenizer.Encode(text));
    FM_ASSIGN_OR_RETURN(
        const std::vector<int32_t> plain,
        tokenizer.Encode(text, {.add_special_tokens = false, .parse_special = false}));
    answer["ids"] = ids;
    answer["plain"] = plain;
  } else {
    ids = question["ids"].get<std::vector<int32_t>>();
  }
  answer["text"] = DecodeBothWays(tokenizer, ids, false);
  answer["skipped"] = DecodeBothWays(tokenizer, ids, true);
  return answer;
}

int Main(const std::string& path) {
  const auto tokenizer = path.ends_with(".gguf") ? Tokenizer::OfModel(path) : Tokenizer::Load(path);
  if (!tokenizer.ok()) {
    std::cerr << Message(tokenizer.status()) << '\n';
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Answer(**tokenizer, nlohmann::json::parse(line));
    if (!answer.ok()) {
      std::cerr << Message(answer.status()) << '\n';
      return 1;
    }
    std::cout << answer->dump() << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tokenizer_tool TOKENIZER_JSON|GGUF < lines\n", stderr);
    return 2;
  }
  return folkmoot::Main(argv[1]);
}
