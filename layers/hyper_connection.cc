// SPDX-License-Identifier: Apache-2.0
#include "layers/hyper_connection.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/exact_math.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

constexpr int64_t kWorthAThread = 32768;  // numbers

// In double, added by index mod 8.
double SumOfSquares(std::span<const float> x) {
  constexpr size_t kSums = 8;
  std::array<double, kSums> sums = {};
  for (size_t i = 0; i < x.size(); ++i) {
    const auto value = static_cast<double>(x[i]);
    sums[i % kSums] += value * value;
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

// x[t] = sum over i of weights[t, i] stream[i].
void Collapse(LayerContext& ctx, ConstMatrix weights, ConstMatrix streams, int64_t count,
              Matrix x) {
  ctx.pool.ParallelFor(x.rows, kWorthAThread / streams.cols + 1,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t t = begin; t < end; ++t) {
                           float* const to = x.Row(t);
                           for (int64_t i = 0; i < count; ++i) {
                             const float weight = weights.Row(t)[i];
                             const float* const from = streams.Row(t) + i * x.cols;
                             for (int64_t c = 0; c < x.cols; ++c) {
                               to[c] = i == 0 ? weight * from[c] : to[c] + weight * from[c];
                             }
                           }
                         }
                       });
}

// stream[k] += post[k] given.
void AddToStreams(LayerContext& ctx, ConstMatrix posts, ConstMatrix given, Matrix streams) {
  ctx.pool.ParallelFor(given.rows, kWorthAThread / streams.cols + 1,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t t = begin; t < end; ++t) {
                           const float* const gift = given.Row(t);
                           for (int64_t k = 0; k < posts.cols; ++k) {
                             const float post = posts.Row(t)[k];
                             float* const stream = streams.Row(t) + k * given.cols;
                             for (int64_t c = 0; c < given.cols; ++c) stream[c] += post * gift[c];
                           }
                         }
                       });
}

// Divides each row of m [n, n] by its sum, or, `columns`, each column.
void Normalise(int64_t n, double eps, bool columns, double* m) {
  const int64_t step = columns ? n : 1;
  for (int64_t line = 0; line < n; ++line) {
    double* const first = m + line * (columns ? 1 : n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += first[i * step];
    for (int64_t i = 0; i < n; ++i) first[i * step] /= sum + eps;
  }
}

}  // namespace

absl::StatusOr<StreamMixer> StreamMixer::Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config, const HyperNames& names,
                                              int64_t outputs, int64_t scales) {
  StreamMixer mixer;
  const int64_t width = config.hyper.streams * config.hidden;
  mixer.norm_eps_ = config.rms_norm_eps;
  // Not rounded, as routers are not.
  FM_ASSIGN_OR_RETURN(
      mixer.weights_,
      loader.Pack(pool, {.name = names.weights, .n = outputs, .k = width, .exact = true}));
  FM_ASSIGN_OR_RETURN(mixer.base_, loader.Vector(names.base, outputs));
  FM_ASSIGN_OR_RETURN(mixer.scales_, loader.Vector(names.scale, scales));
  return mixer;
}

Matrix StreamMixer::Apply(LayerContext& ctx, ConstMatrix streams) const {
  const Matrix outputs = ctx.workspace.GetMatrix(streams.rows, weights_.n());
  Gemm(ctx.pool, streams, weights_, {}, ctx.workspace, outputs);
  const Workspace::Position mark = ctx.workspace.Mark();
  const std::span<float> factors = ctx.workspace.Get<float>(streams.rows);
  ctx.pool.ParallelFor(
      streams.rows, kWorthAThread / streams.cols + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          const double mean = SumOfSquares(streams.RowSpan(t)) / static_cast<double>(streams.cols);
          factors[static_cast<size_t>(t)] =
              static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(norm_eps_)));
        }
      });
  ScaleRows(ctx.pool, factors, outputs);
  ctx.workspace.Release(mark);
  return outputs;
}

double StreamMixer::Biased(const float* outputs, int64_t index, int64_t scale) const {
  const auto at = static_cast<size_t>(index);
  return static_cast<double>(outputs[at]) *
             static_cast<double>(scales_[static_cast<size_t>(scale)]) +
         static_cast<double>(base_[at]);
}

absl::StatusOr<HyperConnection> HyperConnection::Load(ThreadPool& pool, WeightLoader& loader,
                                                      const ModelConfig& config,
                                                      const HyperNames& names) {
  HyperConnection connection;
  connection.config_ = config.hyper;
  if (config.hyper.gate_rank > 0) {
    FM_ASSIGN_OR_RETURN(connection.gate_, StreamGate::Load(pool, loader, config, names, true));
    return connection;
  }
  const int64_t n = config.hyper.streams;
  const bool mixes = !config.hyper.independent;
  FM_ASSIGN_OR_RETURN(
      connection.mixer_,
      StreamMixer::Load(pool, loader, config, names, (2 + (mixes ? n : 0)) * n, mixes ? 3 : 2));
  return connection;
}

void HyperConnection::Gates(const float* outputs, float* mixtures) const {
  const int64_t n = config_.streams;
  const double least = config_.independent ? config_.eps : 0;
  for (int64_t i = 0; i < n; ++i) {
    const double pre = exact::Sigmoid(mixer_.Biased(outputs, i, 0)) + config_.eps;
    const double post =
        config_.magnitude * exact::Sigmoid(mixer_.Biased(outputs, n + i, 1)) + least;
    mixtures[i] = static_cast<float>(pre);
    mixtures[n + i] = static_cast<float>(post);
  }
}

// Row by row, behind the gates.
void HyperConnection::Mix(const float* outputs, float* mixtures) const {
  const int64_t n = config_.streams;
  std::array<double, kMostStreams* kMostStreams> mix = {};
  for (int64_t i = 0; i < n; ++i) {
    double* const row = mix.data() + i * n;
    for (int64_t k = 0; k < n; ++k) row[k] = mixer_.Biased(outputs, (2 + i) * n + k, 2);
    const double top = *std::max_element(row, row + n);
    for (int64_t k = 0; k < n; ++k) row[k] = exact::Exp(row[k] - top);
  }
  Normalise(n, 0, false, mix.data());
  for (int64_t i = 0; i < n * n; ++i) mix[static_cast<size_t>(i)] += config_.eps;
  Normalise(n, config_.eps, true, mix.data());
  for (int64_t i = 1; i < config_.iterations; ++i) {
    Normalise(n, config_.eps, false, mix.data());
    Normalise(n, config_.eps, true, mix.data());
  }
  for (int64_t i = 0; i < n * n; ++i) {
    mixtures[2 * n + i] = static_cast<float>(mix[static_cast<size_t>(i)]);
  }
}

ConstMatrix HyperConnection::Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const {
  if (gate_) return gate_->Read(ctx, streams, x);
  const Matrix mixtures = mixer_.Apply(ctx, streams);
  constexpr int64_t kMixturesOfAThread = 16;
  ctx.pool.ParallelFor(x.rows, kMixturesOfAThread, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      Gates(mixtures.Row(t), mixtures.Row(t));
      if (!config_.independent) Mix(mixtures.Row(t), mixtures.Row(t));
    }
  });
  Collapse(ctx, mixtures, streams, config_.streams, x);
  return mixtures;
}

void HyperConnection::Leave(LayerContext& ctx, ConstMatrix mixtures, ConstMatrix given,
                            Matrix streams) const {
  const int64_t n = config_.streams;
  const int64_t hidden = given.cols;
  if (gate_) return AddToStreams(ctx, mixtures, given, streams);
  if (config_.independent) return AddToStreams(ctx, mixtures.Columns(n, n), given, streams);
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix before = ctx.workspace.GetMatrix(ctx.pool.threads(), streams.cols);
  ctx.pool.ParallelFor(given.rows, kWorthAThread / (n * streams.cols) + 1,
                       [&](int64_t begin, int64_t end, int thread) {
                         float* const old = before.Row(thread);
                         for (int64_t t = begin; t < end; ++t) {
                           const float* const post = mixtures.Row(t) + n;
                           const float* const mix = post + n;
                           const float* const gift = given.Row(t);
                           std::copy_n(streams.Row(t), streams.cols, old);
                           for (int64_t k = 0; k < n; ++k) {
                             float* const stream = streams.Row(t) + k * hidden;
                             for (int64_t c = 0; c < hidden; ++c) stream[c] = post[k] * gift[c];
                             for (int64_t j = 0; j < n; ++j) {
                               const float weight = mix[j * n + k];
                               const float* const from = old + j * hidden;
                               for (int64_t c = 0; c < hidden; ++c) stream[c] += weight * from[c];
                             }
                           }
                         }
                       });
  ctx.workspace.Release(mark);
}

absl::StatusOr<HyperHead> HyperHead::Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const HyperNames& names) {
  HyperHead head;
  head.config_ = config.hyper;
  if (config.hyper.mean_head) return head;
  if (config.hyper.gate_rank > 0) {
    FM_ASSIGN_OR_RETURN(head.gate_, StreamGate::Load(pool, loader, config, names, false));
    return head;
  }
  FM_ASSIGN_OR_RETURN(head.mixer_,
                      StreamMixer::Load(pool, loader, config, names, config.hyper.streams, 1));
  return head;
}

void HyperHead::Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const {
  if (gate_) {
    gate_->Read(ctx, streams, x);
    return;
  }
  const Workspace::Position mark = ctx.workspace.Mark();
  if (config_.mean_head) {
    const Matrix ones = ctx.workspace.GetMatrix(x.rows, config_.streams);
    std::fill_n(ones.data, x.rows * config_.streams, 1.0f);
    Collapse(ctx, ones, streams, config_.streams, x);
    Scale(ctx.pool, 1.0f / static_cast<float>(config_.streams), x);
    ctx.workspace.Release(mark);
    return;
  }
  const Matrix weights = mixer_.Apply(ctx, streams);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t i = 0; i < config_.streams; ++i) {
      weights.Row(t)[i] =
          static_cast<float>(exact::Sigmoid(mixer_.Biased(weights.Row(t), i, 0)) + config_.eps);
    }
  }
  Collapse(ctx, weights, streams, config_.streams, x);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
