// SPDX-License-Identifier: Apache-2.0
// A layer of a golden model by itself: its config, its tensors as doubles, and what Forward needs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "layers/layer_context.h"
#include "layers/models/family.h"
#include "layers/models/load_config.h"
#include "parallel/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"

namespace folkmoot {

// Of a model whose tensors are float32. Valid where ok().
class GoldenLayer {
 public:
  GoldenLayer(const std::string& model, int64_t layer) {
    const std::string directory = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + model;
    auto parsed = LoadModelConfig(directory);
    auto opened = Checkpoint::Open(directory);
    if (!parsed.ok() || !opened.ok()) return;
    config = *std::move(parsed);
    checkpoint_ = *std::move(opened);
    loader = MakeCheckpointLoader(*checkpoint_, nullptr);
    names = LayerNamesOf(*FindFamily(config.architecture), *loader, layer);
  }
  bool ok() const { return loader != nullptr; }

  std::vector<double> Matrix(const std::string& name, int64_t n, int64_t k) {
    const auto view = loader->View({.name = name, .n = n, .k = k});
    EXPECT_TRUE(view.ok()) << view.status();
    if (!view.ok()) return std::vector<double>(static_cast<size_t>(n * k));
    EXPECT_EQ(view->dtype, DType::kF32) << name;
    const auto* const values = static_cast<const float*>(view->data);
    return {values, values + n * k};
  }
  std::vector<double> Vector(const std::string& name, int64_t n) {
    const auto values = loader->Vector(name, n);
    EXPECT_TRUE(values.ok()) << values.status();
    if (!values.ok()) return std::vector<double>(static_cast<size_t>(n));
    return {values->begin(), values->end()};
  }
  LayerContext Context() { return {.pool = pool, .workspace = workspace, .experts = *worlds_[0]}; }

  ModelConfig config;
  std::unique_ptr<WeightLoader> loader;
  LayerNames names;
  ThreadPool pool{2};
  Workspace workspace;

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<std::unique_ptr<Communicator>> worlds_ = MakeThreadCommunicators(1);
};

// w [n, k] times x [k].
inline std::vector<double> Times(const std::vector<double>& w, std::span<const double> x) {
  std::vector<double> y(w.size() / x.size());
  for (size_t i = 0; i < w.size(); ++i) y[i / x.size()] += w[i] * x[i % x.size()];
  return y;
}

inline double MeanSquare(std::span<const double> x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return sum / static_cast<double>(x.size());
}

inline double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace folkmoot
