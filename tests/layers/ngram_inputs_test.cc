// SPDX-License-Identifier: Apache-2.0
// N-grams of Qwen4-Exp: hashes beside numbers that Transformers gave, and what joins the streams
// beside the same in double.
#include "layers/models/ngram_inputs.h"

#include <algorithm>
#include <cmath>

#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

using Numbers = std::vector<double>;
using Ids = std::vector<int64_t>;

Ids AsIds(std::span<const int64_t> ids) { return {ids.begin(), ids.end()}; }

TEST(NgramHash, EqualsTransformers) {
  const NgramConfig config = {
      .size = 4, .heads = 2, .least = 1000, .multiple = 128, .seed = 1234, .boundary = 248046};
  const NgramHash first(config, 248320, 0), second(config, 248320, 1);
  EXPECT_EQ(AsIds(first.factors()),
            (Ids{23703573157769, 20109073645365, 8052911324071, 11546521808587}));
  EXPECT_EQ(AsIds(first.sizes()), (Ids{1009, 1013, 1019, 1021, 1031, 1033}));
  EXPECT_EQ(AsIds(first.offsets()), (Ids{0, 1009, 2022, 3041, 4062, 5093}));
  EXPECT_EQ(first.table_rows(), 6144);
  EXPECT_EQ(AsIds(second.factors()),
            (Ids{3352040966061, 19752442147475, 10742103100073, 16487578747271}));
  EXPECT_EQ(AsIds(second.sizes()), (Ids{1039, 1049, 1051, 1061, 1063, 1069}));
  EXPECT_EQ(second.table_rows(), 6400);

  // Of 248046, 7, 100000, 248046, 3, 4, 248319, 12, of which 248046 is the boundary.
  constexpr int32_t kEnd = 248046;
  const auto rows = [&](const NgramHash& hash, const std::vector<int32_t>& tokens) {
    Ids result(6);
    hash.Rows(tokens, result);
    return result;
  };
  EXPECT_EQ(rows(first, {kEnd, kEnd, kEnd, kEnd}), (Ids{351, 1273, 2672, 3449, 5086, 5235}));
  EXPECT_EQ(rows(first, {100000, 7, kEnd, kEnd}), (Ids{535, 1993, 2543, 3432, 4670, 5494}));
  EXPECT_EQ(rows(first, {kEnd, 100000, 7, kEnd}), (Ids{637, 1562, 2357, 3752, 4138, 5764}));
  EXPECT_EQ(rows(first, {12, 248319, 4, 3}), (Ids{107, 1589, 2636, 3536, 4356, 5095}));
  EXPECT_EQ(rows(second, {12, 248319, 4, 3}), (Ids{514, 1273, 2343, 4116, 5177, 5294}));
}

constexpr int64_t kLayer = 2;  // the second with n-grams
constexpr int64_t kTokens = 20;

class NgramInputsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(layer_.ok());
    width_ = layer_.config.hyper.streams * layer_.config.hidden;
    ASSERT_EQ(layer_.config.ngrams.size, 3);
    ASSERT_EQ(layer_.config.ngrams.boundary, 5);
    before_ = RandomFloats(kTokens * width_, 1);
  }

  // What streams become where tokens come `chunk` at a time, beside another sequence.
  std::vector<float> AddInPieces(int64_t chunk) {
    const auto inputs =
        NgramInputs::Load(layer_.pool, *layer_.loader, layer_.config, kLayer, layer_.names.ngrams);
    EXPECT_TRUE(inputs.ok()) << inputs.status();
    if (!inputs.ok()) return {};
    RecurrentState state(NgramInputs::StateShape(layer_.config, 3));
    std::vector<float> streams = before_;
    for (int64_t start = 0; start < kTokens; start += chunk) {
      const int64_t count = std::min(chunk, kTokens - start);
      std::vector<int32_t> ids = {7, 8};
      ids.insert(ids.end(), ids_.begin() + start, ids_.begin() + start + count);
      const AttentionSequence sequences[] = {
          {.rows = 2, .start = 0, .slot = 2},
          {.first_row = 2, .rows = count, .start = start, .slot = 1}};
      std::vector<float> step(before_.begin(), before_.begin() + 2 * width_);
      step.insert(step.end(), before_.begin() + start * width_,
                  before_.begin() + (start + count) * width_);
      layer_.workspace.Reset();
      LayerContext ctx = layer_.Context();
      inputs->Add(ctx, sequences, ids, state, AsMatrix(step, count + 2, width_));
      std::copy(step.begin() + 2 * width_, step.end(), streams.begin() + start * width_);
    }
    return streams;
  }

  // The rows of the table for token `t`, side by side.
  Numbers Embedded(int64_t t) {
    const NgramConfig& config = layer_.config.ngrams;
    const NgramHash hash(config, layer_.config.vocab, 1);
    std::vector<int32_t> last;
    for (int64_t i = 0; i < config.size; ++i) {
      const bool cut = t - i < 0 || std::count(last.begin() + (i > 0), last.end(), 5) > 0;
      last.push_back(cut ? 5 : ids_[static_cast<size_t>(t - i)]);
    }
    Ids rows(static_cast<size_t>(config.hashes()));
    hash.Rows(last, rows);
    const int64_t dim = config.width / config.hashes();
    const int64_t of_part = (hash.table_rows() + config.parts - 1) / config.parts;
    Numbers result;
    for (const int64_t row : rows) {
      const int64_t part = row / of_part;
      const Numbers table =
          layer_.Matrix(fmt::format("{}.shard_{}.weight", layer_.names.ngrams.table, part),
                        std::min(of_part, hash.table_rows() - part * of_part), dim);
      const auto at = table.begin() + row % of_part * dim;
      result.insert(result.end(), at, at + dim);
    }
    return result;
  }

  // Each stream normalised by itself.
  Numbers Normed(const std::string& module, const Numbers& x) {
    const Numbers weight = layer_.Vector(module + ".weight", width_);
    const auto hidden = static_cast<size_t>(layer_.config.hidden);
    Numbers y = x;
    for (size_t c = 0; c < y.size(); ++c) {
      const auto stream = std::span(x).subspan(c / hidden * hidden, hidden);
      y[c] *= (1 + weight[c]) / std::sqrt(MeanSquare(stream) + double{layer_.config.rms_norm_eps});
    }
    return y;
  }

  // The values of token `t`, gated.
  Numbers Gated(int64_t t) {
    const NgramNames& names = layer_.names.ngrams;
    const int64_t hidden = layer_.config.hidden, e = layer_.config.ngrams.width;
    const Numbers embedded = Embedded(t);
    const Numbers keys =
        Normed(names.key_norm, Times(layer_.Matrix(names.key + ".weight", width_, e), embedded));
    const Numbers value = Times(layer_.Matrix(names.value + ".weight", hidden, e), embedded);
    const Numbers streams = Normed(
        names.stream_norm, {before_.begin() + t * width_, before_.begin() + (t + 1) * width_});
    Numbers gated;
    for (int64_t first = 0; first < width_; first += hidden) {
      double dot = 0;
      for (int64_t c = first; c < first + hidden; ++c) {
        dot += keys[static_cast<size_t>(c)] * streams[static_cast<size_t>(c)];
      }
      dot /= std::sqrt(static_cast<double>(hidden));
      const double root = std::copysign(std::sqrt(std::max(std::abs(dot), 1e-6)), dot);
      for (const double v : value) gated.push_back(Sigmoid(root) * v);
    }
    return gated;
  }

  GoldenLayer layer_{"qwen4_exp_text-odd", kLayer};
  int64_t width_ = 0;
  std::vector<int32_t> ids_ = {9, 3, 5, 60, 61, 62, 5, 5, 9, 3, 11, 5, 7, 95, 0, 5, 1, 60, 61, 62};
  std::vector<float> before_;  // [kTokens, width_]
};

TEST_F(NgramInputsTest, EqualsSumsInDouble) {
  const NgramNames& names = layer_.names.ngrams;
  const int64_t rows = layer_.config.ngrams.kernel, apart = layer_.config.ngrams.size;
  const Numbers kernel = layer_.Matrix(names.convolution + ".weight", width_, rows);
  std::vector<Numbers> gated, normed;
  for (int64_t t = 0; t < kTokens; ++t) {
    gated.push_back(Gated(t));
    normed.push_back(Normed(names.convolution_norm, gated.back()));
  }
  const std::vector<float> streams = AddInPieces(kTokens);
  ASSERT_EQ(std::ssize(streams), kTokens * width_);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t c = 0; c < width_; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < rows; ++j) {
        const int64_t from = t - (rows - 1 - j) * apart;
        if (from < 0) continue;
        sum += kernel[static_cast<size_t>(c * rows + j)] *
               normed[static_cast<size_t>(from)][static_cast<size_t>(c)];
      }
      const auto at = static_cast<size_t>(t * width_ + c);
      EXPECT_NEAR(streams[at],
                  double{before_[at]} + gated[static_cast<size_t>(t)][static_cast<size_t>(c)] +
                      sum * Sigmoid(sum),
                  1e-5)
          << t << " " << c;
    }
  }
}

TEST_F(NgramInputsTest, PiecesDoNotMatter) {
  const std::vector<float> whole = AddInPieces(kTokens);
  for (const int64_t chunk : {1, 2, 3, 7}) {
    EXPECT_EQ(Bits(AddInPieces(chunk)), Bits(whole)) << chunk;
  }
}

TEST_F(NgramInputsTest, FilesMustHaveTheNumbersOfTheConfig) {
  ++layer_.config.ngrams.seed;
  const auto inputs =
      NgramInputs::Load(layer_.pool, *layer_.loader, layer_.config, kLayer, layer_.names.ngrams);
  ASSERT_FALSE(inputs.ok());
  EXPECT_NE(inputs.status().message().find("layer_multipliers' has other numbers"),
            std::string::npos)
      << inputs.status();
}

}  // namespace
}  // namespace folkmoot
