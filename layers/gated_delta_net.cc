// SPDX-License-Identifier: Apache-2.0
#include "layers/gated_delta_net.h"

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

// Rows from `first` on of the matrix of a module, which has `rows`.
struct Projection {
  std::string module;
  int64_t rows = 0;
  int64_t first = 0;
};

// Where a checkpoint has them whose heads of each come together: in a matrix each, or in one.
struct Kinds {
  Projection qkv, z, b, a;
};
Kinds KindsOf(const DeltaHeads& heads, const RecurrentNames& names) {
  if (names.qkvzba.empty()) {
    return {.qkv = {names.qkv, heads.channels()},
            .z = {names.z, heads.values()},
            .b = {names.b, heads.value_heads()},
            .a = {names.a, heads.value_heads()}};
  }
  const int64_t z = heads.channels();
  const int64_t b = z + heads.values();
  const int64_t a = b + heads.value_heads();
  const int64_t all = a + heads.value_heads();
  return {.qkv = {names.qkvzba, all},
          .z = {names.qkvzba, all, z},
          .b = {names.qkvzba, all, b},
          .a = {names.qkvzba, all, a}};
}

}  // namespace

DeltaHeads GatedDeltaNet::HeadsOf(const ModelConfig& config, int64_t key_heads) {
  const RecurrentConfig& linear = config.recurrent;
  return {.key_heads = key_heads,
          .group = linear.value_heads / linear.key_heads,
          .key_dim = linear.key_dim,
          .value_dim = linear.value_dim,
          .kernel = linear.kernel};
}

GatedDeltaNet::GatedDeltaNet(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : RecurrentMixer(config, layer, config.recurrent.values() / config.recurrent.key_heads,
                     columns),
      all_(HeadsOf(config, config.recurrent.key_heads)) {
  params_ = {.layer = config.place_in_kind(layer),
             .heads = HeadsOf(config, own_units()),
             .norm_eps = config.rms_norm_eps,
             .sigmoid_gate = config.recurrent.sigmoid_gate};
}

absl::StatusOr<std::unique_ptr<Attention>> GatedDeltaNet::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const RecurrentNames& names, ColumnExchange& columns) {
  std::unique_ptr<GatedDeltaNet> net(new GatedDeltaNet(config, layer, columns));
  FM_RETURN_IF_ERROR(net->LoadInputs(pool, loader, config, names));
  FM_RETURN_IF_ERROR(net->LoadGates(loader, names));
  FM_RETURN_IF_ERROR(net->LoadOutput(pool, loader, config.hidden, /*bias=*/false, names.o));
  return net;
}

// b and a decide how long a state remembers: they are not rounded, as routers are not.
absl::Status GatedDeltaNet::LoadInputs(ThreadPool& pool, WeightLoader& loader,
                                       const ModelConfig& config, const RecurrentNames& names) {
  const auto rows = [&](const Projection& all, int64_t before, int64_t per_head) {
    return TensorRef{.name = all.module + ".weight", .n = all.rows, .k = config.hidden}.Rows(
        all.first + before + first_unit() * per_head, own_units() * per_head);
  };
  const int64_t group = all_.group;
  const int64_t values = group * all_.value_dim;  // of a key head
  std::vector<TensorRef> vectors;
  std::vector<TensorRef> gates;
  if (!names.qkvz.empty()) {
    const int64_t per_head = 2 * all_.key_dim + 2 * values;
    vectors = {rows({names.qkvz, all_.key_heads * per_head}, 0, per_head)};
    gates = {rows({names.ba, all_.key_heads * 2 * group}, 0, 2 * group)};
    params_.columns = ColumnsByHead(params_.heads);
  } else {
    const auto [qkv, z, b, a] = KindsOf(all_, names);
    vectors = {rows(qkv, 0, all_.key_dim), rows(qkv, all_.keys(), all_.key_dim),
               rows(qkv, 2 * all_.keys(), values), rows(z, 0, values)};
    gates = {rows(b, 0, group), rows(a, 0, group)};
    params_.columns = ColumnsByKind(params_.heads);
  }
  for (TensorRef& gate : gates) gate.exact = true;
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, vectors, /*biased=*/false));
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, gates, /*biased=*/false));
  const int64_t keys = own_units() * all_.key_dim;
  const int64_t first_key = first_unit() * all_.key_dim;
  const std::pair<int64_t, int64_t> channels[] = {
      {first_key, keys},
      {all_.keys() + first_key, keys},
      {2 * all_.keys() + first_unit() * values, own_units() * values}};
  FM_RETURN_IF_ERROR(
      LoadConvolution(loader, config.recurrent, {names.convolution}, all_.channels(), channels));
  params_.convolution = convolution();
  return absl::OkStatus();
}

absl::Status GatedDeltaNet::LoadGates(WeightLoader& loader, const RecurrentNames& names) {
  const int64_t first = first_unit() * all_.group;
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
  const Matrix projected = Project(ctx, x);
  FM_CHECK(step.state != nullptr);
  GatedDeltaRule(ctx.pool, params_, step.sequences, projected, *step.state, ctx.workspace,
                 attended);
}

}  // namespace folkmoot
