// SPDX-License-Identifier: Apache-2.0
#include "layers/kimi_delta_attention.h"

#include "layers/gated_delta_net.h"
#include "runtime/exact_math.h"

namespace folkmoot {
namespace {

// q, k, v and b of all heads, then what the narrow matrices give, where there are any: a and z.
DeltaColumns ColumnsOfKeyDecays(const DeltaHeads& heads) {
  const int64_t keys = heads.keys();
  const int64_t gates = 2 * keys + heads.values();
  const int64_t decays = gates + heads.value_heads();
  return {.q = {0, heads.key_dim},
          .k = {keys, heads.key_dim},
          .v = {2 * keys, heads.value_dim},
          .z = {decays + keys, heads.value_dim},
          .b = {gates, 1},
          .a = {decays, heads.key_dim}};
}

}  // namespace

KimiDeltaAttention::KimiDeltaAttention(const ModelConfig& config, int64_t layer,
                                       ColumnExchange& columns)
    : RecurrentMixer(config, layer, config.recurrent.value_dim, columns),
      all_(GatedDeltaNet::HeadsOf(config, config.recurrent.key_heads)) {
  FM_CHECK(all_.group == 1 && all_.key_dim == all_.value_dim);
  params_ = {.layer = config.place_in_kind(layer),
             .heads = GatedDeltaNet::HeadsOf(config, own_units()),
             .norm_eps = config.rms_norm_eps,
             .key_decays = true,
             .decay_bound = config.recurrent.decay_bound,
             .sigmoid_gate = true};
  params_.columns = ColumnsOfKeyDecays(params_.heads);
}

absl::StatusOr<std::unique_ptr<Attention>> KimiDeltaAttention::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const RecurrentNames& names, ColumnExchange& columns) {
  std::unique_ptr<KimiDeltaAttention> mixer(new KimiDeltaAttention(config, layer, columns));
  FM_RETURN_IF_ERROR(mixer->LoadInputs(pool, loader, config, names));
  FM_RETURN_IF_ERROR(mixer->LoadGates(loader, names));
  FM_RETURN_IF_ERROR(mixer->LoadOutput(pool, loader, config.hidden, /*bias=*/false, names.o));
  return mixer;
}

// What decides how long a state remembers is not rounded, as routers are not.
absl::Status KimiDeltaAttention::LoadInputs(ThreadPool& pool, WeightLoader& loader,
                                            const ModelConfig& config,
                                            const RecurrentNames& names) {
  const int64_t dim = all_.key_dim;
  const auto rows = [&](const std::string& module, int64_t per_head) {
    return TensorRef{.name = module + ".weight", .n = all_.key_heads * per_head, .k = config.hidden}
        .Rows(first_unit() * per_head, own_units() * per_head);
  };
  const std::array<TensorRef, 3> vectors = {rows(names.q, dim), rows(names.k, dim),
                                            rows(names.v, dim)};
  std::vector<TensorRef> exact = {rows(names.b, 1)};
  if (names.a_low.empty()) exact.push_back(rows(names.a, dim));
  for (TensorRef& ref : exact) ref.exact = true;
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, vectors, /*biased=*/false));
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, exact, /*biased=*/false));
  if (names.a_low.empty()) {
    const std::array<TensorRef, 1> gates = {rows(names.z, dim)};
    FM_RETURN_IF_ERROR(LoadProjections(pool, loader, gates, /*biased=*/false));
  } else {
    FM_RETURN_IF_ERROR(LoadLowRanks(pool, loader, config.hidden, names));
  }
  const int64_t first = first_unit() * dim;
  const int64_t width = own_units() * dim;
  const std::pair<int64_t, int64_t> channels[] = {
      {first, width}, {all_.keys() + first, width}, {2 * all_.keys() + first, width}};
  FM_RETURN_IF_ERROR(LoadConvolution(
      loader, config.recurrent, {names.q_convolution, names.k_convolution, names.v_convolution},
      all_.channels(), channels));
  params_.convolution = convolution();
  return absl::OkStatus();
}

absl::Status KimiDeltaAttention::LoadLowRanks(ThreadPool& pool, WeightLoader& loader,
                                              int64_t hidden, const RecurrentNames& names) {
  FM_ASSIGN_OR_RETURN(decays_,
                      LoadLowRank(pool, loader, hidden, names.a_low, names.a, /*exact=*/true));
  FM_ASSIGN_OR_RETURN(gates_,
                      LoadLowRank(pool, loader, hidden, names.z_low, names.z, /*exact=*/false));
  decays_.first = params_.columns.a.first;
  gates_.first = params_.columns.z.first;
  return absl::OkStatus();
}

absl::StatusOr<KimiDeltaAttention::LowRank> KimiDeltaAttention::LoadLowRank(
    ThreadPool& pool, WeightLoader& loader, int64_t hidden, const std::string& in,
    const std::string& out, bool exact) {
  const int64_t dim = all_.key_dim;
  LowRank both;
  FM_ASSIGN_OR_RETURN(
      both.in, loader.Pack(pool, {.name = in + ".weight", .n = dim, .k = hidden, .exact = exact}));
  const TensorRef all = {.name = out + ".weight", .n = all_.keys(), .k = dim, .exact = exact};
  FM_ASSIGN_OR_RETURN(both.out, loader.Pack(pool, all.Rows(first_unit() * dim, own_units() * dim)));
  return both;
}

absl::Status KimiDeltaAttention::LoadGates(WeightLoader& loader, const RecurrentNames& names) {
  const int64_t dim = all_.key_dim;
  FM_ASSIGN_OR_RETURN(rates_,
                      loader.VectorPart(names.rates, all_.key_heads, first_unit(), own_units()));
  for (float& rate : rates_) rate = static_cast<float>(exact::Exp(static_cast<double>(rate)));
  FM_ASSIGN_OR_RETURN(step_bias_, loader.VectorPart(names.step_bias, all_.keys(),
                                                    first_unit() * dim, own_units() * dim));
  FM_ASSIGN_OR_RETURN(norm_, loader.Vector(names.norm + ".weight", all_.value_dim));
  params_.rates = rates_;
  params_.step_bias = step_bias_;
  params_.norm = norm_;
  return absl::OkStatus();
}

void KimiDeltaAttention::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&,
                                ConstMatrix x, Matrix attended) const {
  const int64_t keys = params_.heads.keys();
  const bool narrow = !decays_.in.empty();
  const Matrix projected = ctx.workspace.GetMatrix(x.rows, params_.columns.z.first + keys);
  ProjectInto(ctx, x, narrow ? projected.Columns(0, decays_.first) : projected);
  if (narrow) {
    const Workspace::Position mark = ctx.workspace.Mark();
    const Matrix low = ctx.workspace.GetMatrix(x.rows, all_.key_dim);
    for (const LowRank* const both : {&decays_, &gates_}) {
      Gemm(ctx.pool, x, both->in, {}, ctx.workspace, low);
      Gemm(ctx.pool, low, both->out, {}, ctx.workspace, projected.Columns(both->first, keys));
    }
    ctx.workspace.Release(mark);
  }
  FM_CHECK(step.state != nullptr);
  GatedDeltaRule(ctx.pool, params_, step.sequences, projected, *step.state, ctx.workspace,
                 attended);
}

}  // namespace folkmoot
