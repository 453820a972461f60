// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_serve_prompts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>
#include <string_view>

#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Random = std::mt19937_64;

constexpr int64_t kCustomOutput = 256;
constexpr int64_t kBytesPerToken = 4;
constexpr int64_t kMinAnswer = 4;
constexpr int64_t kMaxAnswer = 1024;

int64_t Uniform(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
}

int64_t Length(Random& random, int64_t length, double ratio) {
  const double mean = static_cast<double>(length);
  return std::max<int64_t>(1, Uniform(random, static_cast<int64_t>(std::floor(mean * (1 - ratio))),
                                      static_cast<int64_t>(std::ceil(mean * (1 + ratio)))));
}

std::vector<int32_t> Tokens(Random& random, int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(Uniform(random, 0, vocab - 1)));
  }
  return tokens;
}

// A word for a token: most tokenizers have these as one.
std::string Words(const std::vector<int32_t>& tokens) {
  static constexpr std::array<std::string_view, 32> kWords = {
      "the",  "of",    "and", "to",   "in",  "is",  "that", "for", "it",   "as",   "was",
      "with", "be",    "by",  "on",   "not", "he",  "this", "are", "or",   "his",  "from",
      "at",   "which", "but", "have", "an",  "had", "they", "you", "were", "their"};
  std::string text;
  for (const int32_t token : tokens) {
    if (!text.empty()) text += ' ';
    text += kWords[static_cast<size_t>(token) % kWords.size()];
  }
  return text;
}

BenchPrompt FromTokens(const BenchDataset& dataset, std::vector<int32_t> tokens, int64_t output) {
  BenchPrompt prompt;
  prompt.output_tokens = output;
  if (dataset.as_text) {
    prompt.text = Words(tokens);
  } else {
    prompt.tokens = std::move(tokens);
  }
  return prompt;
}

std::vector<BenchPrompt> RandomPrompts(const BenchDataset& dataset) {
  Random random(dataset.seed);
  const std::vector<int32_t> prefix = Tokens(random, dataset.prefix_len, dataset.vocab);
  std::vector<BenchPrompt> prompts;
  for (int64_t i = 0; i < dataset.prompts; ++i) {
    std::vector<int32_t> tokens = prefix;
    const auto rest =
        Tokens(random, Length(random, dataset.input_len, dataset.range_ratio), dataset.vocab);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    prompts.push_back(FromTokens(dataset, std::move(tokens),
                                 Length(random, dataset.output_len, dataset.range_ratio)));
  }
  return prompts;
}

std::vector<BenchPrompt> PrefixRepetition(const BenchDataset& dataset) {
  Random random(dataset.seed);
  std::vector<std::vector<int32_t>> prefixes;
  for (int64_t i = 0; i < dataset.repetition_prefixes; ++i) {
    prefixes.push_back(Tokens(random, dataset.repetition_prefix_len, dataset.vocab));
  }
  std::vector<BenchPrompt> prompts;
  for (int64_t i = 0; i < dataset.prompts; ++i) {
    std::vector<int32_t> tokens = prefixes[static_cast<size_t>(i) % prefixes.size()];
    const auto suffix = Tokens(random, dataset.repetition_suffix_len, dataset.vocab);
    tokens.insert(tokens.end(), suffix.begin(), suffix.end());
    prompts.push_back(FromTokens(dataset, std::move(tokens), dataset.repetition_output_len));
  }
  std::shuffle(prompts.begin(), prompts.end(), random);
  return prompts;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return NotFound("{}: cannot be read; name the data set with --dataset-path", path);
  return std::move(text).str();
}

absl::StatusOr<std::vector<BenchPrompt>> ShareGpt(const BenchDataset& dataset) {
  FM_ASSIGN_OR_RETURN(const std::string text, ReadFile(dataset.path));
  const auto all = nlohmann::json::parse(text, nullptr, false);
  if (!all.is_array()) return InvalidArgument("{}: not a JSON list of conversations", dataset.path);
  std::vector<BenchPrompt> prompts;
  for (const auto& entry : all) {
    if (!entry.is_object() || !entry.contains("conversations")) continue;
    const auto& turns = entry["conversations"];
    if (!turns.is_array() || turns.size() < 2) continue;
    const auto value = [&](size_t turn) {
      const auto& object = turns[turn];
      const bool has =
          object.is_object() && object.contains("value") && object["value"].is_string();
      return has ? object["value"].get<std::string>() : std::string();
    };
    BenchPrompt prompt;
    prompt.text = value(0);
    const auto answer_bytes = static_cast<int64_t>(value(1).size());
    if (prompt.text.empty() || answer_bytes == 0) continue;
    prompt.output_tokens = dataset.file_output_len > 0
                               ? dataset.file_output_len
                               : std::clamp(answer_bytes / kBytesPerToken, kMinAnswer, kMaxAnswer);
    prompts.push_back(std::move(prompt));
  }
  Random random(dataset.seed);
  std::shuffle(prompts.begin(), prompts.end(), random);
  return prompts;
}

absl::StatusOr<std::vector<BenchPrompt>> Custom(const BenchDataset& dataset) {
  FM_ASSIGN_OR_RETURN(const std::string text, ReadFile(dataset.path));
  std::vector<BenchPrompt> prompts;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("prompt") || !object["prompt"].is_string()) {
      return InvalidArgument("{}:{}: not an object with a string 'prompt'", dataset.path, number);
    }
    BenchPrompt prompt;
    prompt.text = object["prompt"].get<std::string>();
    prompt.output_tokens = kCustomOutput;
    if (object.contains("output_tokens") && object["output_tokens"].is_number_integer()) {
      prompt.output_tokens = object["output_tokens"].get<int64_t>();
    }
    if (dataset.file_output_len > 0) prompt.output_tokens = dataset.file_output_len;
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

absl::StatusOr<std::vector<BenchPrompt>> FromFile(const BenchDataset& dataset) {
  FM_ASSIGN_OR_RETURN(std::vector<BenchPrompt> prompts,
                      dataset.name == "sharegpt" ? ShareGpt(dataset) : Custom(dataset));
  if (prompts.empty()) return InvalidArgument("{}: no usable prompt", dataset.path);
  const size_t distinct = prompts.size();
  const auto wanted = static_cast<size_t>(dataset.prompts);
  prompts.reserve(std::max(wanted, distinct));
  for (size_t i = 0; prompts.size() < wanted; ++i) prompts.push_back(prompts[i % distinct]);
  prompts.resize(wanted);
  return prompts;
}

}  // namespace

absl::StatusOr<std::vector<BenchPrompt>> MakeBenchPrompts(const BenchDataset& dataset) {
  if (dataset.name == "random") return RandomPrompts(dataset);
  if (dataset.name == "prefix_repetition") return PrefixRepetition(dataset);
  if (dataset.name == "sharegpt" || dataset.name == "custom") return FromFile(dataset);
  return InvalidArgument("data set '{}'; expected random, prefix_repetition, sharegpt or custom",
                         dataset.name);
}

}  // namespace folkmoot
