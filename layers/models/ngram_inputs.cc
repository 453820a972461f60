// SPDX-License-Identifier: Apache-2.0
// NgramInputs::Add is the main function.
#include "layers/models/ngram_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "runtime/exact_math.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

constexpr int64_t kWorthAThread = 32768;  // numbers

// In double, added by index mod 8.
double Dot(const float* x, const float* y, int64_t n) {
  constexpr int64_t kSums = 8;
  std::array<double, kSums> sums = {};
  for (int64_t i = 0; i < n; ++i) {
    sums[static_cast<size_t>(i % kSums)] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

// The square root with the sign of x; what is next to nothing counts as a little.
double SignedRoot(double x) {
  if (x == 0) return 0;
  constexpr double kLeast = 1e-6;
  return std::copysign(std::sqrt(std::max(std::abs(x), kLeast)), x);
}

}  // namespace

absl::StatusOr<NgramInputs> NgramInputs::Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config, int64_t layer,
                                              const NgramNames& names) {
  NgramInputs inputs;
  const NgramConfig& ngrams = config.ngrams;
  const int64_t streams = config.hyper.streams;
  inputs.config_ = ngrams;
  inputs.place_ = config.ngram_layers_before(layer);
  inputs.hash_ = NgramHash(ngrams, config.vocab, inputs.place_);
  FM_RETURN_IF_ERROR(inputs.LoadTable(loader, ngrams, names));
  FM_ASSIGN_OR_RETURN(inputs.key_, loader.Pack(pool, {.name = names.key + ".weight",
                                                      .n = streams * config.hidden,
                                                      .k = ngrams.width}));
  FM_ASSIGN_OR_RETURN(
      inputs.value_,
      loader.Pack(pool, {.name = names.value + ".weight", .n = config.hidden, .k = ngrams.width}));
  const auto norm = [&](const std::string& module) {
    return StreamNorm::Load(loader, config, module, streams, config.hidden);
  };
  FM_ASSIGN_OR_RETURN(inputs.key_norm_, norm(names.key_norm));
  FM_ASSIGN_OR_RETURN(inputs.stream_norm_, norm(names.stream_norm));
  FM_ASSIGN_OR_RETURN(inputs.convolution_norm_, norm(names.convolution_norm));
  FM_RETURN_IF_ERROR(inputs.LoadConvolution(loader, config, names));
  return inputs;
}

absl::Status NgramInputs::LoadTable(WeightLoader& loader, const NgramConfig& config,
                                    const NgramNames& names) {
  FM_RETURN_IF_ERROR(loader.ExpectIntegers(names.multipliers, hash_.factors()));
  FM_RETURN_IF_ERROR(loader.ExpectIntegers(names.sizes, hash_.sizes()));
  FM_RETURN_IF_ERROR(loader.ExpectIntegers(names.offsets, hash_.offsets()));
  const int64_t rows = hash_.table_rows();
  const std::string whole = names.table + ".weight";
  const bool parts = !loader.Has(whole);
  const int64_t of_part = parts ? (rows + config.parts - 1) / config.parts : rows;
  for (int64_t first = 0; first < rows; first += of_part) {
    const TensorRef part = {
        .name = parts ? fmt::format("{}.shard_{}.weight", names.table, first / of_part) : whole,
        .n = std::min(of_part, rows - first),
        .k = config.width / config.hashes(),
        .exact = true};
    FM_ASSIGN_OR_RETURN(const RowTable table, loader.Table(part));
    if (table.codes != nullptr) {
      return InvalidArgument("tensor '{}' is quantised; tables of n-grams must be plain",
                             part.name);
    }
    table_.push_back(table.plain);
  }
  return absl::OkStatus();
}

// [n H, 1, kernel] becomes [kernel, n H].
absl::Status NgramInputs::LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                                          const NgramNames& names) {
  const int64_t channels = config.hyper.streams * config.hidden;
  const int64_t rows = config.ngrams.kernel;
  FM_ASSIGN_OR_RETURN(const std::vector<float> stored,
                      loader.Vector(names.convolution + ".weight", channels * rows, rows));
  kernel_.resize(stored.size());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t j = 0; j < rows; ++j) {
      kernel_[static_cast<size_t>(j * channels + c)] = stored[static_cast<size_t>(c * rows + j)];
    }
  }
  convolution_ = {
      .rows = rows, .channels = channels, .weights = kernel_, .dilation = config.ngrams.size};
  return absl::OkStatus();
}

RecurrentState::Shape NgramInputs::StateShape(const ModelConfig& config, int64_t slots) {
  const NgramConfig& ngrams = config.ngrams;
  if (config.ngram_layers() == 0) return {};
  const CausalConvolution convolution = {.rows = ngrams.kernel,
                                         .channels = config.hyper.streams * config.hidden,
                                         .dilation = ngrams.size};
  return {.layers = config.ngram_layers(),
          .slots = slots,
          .layer = {.inputs = convolution.inputs(), .memory = ngrams.size - 1}};
}

void NgramInputs::Hash(const AttentionSequence& sequence, std::span<const int32_t> ids,
                       float* memory, std::span<int64_t> rows) const {
  const int64_t remembered = config_.size - 1;
  const auto token = [&](int64_t row) -> int32_t {
    if (row >= 0) return ids[static_cast<size_t>(sequence.first_row + row)];
    if (sequence.start == 0) return config_.boundary;
    return static_cast<int32_t>(memory[remembered + row]);
  };
  std::array<int32_t, kLongestNgram> last = {};
  const auto hashes = static_cast<size_t>(config_.hashes());
  for (int64_t row = 0; row < sequence.rows; ++row) {
    bool beyond = false;  // a boundary lies between
    for (int64_t i = 0; i < config_.size; ++i) {
      last[static_cast<size_t>(i)] = beyond ? config_.boundary : token(row - i);
      beyond = beyond || (i > 0 && last[static_cast<size_t>(i)] == config_.boundary);
    }
    hash_.Rows(std::span(last).first(static_cast<size_t>(config_.size)),
               rows.subspan(static_cast<size_t>(row) * hashes, hashes));
  }
  for (int64_t i = 0; i < remembered; ++i) {  // in this order, older tokens move down
    memory[i] = static_cast<float>(token(sequence.rows - remembered + i));
  }
}

Matrix NgramInputs::Embed(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                          std::span<const int32_t> ids, RecurrentState& state) const {
  const int64_t hashes = config_.hashes();
  const Matrix embedded = ctx.workspace.GetMatrix(std::ssize(ids), config_.width);
  const Workspace::Position mark = ctx.workspace.Mark();
  const std::span<int64_t> rows = ctx.workspace.Get<int64_t>(embedded.rows * hashes);
  for (const AttentionSequence& s : sequences) {
    Hash(s, ids, state.Memory(place_, s.slot),
         rows.subspan(static_cast<size_t>(s.first_row * hashes),
                      static_cast<size_t>(s.rows * hashes)));
  }
  EmbeddingLookup(ctx.pool, table_, rows,
                  {embedded.data, embedded.rows * hashes, embedded.cols / hashes});
  ctx.workspace.Release(mark);
  return embedded;
}

Matrix NgramInputs::GateValues(LayerContext& ctx, ConstMatrix keys, ConstMatrix streams,
                               ConstMatrix value) {
  const Matrix gated = ctx.workspace.GetMatrix(streams.rows, streams.cols);
  const int64_t hidden = value.cols;
  const double scale = 1.0 / std::sqrt(static_cast<double>(hidden));
  ctx.pool.ParallelFor(
      gated.rows, kWorthAThread / gated.cols + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          for (int64_t first = 0; first < gated.cols; first += hidden) {
            const double dot = Dot(keys.Row(t) + first, streams.Row(t) + first, hidden);
            const auto gate = static_cast<float>(exact::Sigmoid(SignedRoot(dot * scale)));
            float* const to = gated.Row(t) + first;
            for (int64_t c = 0; c < hidden; ++c) to[c] = gate * value.Row(t)[c];
          }
        }
      });
  return gated;
}

void NgramInputs::Add(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                      std::span<const int32_t> ids, RecurrentState& state, Matrix streams) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix embedded = Embed(ctx, sequences, ids, state);
  const Matrix keys = ctx.workspace.GetMatrix(streams.rows, streams.cols);
  Gemm(ctx.pool, embedded, key_, {}, ctx.workspace, keys);
  key_norm_.Apply(ctx, keys, keys);
  const Matrix value = ctx.workspace.GetMatrix(streams.rows, value_.n());
  Gemm(ctx.pool, embedded, value_, {}, ctx.workspace, value);
  const Matrix normed = ctx.workspace.GetMatrix(streams.rows, streams.cols);
  stream_norm_.Apply(ctx, streams, normed);
  const Matrix gated = GateValues(ctx, keys, normed, value);
  convolution_norm_.Apply(ctx, gated, normed);
  const Matrix convolved = keys;  // which nobody needs any more
  Convolve(ctx.pool, convolution_, place_, sequences, normed, state, convolved);
  folkmoot::Add(ctx.pool, convolved, gated);
  folkmoot::Add(ctx.pool, gated, streams);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
