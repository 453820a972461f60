// SPDX-License-Identifier: Apache-2.0
#include "layers/gated_delta_net.h"

#include <iterator>
#include <utility>

#include "runtime/exact_math.h"

namespace folkmoot {
namespace {

// Columns of projections whose matrices have the rows of one key head after the other.
DeltaColumns ColumnsByHead(const DeltaHeads& heads) {
  const int64_t group = heads.group;
  const int64_t values = group * heads.value_dim;
  const int64_t stride = 2 * heads.key_dim + 2 * values;
  const int64_t gates = heads.key_heads * stride;
  return {.q = {0, stride},
          .k = {heads.key_dim, stride},
          .v = {2 * heads.key_dim, stride},
          .z = {2 * heads.key_dim + values, stride},
          .b = {gates, 2 * group},
          .a = {gates + group, 2 * group}};
}

// The same where all heads of each come together.
DeltaColumns ColumnsByKind(const DeltaHeads& heads) {
  const int64_t group = heads.group;
  const int64_t values = group * heads.value_dim;
  const int64_t gates = 2 * heads.keys() + 2 * heads.values();
  return {.q = {0, heads.key_dim},
          .k = {heads.keys(), heads.key_dim},
          .v = {2 * heads.keys(), values},
          .z = {2 * heads.keys() + heads.values(), values},
          .b = {gates, group},
          .a = {gates + heads.value_heads(), group}};
}

}  // namespace

DeltaHeads GatedDeltaNet::HeadsOf(const ModelConfig& config, int64_t key_heads) {
  const LinearAttentionConfig& linear = config.linear;
  return {.key_heads = key_heads,
          .group = linear.value_heads / linear.key_heads,
          .key_dim = linear.key_dim,
          .value_dim = linear.value_dim,
          .kernel = linear.kernel};
}

GatedDeltaNet::GatedDeltaNet(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : UniformAttention(layer, columns),
      all_(HeadsOf(config, config.linear.key_heads)),
      key_heads_(LinearHeadSplit(config, columns.size())) {
  heads_ = key_heads_.Times(all_.group * all_.value_dim);
  params_ = {.layer = config.place_in_kind(layer),
             .heads = HeadsOf(config, key_heads_.width(rank())),
             .activation = config.activation,
             .norm_eps = config.rms_norm_eps};
}

absl::StatusOr<std::unique_ptr<Attention>> GatedDeltaNet::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const LinearNames& names, ColumnExchange& columns) {
  std::unique_ptr<GatedDeltaNet> net(new GatedDeltaNet(config, layer, columns));
  FM_RETURN_IF_ERROR(net->LoadProjections(pool, loader, config, names));
  FM_RETURN_IF_ERROR(net->LoadKernel(loader, names.convolution));
  FM_RETURN_IF_ERROR(net->LoadGates(loader, names));
  FM_RETURN_IF_ERROR(net->LoadOutput(pool, loader, config.hidden, /*bias=*/false, names.o));
  return net;
}

// b and a decide how long a state remembers: they are not rounded, as routers are not.
absl::Status GatedDeltaNet::LoadProjections(ThreadPool& pool, WeightLoader& loader,
                                            const ModelConfig& config, const LinearNames& names) {
  const auto rows = [&](const std::string& module, int64_t all, int64_t before, int64_t per_head) {
    return TensorRef{.name = module + ".weight", .n = all, .k = config.hidden}.Rows(
        before + key_heads_.begin(rank()) * per_head, key_heads_.width(rank()) * per_head);
  };
  const int64_t group = all_.group;
  const int64_t values = group * all_.value_dim;  // of a key head
  std::vector<TensorRef> vectors;
  std::vector<TensorRef> gates;
  if (!names.qkvz.empty()) {
    const int64_t per_head = 2 * all_.key_dim + 2 * values;
    vectors = {rows(names.qkvz, all_.key_heads * per_head, 0, per_head)};
    gates = {rows(names.ba, all_.key_heads * 2 * group, 0, 2 * group)};
    params_.columns = ColumnsByHead(params_.heads);
  } else {
    vectors = {rows(names.qkv, all_.channels(), 0, all_.key_dim),
               rows(names.qkv, all_.channels(), all_.keys(), all_.key_dim),
               rows(names.qkv, all_.channels(), 2 * all_.keys(), values),
               rows(names.z, all_.values(), 0, values)};
    gates = {rows(names.b, all_.value_heads(), 0, group),
             rows(names.a, all_.value_heads(), 0, group)};
    params_.columns = ColumnsByKind(params_.heads);
  }
  for (TensorRef& gate : gates) gate.exact = true;
  FM_ASSIGN_OR_RETURN(weights_, loader.PackStack(pool, vectors));
  FM_ASSIGN_OR_RETURN(std::vector<PackedMatrix> more, loader.PackStack(pool, gates));
  std::move(more.begin(), more.end(), std::back_inserter(weights_));
  return absl::OkStatus();
}

// This rank's channels of [channels, 1, kernel] become [kernel, channels].
absl::Status GatedDeltaNet::LoadKernel(WeightLoader& loader, const std::string& name) {
  const int64_t taps = all_.kernel;
  FM_ASSIGN_OR_RETURN(const std::vector<float> stored,
                      loader.Vector(name, all_.channels() * taps, taps));
  const DeltaHeads& mine = params_.heads;
  const int64_t first_key = key_heads_.begin(rank()) * all_.key_dim;
  const int64_t first_value = key_heads_.begin(rank()) * all_.group * all_.value_dim;
  kernel_.resize(static_cast<size_t>(mine.channels() * taps));
  for (int64_t c = 0; c < mine.channels(); ++c) {
    int64_t from = first_key + c;
    if (c >= mine.keys()) from = all_.keys() + first_key + c - mine.keys();
    if (c >= 2 * mine.keys()) from = 2 * all_.keys() + first_value + c - 2 * mine.keys();
    for (int64_t tap = 0; tap < taps; ++tap) {
      kernel_[static_cast<size_t>(tap * mine.channels() + c)] =
          stored[static_cast<size_t>(from * taps + tap)];
    }
  }
  params_.kernel = kernel_;
  return absl::OkStatus();
}

absl::Status GatedDeltaNet::LoadGates(WeightLoader& loader, const LinearNames& names) {
  const int64_t first = key_heads_.begin(rank()) * all_.group;
  const int64_t count = params_.heads.value_heads();
  FM_ASSIGN_OR_RETURN(rates_, loader.VectorPart(names.rates, all_.value_heads(), first, count));
  for (float& rate : rates_) rate = static_cast<float>(exact::Exp(static_cast<double>(rate)));
  FM_ASSIGN_OR_RETURN(step_bias_,
                      loader.VectorPart(names.step_bias, all_.value_heads(), first, count));
  FM_ASSIGN_OR_RETURN(norm_, loader.Vector(names.norm + ".weight", all_.value_dim));
  params_.rates = rates_;
  params_.step_bias = step_bias_;
  params_.norm = norm_;
  return absl::OkStatus();
}

void GatedDeltaNet::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&, ConstMatrix x,
                           Matrix attended) const {
  int64_t width = 0;
  for (const PackedMatrix& weights : weights_) width += weights.n();
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, width);
  GemmStack(ctx.pool, x, weights_, {}, ctx.workspace, projected);
  FM_CHECK(step.state != nullptr);
  GatedDeltaRule(ctx.pool, params_, step.sequences, projected, *step.state, ctx.workspace,
                 attended);
}

}  // namespace folkmoot
