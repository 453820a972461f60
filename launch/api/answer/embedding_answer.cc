// SPDX-License-Identifier: Apache-2.0
// POST /v1/embeddings, /score and /rerank: writing the answer. Scores are cosines of embeddings.
#include <absl/strings/escaping.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <numeric>
#include <span>

#include "launch/api/answer/answer.h"
#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "base64 holds little-endian floats");

// In one order, so that equal vectors give equal bits.
double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t c = 0; c < std::min(a.size(), b.size()); ++c) {
    sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  }
  return sum;
}

double Cosine(std::span<const float> a, std::span<const float> b) {
  const double lengths = std::sqrt(Dot(a, a)) * std::sqrt(Dot(b, b));
  return lengths > 0 ? Dot(a, b) / lengths : 0;
}

std::vector<float> Normalized(std::span<const float> vector) {
  const double length = std::sqrt(Dot(vector, vector));
  std::vector<float> out(vector.begin(), vector.end());
  if (!(length > 0)) return out;
  for (float& value : out) value = static_cast<float>(static_cast<double>(value) / length);
  return out;
}

// Of every document with its query.
std::vector<double> Scores(const GenerationState& state) {
  const std::vector<PromptState>& prompts = state.prompts;
  const size_t queries = state.request.vectors.queries;
  std::vector<double> scores;
  for (size_t d = queries; d < prompts.size(); ++d) {
    const size_t query = queries == 1 ? 0 : d - queries;
    scores.push_back(Cosine(prompts[query].embedding, prompts[d].embedding));
  }
  return scores;
}

Json ListHead(const GenerationState& state) {
  return {{"id", state.request.id},
          {"object", "list"},
          {"created", state.request.created},
          {"model", state.request.model},
          {"data", Json::array()}};
}

// An answer that is never streamed.
class WholeAnswer : public Answer {
 public:
  std::string Delta(const GenerationState&, const ChoiceState&, const ChoiceDelta&) override {
    return "";
  }
  std::string End(const GenerationState&) override { return ""; }
};

class EmbeddingAnswer : public WholeAnswer {
 public:
  // By hand: a JSON value for each number would take many times the memory.
  std::string Body(const GenerationState& state) override {
    const VectorForm& form = state.request.vectors;
    std::string out = Dump(ListHead(state));  // {...,"data":[]}
    out.resize(out.size() - 2);
    for (size_t p = 0; p < state.prompts.size(); ++p) {
      const std::vector<float>& pooled = state.prompts[p].embedding;
      fmt::format_to(std::back_inserter(out), R"({}{{"index":{},"object":"embedding","embedding":)",
                     p == 0 ? "" : ",", p);
      Append(form.normalize ? Normalized(pooled) : pooled, form.base64, &out);
      out += '}';
    }
    return out + "],\"usage\":" + Dump(UsageJson(state, UsageOf(state))) + "}";
  }

 private:
  // As many digits as tell a float32 from its neighbours. "-0" would be read as an integer.
  static void Append(const std::vector<float>& vector, bool base64, std::string* out) {
    if (base64) {
      const auto* bytes = reinterpret_cast<const char*>(vector.data());
      *out += '"' + absl::Base64Escape({bytes, vector.size() * sizeof(float)}) + '"';
      return;
    }
    for (size_t c = 0; c < vector.size(); ++c) {
      *out += c == 0 ? '[' : ',';
      const bool minus_zero = vector[c] == 0 && std::signbit(vector[c]);
      fmt::format_to(std::back_inserter(*out), "{}{}", vector[c], minus_zero ? ".0" : "");
    }
    *out += ']';
  }
};

class ScoreAnswer : public WholeAnswer {
 public:
  std::string Body(const GenerationState& state) override {
    Json json = ListHead(state);
    for (const double score : Scores(state)) {
      json["data"].push_back(
          {{"index", json["data"].size()}, {"object", "score"}, {"score", score}});
    }
    json["usage"] = UsageJson(state, UsageOf(state));
    return Dump(json);
  }
};

class RerankAnswer : public WholeAnswer {
 public:
  // The best first; of equal ones the earlier.
  std::string Body(const GenerationState& state) override {
    const VectorForm& form = state.request.vectors;
    const std::vector<double> scores = Scores(state);
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    if (form.top_n > 0) order.resize(std::min(order.size(), static_cast<size_t>(form.top_n)));
    Json json = {{"id", state.request.id},
                 {"model", state.request.model},
                 {"usage", UsageJson(state, UsageOf(state))},
                 {"results", Json::array()}};
    for (const size_t d : order) {
      Json result = {{"index", d}};
      if (form.return_documents) {
        result["document"] = {{"text", state.request.prompts[form.queries + d].text}};
      }
      result["relevance_score"] = scores[d];
      json["results"].push_back(std::move(result));
    }
    return Dump(json);
  }
};

}  // namespace

std::unique_ptr<Answer> MakeEmbeddingAnswer() { return std::make_unique<EmbeddingAnswer>(); }
std::unique_ptr<Answer> MakeScoreAnswer() { return std::make_unique<ScoreAnswer>(); }
std::unique_ptr<Answer> MakeRerankAnswer() { return std::make_unique<RerankAnswer>(); }

}  // namespace folkmoot
