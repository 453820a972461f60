// SPDX-License-Identifier: Apache-2.0
// Routing in tests: rows in, plain vectors out.
#pragma once

#include <string>
#include <vector>

#include "layers/gates/gate.h"
#include "nlohmann/json.hpp"

namespace folkmoot {

struct GateRows {
  std::vector<float> logits;  // [rows, outputs of the router]
  int64_t rows = 0;
  // Optional, as in GateInput. Without sequences the rows are one sequence from `start`.
  int64_t start = 0;
  uint64_t stream = 0;
  int layer = 0;
  std::vector<uint64_t> streams;
  std::vector<float> uniforms;
  std::vector<uint8_t> valid;
  std::vector<int32_t> token_ids;
  std::vector<GateSequence> sequences;
};

// [rows, K] each. state: kept, rejected, overflow, rerouted or invalid; place -1 = none.
struct GateDecisions {
  std::vector<int32_t> expert;
  std::vector<float> weight;
  std::vector<std::string> state;
  std::vector<int32_t> place;
  std::vector<SlotAction> action;
  std::vector<float> shared;  // [rows, S]

  bool operator==(const GateDecisions&) const = default;
};

// Rows of JSON numbers, [[...], ...].
GateRows RowsOf(const nlohmann::json& logits);
// Rows first .. first + count, of one sequence, at their positions.
GateRows Slice(const GateRows& rows, int64_t first, int64_t count);
void Append(const GateDecisions& from, GateDecisions* to);

// Routes on a single rank; chunk counters start at zero unless `taken` carries them. The test
// fails on an error.
GateDecisions RouteRows(const GateConfig& config, const GateRows& rows,
                        std::vector<int32_t>* taken = nullptr);
// The same as one rank of `comm`.
GateDecisions RouteRows(const GateConfig& config, const GateRows& rows, Communicator& comm,
                        std::vector<int32_t>* taken = nullptr);

// Gaussian logits, the same for a seed on every platform.
GateRows RandomRows(int64_t rows, int experts, uint64_t seed, float spread = 1.5f);

nlohmann::json ReadTestJson(const std::string& path);  // below tests/data
GateConfig MustParse(const std::string& json);

// A case of gates/random_cases.json; its format: tools/make_gate_goldens.py.
GateRows RowsOfCase(const nlohmann::json& test);

}  // namespace folkmoot
