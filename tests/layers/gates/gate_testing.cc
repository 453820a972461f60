// SPDX-License-Identifier: Apache-2.0
#include "tests/layers/gates/gate_testing.h"

#include <cmath>
#include <fstream>

#include "gtest/gtest.h"
#include "parallel/thread_communicator.h"
#include "runtime/random.h"

namespace folkmoot {
namespace {

std::string StateOf(const GateRows& rows, const Routing& routing, uint8_t rerouted, size_t choice) {
  const size_t token = choice / static_cast<size_t>(routing.top_k);
  if (!rows.valid.empty() && rows.valid[token] == 0) return "invalid";
  if (rerouted != 0) return "rerouted";
  static constexpr const char* kNames[] = {"kept", "rejected", "overflow"};
  return kNames[static_cast<size_t>(routing.state[choice])];
}

}  // namespace

GateRows RowsOf(const nlohmann::json& logits) {
  GateRows rows;
  rows.rows = static_cast<int64_t>(logits.size());
  for (const auto& row : logits) {
    for (const auto& value : row) rows.logits.push_back(value.get<float>());
  }
  return rows;
}

GateRows Slice(const GateRows& rows, int64_t first, int64_t count) {
  GateRows part;
  const auto cut = [&](const auto& from, auto* to) {
    if (from.empty() || rows.rows == 0) return;
    const auto width = static_cast<int64_t>(from.size()) / rows.rows;
    to->assign(from.begin() + first * width, from.begin() + (first + count) * width);
  };
  part.rows = count;
  part.start = rows.start + first;
  part.stream = rows.stream;
  part.layer = rows.layer;
  cut(rows.logits, &part.logits);
  cut(rows.streams, &part.streams);
  cut(rows.uniforms, &part.uniforms);
  cut(rows.valid, &part.valid);
  cut(rows.token_ids, &part.token_ids);
  return part;
}

void Append(const GateDecisions& from, GateDecisions* to) {
  const auto append = [](const auto& source, auto* target) {
    target->insert(target->end(), source.begin(), source.end());
  };
  append(from.expert, &to->expert);
  append(from.weight, &to->weight);
  append(from.state, &to->state);
  append(from.place, &to->place);
  append(from.action, &to->action);
  append(from.shared, &to->shared);
}

GateDecisions RouteRows(const GateConfig& config, const GateRows& rows, Communicator& comm,
                        std::vector<int32_t>* taken) {
  EXPECT_TRUE(config.Validate().ok()) << Message(config.Validate());
  std::vector<int32_t> own(static_cast<size_t>(config.num_experts), 0);
  std::vector<GateSequence> sequences = rows.sequences;
  if (sequences.empty() && rows.rows > 0) {
    sequences.push_back({.rows = rows.rows, .start = rows.start});
    sequences.back().taken = taken != nullptr ? *taken : own;
  }
  std::vector<uint64_t> streams = rows.streams;
  if (streams.empty()) streams.assign(static_cast<size_t>(rows.rows), rows.stream);
  std::vector<uint8_t> rerouted(static_cast<size_t>(rows.rows * config.top_k));
  Workspace workspace;
  const auto routing =
      MakeGate(config)->Route({.logits = {rows.logits.data(), rows.rows, config.outputs()},
                               .sequences = sequences,
                               .streams = streams,
                               .token_ids = rows.token_ids,
                               .layer = rows.layer,
                               .uniforms = rows.uniforms,
                               .valid = rows.valid,
                               .rerouted = rerouted},
                              comm, workspace);
  EXPECT_TRUE(routing.ok()) << Message(routing.status());
  GateDecisions result;
  if (!routing.ok()) return result;
  result.expert.assign(routing->expert.begin(), routing->expert.end());
  result.weight.assign(routing->weight.begin(), routing->weight.end());
  result.place.assign(routing->place.begin(), routing->place.end());
  result.action.assign(routing->action.begin(), routing->action.end());
  for (size_t t = 0; t < static_cast<size_t>(rows.rows); ++t) {
    for (int s = 0; s < config.shared_sinks; ++s) {
      result.shared.push_back(routing->SharedWeights(s)[t]);
    }
  }
  for (size_t c = 0; c < rerouted.size(); ++c) {
    result.state.push_back(StateOf(rows, *routing, rerouted[c], c));
  }
  return result;
}

GateDecisions RouteRows(const GateConfig& config, const GateRows& rows,
                        std::vector<int32_t>* taken) {
  return RouteRows(config, rows, *MakeThreadCommunicators(1).front(), taken);
}

GateRows RandomRows(int64_t rows, int experts, uint64_t seed, float spread) {
  GateRows result;
  result.rows = rows;
  for (int64_t row = 0; row < rows; ++row) {
    const DrawKey key = {.seed = seed, .position = static_cast<uint32_t>(row)};
    for (int e = 0; e < experts; ++e) {
      float sum = -6.0f;  // twelve uniforms: nearly Gaussian, and exact in float
      for (uint32_t i = 0; i < 12; ++i) sum += DrawUniform(key, static_cast<uint32_t>(e) * 12 + i);
      result.logits.push_back(spread * sum);
    }
  }
  return result;
}

nlohmann::json ReadTestJson(const std::string& path) {
  std::ifstream file(std::string(FOLKMOOT_TEST_DATA) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  return nlohmann::json::parse(file);
}

GateConfig MustParse(const std::string& json) {
  const auto config = ParseGateConfig(json);
  EXPECT_TRUE(config.ok()) << Message(config.status());
  return config.ok() ? *config : GateConfig{};
}

GateRows RowsOfCase(const nlohmann::json& test) {
  GateRows rows;
  rows.rows = test["rows"];
  rows.start = test["start"];
  rows.layer = test["layer"];
  rows.stream = test["stream"];
  for (const nlohmann::json& value : test["logits"]) {
    rows.logits.push_back(static_cast<float>(value.get<double>() / 100));
  }
  for (const nlohmann::json& value : test.value("uniforms", nlohmann::json::array())) {
    rows.uniforms.push_back(value.get<float>() / 1024);
  }
  for (const char valid : test.value("valid", std::string())) {
    rows.valid.push_back(valid == '1' ? 1 : 0);
  }
  rows.token_ids = test.value("token_ids", std::vector<int32_t>());
  return rows;
}

}  // namespace folkmoot
