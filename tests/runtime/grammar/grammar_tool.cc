// SPDX-License-Identifier: Apache-2.0
// Reads JSON lines {"regex"|"schema"|"object"|"choice": form, "samples": n, "texts": [...]} and
// prints for each {"error": ...} or the outputs of a random model and which texts are accepted.
// With "time": true, figures instead. tools/make_grammar_goldens.py drives it.
//   grammar_tool TOKENIZER_JSON < lines
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/runtime/grammar/grammar_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using Form = absl::StatusOr<std::shared_ptr<const TokenConstraint>>;

double MicrosSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

Form Compile(const TestVocabulary& vocabulary, const Json& line) {
  GrammarCompiler& compiler = *vocabulary.compiler;
  if (line.contains("regex")) return compiler.Regex(line["regex"].get<std::string>());
  if (line.contains("schema")) return compiler.JsonSchema(line["schema"]);
  if (line.contains("choice")) {
    return compiler.Choice(line["choice"].get<std::vector<std::string>>());
  }
  return compiler.JsonObject();
}

// Speaks for 200 tokens twice: the second time every mask is known.
Json TimeMasks(const TestVocabulary& vocabulary, const TokenConstraint& form) {
  Json answer;
  for (const char* name : {"fresh", "again"}) {
    std::mt19937 random(7);
    const std::unique_ptr<TokenConstraint> constraint = form.Clone();
    std::vector<uint32_t> mask((static_cast<size_t>(vocabulary.vocab) + 31) / 32);
    double sum = 0, largest = 0;
    int count = 0;
    for (; count < 200; ++count) {
      const auto begin = std::chrono::steady_clock::now();
      if (!constraint->FillMask(mask)) break;
      const double micros = MicrosSince(begin);
      sum += micros;
      largest = std::max(largest, micros);
      int32_t token = 0;
      do {
        token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary.vocab));
        for (int i = 0; i < 100'000 && !MaskHas(mask, token); ++i) {
          token = static_cast<int32_t>((token + 1) % vocabulary.vocab);
        }
      } while (!MaskHas(mask, token));
      constraint->Accept(token);
    }
    answer[name] = Json{{"masks", count}, {"mean_us", sum / count}, {"max_us", largest}};
  }
  return answer;
}

Json Answer(const TestVocabulary& vocabulary, const Json& line, std::mt19937* random) {
  Json answer;
  const auto begin = std::chrono::steady_clock::now();
  const Form form = Compile(vocabulary, line);
  answer["compile_us"] = MicrosSince(begin);
  if (!form.ok()) {
    answer["error"] = std::string(Message(form.status()));
    return answer;
  }
  if (line.value("time", false)) answer["time"] = TimeMasks(vocabulary, **form);
  answer["outputs"] = Json::array();
  for (int i = 0; i < line.value("samples", 0); ++i) {
    const RandomText sample = Sample(vocabulary, **form, random, 40, 2000);
    answer["outputs"].push_back(
        {{"text", sample.text}, {"ended", sample.ended}, {"problem", sample.problem}});
  }
  answer["accepted"] = Json::array();
  for (const Json& text : line.value("texts", Json::array())) {
    answer["accepted"].push_back(Accepts(vocabulary, **form, text.get<std::string>()));
  }
  return answer;
}

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: grammar_tool TOKENIZER_JSON < lines\n";
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto vocabulary = folkmoot::TestVocabulary::Load(argv[1]);
  std::cerr << "vocabulary of " << vocabulary.vocab << " ready after "
            << folkmoot::MicrosSince(begin) / 1000 << " ms\n";
  std::mt19937 random(1);
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = folkmoot::Answer(vocabulary, nlohmann::ordered_json::parse(line), &random);
    std::cout << answer.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
              << "\n";
  }
  return 0;
}
