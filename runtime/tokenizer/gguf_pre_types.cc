// SPDX-License-Identifier: Apache-2.0
// Patterns are those of the models' own tokenizer.json files. llama.cpp has the same in a form for
// its own engine (src/llama-vocab.cpp), but does not normalize.
#include "runtime/tokenizer/gguf_pre_types.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace folkmoot {
namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::vector<GgufPreType>& PreTypes() {
  static const auto& types = *new std::vector<GgufPreType>{
      {.names = {"default"},  // of llama.cpp, for files that do not say
       .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion"}, .patterns = {kGpt2}},
      {.names = {"llama-bpe", "llama3", "llama-v3"},
       .patterns = {kLlama3},
       .ignore_merges = true,
       .add_bos = true},
      {.names = {"dbrx", "smaug-bpe"}, .patterns = {kLlama3}},
      {.names = {"qwen2", "deepseek-r1-qwen"}, .patterns = {kQwen2}, .nfc = true},
      {.names = {"stablelm2", "megrez"}, .patterns = {kQwen2}},
      {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
       .patterns = {R"(\p{N})", kGpt2}},
      {.names = {"tekken"}, .patterns = {kTekken}, .ignore_merges = true, .add_bos = true},
      {.names = {"deepseek-coder"},
       .patterns = {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+",
                    R"(\p{N})"}},
  };
  return types;
}

}  // namespace

const GgufPreType* FindGgufPreType(std::string_view name) {
  for (const GgufPreType& type : PreTypes()) {
    if (std::find(type.names.begin(), type.names.end(), name) != type.names.end()) return &type;
  }
  return nullptr;
}

std::string GgufPreTypeNames() {
  std::vector<std::string_view> names;
  for (const GgufPreType& type : PreTypes()) {
    names.insert(names.end(), type.names.begin(), type.names.end());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace folkmoot
