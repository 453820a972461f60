// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/gpu_moe.h"

#include <algorithm>
#include <string_view>

#include "parallel/nccl_communicator.h"
#include "parallel/nccl_dispatcher.h"
#include "runtime/cuda/rows.h"

namespace folkmoot {
namespace {

// The part of a host's routing that the experts and the combine read, for rows first .. of the
// step, to the device. `to` may have more rows (nothing is done for them) and more slots.
void CopyRouting(const GpuStep& step, const Routing& from, int first, const cuda::RoutingRef& to) {
  const int64_t rows = std::clamp<int64_t>(from.tokens - first, 0, to.rows);
  Workspace& workspace = step.context->workspace;
  const int64_t choices = int64_t{to.rows} * to.k;
  const auto expert = workspace.Get<int32_t>(choices);
  const auto weight = workspace.Get<float>(choices);
  const auto action = workspace.Get<SlotAction>(choices);
  std::fill(expert.begin(), expert.end(), 0);
  std::fill(weight.begin(), weight.end(), 0.0f);
  std::fill(action.begin(), action.end(), SlotAction::kNone);
  for (int64_t row = 0; row < rows; ++row) {
    for (int slot = 0; slot < std::min(to.k, from.top_k); ++slot) {
      const auto at = static_cast<size_t>(row * to.k + slot);
      const auto source = static_cast<size_t>((first + row) * from.top_k + slot);
      expert[at] = from.expert[source];
      weight[at] = from.weight[source];
      action[at] = from.action[source];
    }
  }
  constexpr int64_t kWord = 4;
  cuda::CopyToDevice(step.stream, to.expert, expert.data(), choices * kWord);
  cuda::CopyToDevice(step.stream, to.weight, weight.data(), choices * kWord);
  cuda::CopyToDevice(step.stream, to.action, action.data(), choices);
}

}  // namespace

GpuMoeLayers::GpuMoeLayers(const GpuWeights& weights, const Gate& gate,
                           const ExpertPlacement& placement, Communicator& ranks,
                           cuda::Stream& stream)
    : weights_(weights), gate_(gate), placement_(placement), ranks_(ranks), stream_(stream) {}

GpuMoeLayers::~GpuMoeLayers() = default;

int GpuMoeLayers::SmallestTile(const GpuWeights& weights, const cuda::DeviceInfo& device,
                               int64_t rows) {
  int smallest = 128;
  const auto layer = std::find_if(weights.layers.begin(), weights.layers.end(),
                                  [](const GpuLayer& l) { return l.moe.has_value(); });
  if (layer == weights.layers.end()) return smallest;
  for (const auto policy : {cuda::GemmPolicy::kFastest, cuda::GemmPolicy::kBatchInvariant}) {
    for (int64_t r = 1; r / 2 < rows; r *= 2) {
      for (const int k : {1, weights.dims.top_k}) {
        const cuda::ExpertFfnPlan plan =
            cuda::PlanExpertFfn(device, layer->moe->experts, static_cast<int>(r), k,
                                std::max(1, weights.dims.local_experts), policy);
        smallest = std::min(smallest, plan.tile_rows);
      }
    }
  }
  return smallest;
}

absl::StatusOr<std::unique_ptr<GpuMoeLayers>> GpuMoeLayers::Create(
    const GpuWeights& weights, const StepSizes& sizes, const Gate& gate,
    const ExpertPlacement& placement, Communicator& ranks, const GpuOptions& options,
    cuda::Stream& stream) {
  std::unique_ptr<GpuMoeLayers> layers(new GpuMoeLayers(weights, gate, placement, ranks, stream));
  int moe_index = 0;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    if (!weights.layers[i].moe) continue;
    layers->routers_.emplace_back(static_cast<int>(i), moe_index++, gate);
  }
  std::vector<int32_t> slots(static_cast<size_t>(placement.experts()), -1);
  for (const int expert : placement.experts_of(ranks.rank())) {
    slots[static_cast<size_t>(expert)] = placement.slot_of(expert);
  }
  const auto bytes = static_cast<int64_t>(slots.size() * sizeof(int32_t));
  FM_ASSIGN_OR_RETURN(layers->slot_of_expert_, cuda::Memory::Allocate(bytes, "expert slots"));
  cuda::CopyToDevice(stream, layers->slot_of_expert_.data(), slots.data(), bytes);

  layers->why_on_host_ = WhyNotOnDevice(gate.config(), ranks.size(), weights.dims.vocab);
  if (layers->why_on_host_.empty()) {
    FM_ASSIGN_OR_RETURN(layers->device_gate_,
                        DeviceGate::Create(stream, gate.config(), sizes.limits.rows));
    layers->fused_ = ranks.size() == 1 && !options.batch_invariant;
  }
  const int64_t counters = cuda::RouteStepCounters(static_cast<int>(sizes.limits.rows)) *
                           static_cast<int64_t>(sizeof(uint32_t));
  FM_ASSIGN_OR_RETURN(layers->arrivals_, cuda::Memory::Allocate(counters, "arrivals"));
  cuda::FillZero(stream, layers->arrivals_.data(), counters);
  layers->fixed_rows_ = BucketRows(static_cast<int>(sizes.limits.sequences));
  FM_RETURN_IF_ERROR(stream.Synchronize());  // `slots` ends here
  if (ranks.size() > 1) FM_RETURN_IF_ERROR(layers->Connect(options));
  return layers;
}

absl::Status GpuMoeLayers::Connect(const GpuOptions& options) {
  if (options.nccl == nullptr && std::string_view(cuda::BackendName()) == "simulator") {
    return FailedPrecondition("--device cuda: the simulator has no NCCL; start one rank");
  }
  const NcclOptions nccl = {.allow_shared_gpu = options.allow_shared};
  absl::StatusOr<NcclApi> api = options.nccl != nullptr
                                    ? absl::StatusOr<NcclApi>(*options.nccl)
                                    : LoadNccl(LibrarySearch::FromEnvironment());
  FM_ASSIGN_OR_RETURN(nccl_,
                      NcclCommunicator::Create(api, ranks_, stream_.device(), stream_, nccl));
  return DispatcherFor(weights_.dims.top_k).status();
}

absl::StatusOr<DeviceDispatcher*> GpuMoeLayers::DispatcherFor(int k) {
  std::unique_ptr<DeviceDispatcher>& dispatcher = dispatchers_[k];
  if (dispatcher == nullptr) {
    const DeviceDispatchLimits limits = {.hidden = weights_.dims.hidden,
                                         .k = k,
                                         .dtype = weights_.dims.dtype,
                                         .fixed_rows = fixed_rows_};
    FM_ASSIGN_OR_RETURN(dispatcher, NcclDispatcher::Create(*nccl_, placement_, limits, stream_));
  }
  return dispatcher.get();
}

bool GpuMoeLayers::OnDevice(const ForwardBatch& batch) const {
  if (!why_on_host_.empty() || batch.gates.size() > 1) return false;
  if (!batch.gates.empty() && batch.gates.front() != &gate_) return false;
  // Counters at the end of each page come back where that is the end of the rows too.
  return std::all_of(batch.sequences.begin(), batch.sequences.end(), [](const BatchSequence& s) {
    return s.page_ends.empty() ||
           (s.page_ends.size() == 1 && (s.start + s.rows) % s.page_size == 0);
  });
}

absl::Status GpuMoeLayers::Wait(const GpuStep& step, int layer) {
  if (dispatchers_.empty()) return step.stream.Synchronize();
  const WaitLabel label = {.phase = "step", .layer = layer, .step = step.context->step};
  for (const auto& [k, dispatcher] : dispatchers_) {
    FM_RETURN_IF_ERROR(dispatcher->Wait(step.stream, label));
  }
  return absl::OkStatus();
}

cuda::RoutingInput GpuMoeLayers::InputOf(const GpuStep& step, int moe_index) const {
  cuda::RoutingInput input;
  input.rows = step.rows;
  input.sequences = step.sequences;
  input.counters.taken = step.input.Taken(step.bucket, moe_index);
  input.counters.stride = step.dims.experts;
  input.arrival = step.input.Arrival(step.bucket);
  return input;
}

void GpuMoeLayers::StartRouterAlone(const GpuStep& step, int layer) {
  const GpuLayer& weights = weights_.layers[static_cast<size_t>(layer)];
  const StepWork& work = step.work;
  const int64_t rows = step.bucket.rows;
  const float eps = step.config.rms_norm_eps;
  cuda::MatrixRef x = FirstRows(work.normed, rows);
  cuda::AddRmsNorm(stream_, work.delta, weights.ffn_norm, eps, work.residual, x);
  if (work.wide != nullptr) {  // logits come from what was not rounded, as on the CPU
    x = FloatMatrix(work.wide, rows, step.dims.hidden);
    cuda::RmsNorm(stream_, work.residual, weights.ffn_norm, eps, x);
  }
  cuda::Gemm(stream_, step.gemm, x, moe(layer).router, nullptr,
             FloatMatrix(work.router_logits, rows, step.dims.experts));
}

void GpuMoeLayers::StartRouting(const GpuStep& step, int layer, int moe_index,
                                const cuda::RoutingRef& routing) {
  if (!fused_) {
    StartRouterAlone(step, layer);
    if (!step.on_device) return;
    cuda::RouteRows(stream_, device_gate_.Params(layer), InputOf(step, moe_index),
                    step.work.router_logits, routing);
    return;
  }
  const GpuLayer& weights = weights_.layers[static_cast<size_t>(layer)];
  const cuda::RoutingParams params = device_gate_.Params(layer);
  // The combine reads rows that were not rounded for action 2 alone.
  const bool identity = !step.on_device || params.passthrough || params.zero_experts > 0;
  const cuda::RouteStepInput input = {.delta = step.work.delta,
                                      .norm_weight = weights.ffn_norm,
                                      .eps = step.config.rms_norm_eps,
                                      .residual = step.work.residual,
                                      .out = FirstRows(step.work.normed, step.bucket.rows),
                                      .wide_logits = true,
                                      .wide = identity ? step.work.wide : nullptr,
                                      .router = moe(layer).router,
                                      .logits = step.work.router_logits,
                                      .arrivals = arrivals_.As<uint32_t>()};
  const cuda::ExpertFfnPlan plan = PlanOf(step, layer, routing.rows, routing.k);
  cuda::RouteStep(stream_, input, params, InputOf(step, moe_index), routing,
                  {slot_of_expert_.As<int32_t>(), Groups(step, plan, routing.rows * routing.k)});
}

cuda::ExpertFfnPlan GpuMoeLayers::PlanOf(const GpuStep& step, int layer, int rows, int k) const {
  return cuda::PlanExpertFfn(stream_.device(), moe(layer).experts, rows, k,
                             std::max(1, step.dims.local_experts), step.gemm.policy);
}

cuda::GroupedRows GpuMoeLayers::Groups(const GpuStep& step, const cuda::ExpertFfnPlan& plan,
                                       int choices) const {
  cuda::GroupedRows groups;
  groups.slots = step.dims.local_experts;
  groups.max_choices = choices;
  groups.tile_rows = plan.tile_rows;
  groups.max_tiles = cuda::MaxTiles(choices, groups.slots, plan.tile_rows);
  FM_CHECK(groups.max_tiles <= step.work.max_tiles && choices <= step.work.max_choices);
  groups.choices = step.work.choices;
  groups.offsets = step.work.offsets;
  groups.tiles = step.work.tiles;
  groups.tile_count = step.work.tile_count;
  return groups;
}

void GpuMoeLayers::StartShared(const GpuStep& step, int layer) const {
  if (!moe(layer).shared || !gate_.config().shared) return;
  const int64_t rows = step.bucket.rows;
  const cuda::MatrixRef x = FirstRows(step.work.normed, rows);
  StartFfn(step, *moe(layer).shared, x, step.work.shared);
  if (gate_.config().shared_gate != SharedGate::kSigmoid) return;
  cuda::Gemm(stream_, step.gemm, x, moe(layer).shared_gate, nullptr,
             FloatMatrix(step.work.shared_logit, rows, 1));
}

absl::Status GpuMoeLayers::Start(const GpuStep& step, int layer, int moe_index,
                                 const float* next_norm) {
  cuda::RoutingRef routing = step.output.Routing(step.bucket.rows, step.dims.top_k, moe_index);
  if (gate_.config().CanDrop()) {
    routing.raw = step.work.raw;
  } else {
    routing.place = nullptr;  // nobody competes for places
  }
  StartRouting(step, layer, moe_index, routing);
  StartShared(step, layer);
  if (!step.on_device) return StartHostRouted(step, layer, moe_index, next_norm);
  return StartExperts(step, {.layer = layer,
                             .first = 0,
                             .routing = routing,
                             .grouped = fused_,
                             .combine = true,
                             .next_norm = next_norm});
}

absl::StatusOr<const float*> GpuMoeLayers::StartLocal(const GpuStep& step, const Part& part) {
  const cuda::RoutingRef& routing = part.routing;
  const cuda::ExpertFfnPlan plan = PlanOf(step, part.layer, routing.rows, routing.k);
  const cuda::GroupedRows groups = Groups(step, plan, routing.rows * routing.k);
  if (!part.grouped) {
    cuda::GroupChoices(stream_, routing, {slot_of_expert_.As<int32_t>(), groups});
  }
  const bool on_input = gate_.config().apply_to == ApplyTo::kInput;
  cuda::ExpertFfn(stream_, plan, moe(part.layer).experts, groups, routing.k,
                  SomeRows(step.work.normed, part.first, routing.rows),
                  on_input ? routing.weight : nullptr, step.work.expert_hidden,
                  step.work.expert_rows);
  return step.work.expert_rows;
}

absl::StatusOr<const float*> GpuMoeLayers::StartDispatched(const GpuStep& step, const Part& part) {
  FM_ASSIGN_OR_RETURN(DeviceDispatcher* const dispatcher, DispatcherFor(part.routing.k));
  const bool fixed = step.fixed_sizes;
  const DeviceDispatchInput input = {
      .x = SomeRows(step.work.normed, part.first, part.routing.rows),
      .routing = part.routing,
      .sizes = fixed ? DispatchSizes::kFixed : DispatchSizes::kExact,
      .label = {.layer = part.layer, .step = step.context == nullptr ? -1 : step.context->step}};
  FM_ASSIGN_OR_RETURN(const DeviceBatch batch, dispatcher->Dispatch(stream_, input));
  if (step.dims.local_experts > 0 && batch.routing.rows > 0) {
    const cuda::ExpertFfnPlan plan = PlanOf(step, part.layer, batch.routing.rows, batch.routing.k);
    const cuda::GroupedRows groups = Groups(step, plan, batch.routing.rows * batch.routing.k);
    cuda::GroupChoices(stream_, batch.routing, {slot_of_expert_.As<int32_t>(), groups});
    const bool on_input = gate_.config().apply_to == ApplyTo::kInput;
    cuda::ExpertFfn(stream_, plan, moe(part.layer).experts, groups, batch.routing.k, batch.x,
                    on_input ? batch.routing.weight : nullptr, step.work.expert_hidden, batch.out);
  }
  return dispatcher->Return(stream_);
}

absl::Status GpuMoeLayers::StartExperts(const GpuStep& step, const Part& part) {
  const StepWork& work = step.work;
  const int64_t offset = part.first * step.dims.hidden;
  cuda::CombineInput in;
  FM_ASSIGN_OR_RETURN(in.expert_rows,
                      ranks_.size() > 1 ? StartDispatched(step, part) : StartLocal(step, part));
  if (!part.combine) return stream_.status();
  const cuda::MatrixRef normed = SomeRows(work.normed, part.first, part.routing.rows);
  in.routing = part.routing;
  in.weight_on_input = gate_.config().apply_to == ApplyTo::kInput;
  in.x = work.wide != nullptr ? work.wide + offset : static_cast<const float*>(normed.data);
  if (moe(part.layer).shared && gate_.config().shared) {
    in.shared = work.shared + offset;
    if (gate_.config().shared_gate == SharedGate::kSigmoid) {
      in.shared_logit = work.shared_logit + part.first;
    }
  }
  cuda::CombineAddRmsNorm(stream_, in, part.next_norm, step.config.rms_norm_eps,
                          work.residual + offset, normed);
  return stream_.status();
}

absl::Status GpuMoeLayers::StartHostRouted(const GpuStep& step, int layer, int moe_index,
                                           const float* next_norm) {
  LayerContext& ctx = *step.context;
  const int64_t tokens = step.batch->tokens();
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix logits = ctx.workspace.GetMatrix(tokens, step.dims.experts);
  cuda::CopyToHost(stream_, logits.data, step.work.router_logits,
                   tokens * step.dims.experts * static_cast<int64_t>(sizeof(float)));
  FM_RETURN_IF_ERROR(Wait(step, layer));
  FM_ASSIGN_OR_RETURN(const Routing routing,
                      routers_[static_cast<size_t>(moe_index)].Route(ctx, *step.batch, logits));
  if (ctx.observer != nullptr) ctx.observer->OnRouting(layer, routing);
  // Ranks start the same number of pieces. A request's gate may choose more experts than the
  // model's: then fewer rows go at once.
  const int k = std::max(routing.top_k, step.dims.top_k);
  const int64_t all = ranks_.size() > 1 ? step.batch->widest.rows : tokens;
  const int64_t most = std::max<int64_t>(1, step.limits.rows * step.dims.top_k / k);
  for (int64_t first = 0; first < all; first += most) {
    const bool mine = first < step.bucket.rows;  // else only the others have rows left
    const auto rows = static_cast<int>(mine ? std::min(most, step.bucket.rows - first) : 1);
    const cuda::RoutingRef part = step.output.Routing(rows, k, 0);
    CopyRouting(step, routing, static_cast<int>(mine ? first : tokens), part);
    FM_RETURN_IF_ERROR(StartExperts(step, {.layer = layer,
                                           .first = static_cast<int>(mine ? first : 0),
                                           .routing = part,
                                           .combine = mine,
                                           .next_norm = next_norm}));
  }
  FM_RETURN_IF_ERROR(stream_.status());
  ctx.workspace.Release(mark);
  return absl::OkStatus();
}

}  // namespace folkmoot
