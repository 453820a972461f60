// SPDX-License-Identifier: Apache-2.0
// Rope against the cosines and sines of Transformers (tools/make_rope_goldens.py).
#include "runtime/rope.h"
#include "layers/models/load_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

namespace folkmoot {
namespace {

using nlohmann::json;

struct Table {
  Table(int64_t rows, int64_t cols)
      : cos_data(static_cast<size_t>(rows * cols)),
        sin_data(static_cast<size_t>(rows * cols)),
        cos(cos_data.data(), rows, cols),
        sin(sin_data.data(), rows, cols) {}
  std::vector<float> cos_data;
  std::vector<float> sin_data;
  Matrix cos;
  Matrix sin;
};

Table FillTable(const Rope& rope, const std::vector<int32_t>& positions,
                const std::vector<int32_t>& lengths) {
  Table table(static_cast<int64_t>(positions.size()), rope.rotary_dim() / 2);
  rope.Fill(positions, lengths, table.cos, table.sin);
  return table;
}

ModelConfig Parse(const json& config) {
  auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << Message(parsed.status());
  return parsed.ok() ? *parsed : ModelConfig();
}

json Goldens() {
  std::ifstream file(FOLKMOOT_TEST_DATA "/rope/rope_goldens.json");
  return json::parse(file);
}

// The frequency's float32 error is multiplied by the position, so the bound grows with it.
void ExpectRow(const Matrix& actual, int64_t row, const json& expected, double position) {
  const double tolerance = 4e-7 + position * 2.5e-7;
  for (int64_t i = 0; i < actual.cols; ++i) {
    EXPECT_NEAR(actual.Row(row)[i], expected[static_cast<size_t>(i)].get<double>(), tolerance)
        << "position " << position << " pair " << i;
  }
}

void ExpectResult(const Rope& rope, const json& result) {
  EXPECT_FLOAT_EQ(rope.attention_scaling(), result["attention_scaling"].get<float>());
  const auto positions = result["positions"].get<std::vector<int32_t>>();
  const std::vector<int32_t> lengths(positions.size(), result["length"].get<int32_t>());
  const Table table = FillTable(rope, positions, lengths);
  for (size_t row = 0; row < positions.size(); ++row) {
    ExpectRow(table.cos, static_cast<int64_t>(row), result["cos"][row], positions[row]);
    ExpectRow(table.sin, static_cast<int64_t>(row), result["sin"][row], positions[row]);
  }
  // At position 1 the ratio of sine and cosine gives the frequency back.
  const Table one = FillTable(rope, {1}, {result["length"].get<int32_t>()});
  for (int64_t i = 0; i < one.cos.cols; ++i) {
    const double expected = result["inv_freq"][static_cast<size_t>(i)].get<double>();
    EXPECT_NEAR(std::atan2(one.sin.Row(0)[i], one.cos.Row(0)[i]), expected, 1e-6 * expected);
  }
}

TEST(Rope, MatchesTransformers) {
  const json goldens = Goldens();
  ASSERT_EQ(goldens["cases"].size(), 31u);
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const ModelConfig config = Parse(golden["config"]);
    const Rope rope(config.rope, config.head_dim, config.max_positions);
    for (const json& result : golden["results"]) {
      SCOPED_TRACE(result["length"].get<int>());
      ExpectResult(rope, result);
    }
  }
}

// Tokens of sequences of different lengths share a step: each uses its own length.
TEST(Rope, LengthBelongsToTheToken) {
  const json goldens = Goldens();
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const ModelConfig config = Parse(golden["config"]);
    const Rope rope(config.rope, config.head_dim, config.max_positions);
    const std::vector<int32_t> positions = {5, 70, 5, 30, 5};
    const std::vector<int32_t> lengths = {150, 150, 6, 40, 97};
    const Table together = FillTable(rope, positions, lengths);
    for (size_t t = 0; t < positions.size(); ++t) {
      const Table alone = FillTable(rope, {positions[t]}, {lengths[t]});
      EXPECT_THAT(together.cos.RowSpan(static_cast<int64_t>(t)),
                  ::testing::ElementsAreArray(alone.cos.RowSpan(0)));
      EXPECT_THAT(together.sin.RowSpan(static_cast<int64_t>(t)),
                  ::testing::ElementsAreArray(alone.sin.RowSpan(0)));
    }
  }
}

// Transformers writes the default of some families beside the object, which decides.
TEST(Rope, DefaultBesideTheObject) {
  const ModelConfig config = Parse(
      {{"model_type", "llama"}, {"rope_theta", 10000}, {"rope_parameters", {{"rope_theta", 500}}}});
  EXPECT_EQ(config.rope.theta, 500);
}

// Phi-MoE: beyond the original context both the frequencies and the scale change.
TEST(Rope, LongropeWithScalesOfItsOwn) {
  const ModelConfig config = Parse({{"model_type", "phimoe"},
                                    {"hidden_size", 128},
                                    {"rope_theta", 100},
                                    {"rope_scaling",
                                     {{"type", "longrope"},
                                      {"short_factor", {1, 2}},
                                      {"long_factor", {3, 4}},
                                      {"short_mscale", 1.25},
                                      {"long_mscale", 1.5},
                                      {"original_max_position_embeddings", 64}}}});
  const Rope rope(config.rope, config.head_dim, config.max_positions);
  const Table table = FillTable(rope, {5, 5}, {64, 65});
  const double angles[2][2] = {{5, 5 / (2 * 10.0)}, {5 / 3.0, 5 / (4 * 10.0)}};
  for (int64_t row = 0; row < 2; ++row) {
    const double scale = row == 0 ? 1.25 : 1.5;
    for (int64_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(table.cos.Row(row)[i], scale * std::cos(angles[row][i]), 1e-6);
      EXPECT_NEAR(table.sin.Row(row)[i], scale * std::sin(angles[row][i]), 1e-6);
    }
  }
}

// Mistral Large 4: one factor for each pair, also of frequencies that depend on the length.
TEST(Rope, FrequenciesAreMultiplied) {
  RopeConfig config = {.type = RopeType::kDynamic, .theta = 100.0, .factor = 2.0};
  Rope rope(config, 4, 16);
  const std::vector<float> factors = {0.5f, 3.0f};
  rope.MultiplyFrequencies(factors);
  const Table table = FillTable(rope, {7, 7}, {16, 24});
  const double stretched = std::pow(100.0 * std::pow(2.0, 2.0), -0.5);  // 2 * 24 / 16 - 1
  const double frequencies[2][2] = {{1.0, 0.1}, {1.0, stretched}};
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t i = 0; i < 2; ++i) {
      const double angle = 7 * frequencies[row][i] * double{factors[static_cast<size_t>(i)]};
      EXPECT_NEAR(table.cos.Row(row)[i], std::cos(angle), 2e-6);
      EXPECT_NEAR(table.sin.Row(row)[i], std::sin(angle), 2e-6);
    }
  }
}

TEST(Rope, OnlyDynamicAndLongropeDependOnTheLength) {
  const json goldens = Goldens();
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const ModelConfig config = Parse(golden["config"]);
    const Rope rope(config.rope, config.head_dim, config.max_positions);
    const Table table = FillTable(rope, {5, 5}, {6, 300});
    const bool depends =
        config.rope.type == RopeType::kDynamic || config.rope.type == RopeType::kLongrope;
    EXPECT_EQ(table.cos_data[0] == table.cos_data[static_cast<size_t>(table.cos.cols)] &&
                  std::equal(table.sin_data.begin(), table.sin_data.begin() + table.sin.cols,
                             table.sin_data.begin() + table.sin.cols),
              !depends);
  }
}

}  // namespace
}  // namespace folkmoot
