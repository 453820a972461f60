// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/gpu_moe.h"

#include <algorithm>

#include "runtime/cuda/expert_ffn.h"
#include "runtime/cuda/rows.h"

namespace folkmoot {
namespace {

// Rows first .. first + rows of a routing with k slots.
cuda::RoutingRef SomeRows(cuda::RoutingRef routing, int first, int rows) {
  const int64_t choices = int64_t{first} * routing.k;
  routing.rows = rows;
  routing.expert += choices;
  routing.weight += choices;
  routing.state += choices;
  routing.action += choices;
  routing.place += choices;
  routing.bad += first;
  return routing;
}

// The part of a host's routing that the experts and the combine read, to the device.
void CopyRouting(cuda::Stream& stream, const Routing& from, int first, const cuda::RoutingRef& to) {
  const auto at = static_cast<size_t>(first) * static_cast<size_t>(to.k);
  const int64_t choices = int64_t{to.rows} * to.k;
  constexpr int64_t kWord = 4;
  cuda::CopyToDevice(stream, to.expert, from.expert.data() + at, choices * kWord);
  cuda::CopyToDevice(stream, to.weight, from.weight.data() + at, choices * kWord);
  cuda::CopyToDevice(stream, to.action, from.action.data() + at, choices);
}

}  // namespace

bool GpuMoeLayers::NeedsWideInputs(const GpuWeights& weights, const GateConfig& gate) {
  if (weights.dims.dtype == DType::kF32) return false;  // they are
  // Requests may ask for passthrough, so that a model of 16 bits always needs them.
  static_cast<void>(gate);
  return std::any_of(weights.layers.begin(), weights.layers.end(),
                     [](const GpuLayer& layer) { return layer.moe.has_value(); });
}

int GpuMoeLayers::SmallestTile(const GpuWeights& weights, const cuda::DeviceInfo& device,
                               int64_t rows) {
  int smallest = 128;
  for (const GpuLayer& layer : weights.layers) {
    if (!layer.moe) continue;
    for (int64_t r = 1; r <= rows; r *= 2) {
      for (const int k : {1, weights.dims.top_k}) {
        smallest =
            std::min(smallest, cuda::PlanExpertFfn(device, layer.moe->experts, static_cast<int>(r),
                                                   k, weights.dims.experts)
                                   .tile_rows);
      }
    }
    break;  // the others have the same shape
  }
  return smallest;
}

absl::StatusOr<std::unique_ptr<GpuMoeLayers>> GpuMoeLayers::Create(const GpuWeights& weights,
                                                                   const Gate& gate,
                                                                   const ExpertPlacement& placement,
                                                                   int rank, cuda::Stream& stream) {
  std::unique_ptr<GpuMoeLayers> layers(new GpuMoeLayers(weights, gate));
  int moe_index = 0;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    if (!weights.layers[i].moe) continue;
    layers->routers_.emplace_back(static_cast<int>(i), moe_index++, gate);
  }
  std::vector<int32_t> slots(static_cast<size_t>(placement.experts()), -1);
  for (const int expert : placement.experts_of(rank)) {
    slots[static_cast<size_t>(expert)] = placement.slot_of(expert);
  }
  const auto bytes = static_cast<int64_t>(slots.size() * sizeof(int32_t));
  FM_ASSIGN_OR_RETURN(layers->slot_of_expert_, cuda::Memory::Allocate(bytes, "expert slots"));
  cuda::CopyToDevice(stream, layers->slot_of_expert_.data(), slots.data(), bytes);
  FM_RETURN_IF_ERROR(layers->UploadGate(stream));
  FM_RETURN_IF_ERROR(stream.Synchronize());  // `slots` ends here
  return layers;
}

absl::Status GpuMoeLayers::UploadGate(cuda::Stream&) {
  why_on_host_ = "not there yet";
  return absl::OkStatus();
}

bool GpuMoeLayers::OnDevice(const ForwardBatch& batch) const {
  if (!why_on_host_.empty() || batch.gates.size() > 1) return false;
  if (!batch.gates.empty() && batch.gates.front() != &gate_) return false;
  // Counters at the end of each page are kept where that is the end of the rows too.
  return std::all_of(batch.sequences.begin(), batch.sequences.end(), [](const BatchSequence& s) {
    return s.page_ends.empty() ||
           (s.page_ends.size() == 1 && (s.start + s.rows) % s.page_size == 0);
  });
}

void GpuMoeLayers::StartRouter(const GpuStep& step, int layer) const {
  const GpuLayer& weights = weights_.layers[static_cast<size_t>(layer)];
  const int64_t rows = step.bucket.rows;
  const cuda::MatrixRef logits = FloatMatrix(step.work.router_logits, rows, step.dims.experts);
  cuda::MatrixRef x = FirstRows(step.work.normed, rows);
  if (step.work.wide != nullptr && weights.moe->router.dtype != x.dtype) {
    x = FloatMatrix(step.work.wide, rows, step.dims.hidden);
  }
  cuda::Gemm(step.stream, step.gemm, x, weights.moe->router, nullptr, logits);
}

void GpuMoeLayers::StartExperts(const GpuStep& step, int layer, int first,
                                const cuda::RoutingRef& routing, const float* next_norm) const {
  const GpuMoe& moe = *weights_.layers[static_cast<size_t>(layer)].moe;
  const StepWork& work = step.work;
  const int64_t rows = routing.rows;
  const int64_t offset = first * step.dims.hidden;
  const cuda::MatrixRef normed = folkmoot::SomeRows(work.normed, first, rows);
  const bool on_input = gate_.config().apply_to == ApplyTo::kInput;
  if (step.dims.local_experts > 0) {
    const cuda::ExpertFfnPlan plan = cuda::PlanExpertFfn(
        step.stream.device(), moe.experts, routing.rows, routing.k, step.dims.experts);
    cuda::GroupedRows groups;
    groups.slots = step.dims.local_experts;
    groups.max_choices = routing.rows * routing.k;
    groups.tile_rows = plan.tile_rows;
    groups.max_tiles = cuda::MaxTiles(groups.max_choices, groups.slots, plan.tile_rows);
    FM_CHECK(groups.max_tiles <= work.max_tiles);
    groups.choices = work.choices;
    groups.offsets = work.offsets;
    groups.tiles = work.tiles;
    groups.tile_count = work.tile_count;
    cuda::GroupChoices(step.stream, routing, slot_of_expert_.As<int32_t>(), groups);
    cuda::ExpertFfn(step.stream, plan, moe.experts, groups, routing.k, normed,
                    on_input ? routing.weight : nullptr, work.expert_hidden, work.expert_rows);
  }
  cuda::CombineInput in;
  in.routing = routing;
  in.expert_rows = work.expert_rows;
  in.weight_on_input = on_input;
  in.x = work.wide != nullptr ? work.wide + offset : static_cast<const float*>(normed.data);
  if (moe.shared && gate_.config().shared) {
    in.shared = work.shared + offset;
    if (gate_.config().shared_gate == SharedGate::kSigmoid)
      in.shared_logit = work.shared_logit + first;
  }
  cuda::CombineAddRmsNorm(step.stream, in, next_norm, step.config.rms_norm_eps,
                          work.residual + offset, normed);
}

absl::Status GpuMoeLayers::Start(const GpuStep& step, int layer, int moe_index, bool on_device,
                                 const float* next_norm) {
  const GpuLayer& weights = weights_.layers[static_cast<size_t>(layer)];
  const int64_t rows = step.bucket.rows;
  if (step.work.wide != nullptr) {
    cuda::RmsNorm(step.stream, step.work.residual, weights.ffn_norm, step.config.rms_norm_eps,
                  FloatMatrix(step.work.wide, rows, step.dims.hidden));
  }
  StartRouter(step, layer);
  if (weights.moe->shared && gate_.config().shared) {
    const cuda::MatrixRef x = FirstRows(step.work.normed, rows);
    StartFfn(step, *weights.moe->shared, x, step.work.shared);
    if (gate_.config().shared_gate == SharedGate::kSigmoid) {
      cuda::Gemm(step.stream, step.gemm, x, weights.moe->shared_gate, nullptr,
                 FloatMatrix(step.work.shared_logit, rows, 1));
    }
  }
  if (!on_device) return StartHostRouted(step, layer, moe_index, next_norm);
  const cuda::RoutingRef routing =
      step.output.Routing(step.bucket.rows, step.dims.top_k, moe_index);
  cuda::RoutingParams params = params_;
  params.layer = layer;
  cuda::RouteRows(step.stream, params, step.rows, step.sequences, step.work.router_logits,
                  step.input.Taken(step.bucket, moe_index), routing);
  StartExperts(step, layer, 0, routing, next_norm);
  return absl::OkStatus();
}

absl::Status GpuMoeLayers::StartHostRouted(const GpuStep& step, int layer, int moe_index,
                                           const float* next_norm) {
  LayerContext& ctx = *step.context;
  const int64_t rows = step.bucket.rows;
  const Matrix logits = ctx.workspace.GetMatrix(rows, step.dims.experts);
  cuda::CopyToHost(step.stream, logits.data, step.work.router_logits,
                   rows * step.dims.experts * static_cast<int64_t>(sizeof(float)));
  FM_RETURN_IF_ERROR(step.stream.Synchronize());
  FM_ASSIGN_OR_RETURN(const Routing routing,
                      routers_[static_cast<size_t>(moe_index)].Route(ctx, *step.batch, logits));
  if (ctx.observer != nullptr) ctx.observer->OnRouting(layer, routing);
  // A request's gate may choose more experts than the model's: then fewer rows go at once.
  const int most = static_cast<int>(
      std::min<int64_t>(rows, step.dims.top_k >= routing.top_k
                                  ? rows
                                  : std::max<int64_t>(1, rows * step.dims.top_k / routing.top_k)));
  for (int first = 0; first < static_cast<int>(rows); first += most) {
    const int count = std::min(most, static_cast<int>(rows) - first);
    const cuda::RoutingRef part = SomeRows(step.output.Routing(count, routing.top_k, 0), 0, count);
    CopyRouting(step.stream, routing, first, part);
    StartExperts(step, layer, first, part, next_norm);
  }
  return step.stream.status();
}

}  // namespace folkmoot
