// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/moe_bench.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string_view>

#include "layers/gpu/gpu_moe.h"
#include "parallel/thread_communicator.h"

namespace folkmoot {
namespace {

constexpr int64_t kRun = 65521;  // random values that are repeated; a prime, so that rows differ

// Fills `bytes` of device memory with one random run, doubled until it is long enough.
absl::Status FillRandom(cuda::Stream& stream, void* data, int64_t bytes, DType dtype,
                        double deviation) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, static_cast<float>(deviation));
  const int64_t size = DTypeBytes(dtype);
  std::vector<std::byte> run(static_cast<size_t>(kRun * size));
  for (int64_t i = 0; i < kRun; ++i) StoreElement(normal(random), run.data(), dtype, i);
  int64_t filled = std::min(bytes, kRun * size);
  cuda::CopyToDevice(stream, data, run.data(), filled);
  while (filled < bytes) {
    const int64_t count = std::min(filled, bytes - filled);
    cuda::CopyOnDevice(stream, static_cast<std::byte*>(data) + filled, data, count);
    filled += count;
  }
  return stream.Synchronize();
}

// Seconds of one of `repeats` runs of `work`.
absl::StatusOr<double> Time(cuda::Stream& stream, int repeats, absl::FunctionRef<void()> work) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<cuda::Timer> timer, cuda::Timer::Create());
  timer->Start(stream);
  for (int i = 0; i < repeats; ++i) work();
  timer->Stop(stream);
  FM_RETURN_IF_ERROR(stream.Synchronize());
  FM_ASSIGN_OR_RETURN(const double seconds, timer->Seconds());
  return seconds / repeats;
}

// One model of nothing but MoE layers of the shape.
class MoeBench {
 public:
  explicit MoeBench(const MoeBenchOptions& options) : options_(options) {
    const MoeBenchShape& shape = options.shape;
    config_.hidden = shape.hidden;
    config_.heads = config_.kv_heads = 1;
    config_.head_dim = 16;
    config_.vocab = 64;
    config_.tied_embeddings = true;
    config_.moe = {.experts = shape.gate.num_experts,
                   .top_k = shape.gate.top_k,
                   .intermediate = shape.intermediate,
                   .norm_topk_prob = true,
                   .shared_intermediate = shape.shared_intermediate};
  }

  absl::Status SetUp() {
    FM_RETURN_IF_ERROR(cuda::UseDevice(options_.device));
    FM_ASSIGN_OR_RETURN(stream_, cuda::Stream::Create());
    FM_RETURN_IF_ERROR(PlaceWeights());
    SetSizes();
    DeviceArena counted;
    LayOut(sizes_, counted, &work_);
    FM_ASSIGN_OR_RETURN(work_memory_, cuda::Memory::Allocate(counted.bytes(), "buffers"));
    DeviceArena placed(work_memory_.data());
    LayOut(sizes_, placed, &work_);
    cuda::FillZero(*stream_, work_memory_.data(), counted.bytes());
    FM_ASSIGN_OR_RETURN(input_, StepInput::Create(sizes_));
    FM_ASSIGN_OR_RETURN(output_, StepOutput::Create(sizes_));
    gate_ = MakeGate(options_.shape.gate);
    gpu_.batch_invariant = options_.batch_invariant;
    gemm_.policy = policy();
    FM_ASSIGN_OR_RETURN(moe_, GpuMoeLayers::Create(weights_, sizes_, *gate_, placement_,
                                                   *ranks_.front(), gpu_, *stream_));
    if (moe_->why_on_host().empty()) return absl::OkStatus();
    return InvalidArgument("{}: the device cannot route it: {}", options_.shape.name,
                           moe_->why_on_host());
  }

  absl::StatusOr<MoeBenchPoint> Measure(int tokens) {
    const GpuStep step = FillStep(tokens);
    FM_RETURN_IF_ERROR(FillRandom(*stream_, work_.residual, tokens * config_.hidden * int64_t{4},
                                  DType::kF32, 1.0));
    absl::Status status;
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<cuda::Graph> graph,
                        cuda::Graph::Record(*stream_, [&] {
                          for (size_t i = 0; i < weights_.layers.size() && status.ok(); ++i) {
                            status = moe_->Start(step, static_cast<int>(i), static_cast<int>(i),
                                                 weights_.layers[i].input_norm);
                          }
                        }));
    FM_RETURN_IF_ERROR(status);
    const auto replay = [&] { graph->Launch(*stream_); };
    FM_ASSIGN_OR_RETURN(const double first, Time(*stream_, 2, replay));
    const int repeats = std::clamp(static_cast<int>(options_.seconds / first), 1, 2000);
    FM_ASSIGN_OR_RETURN(const double seconds, Time(*stream_, repeats, replay));
    output_.CopyRoutingOut(*stream_, tokens, weights_.dims.top_k);
    FM_RETURN_IF_ERROR(stream_->Synchronize());
    return Judge(tokens, seconds / layers(), graph->kernels() / layers());
  }

  absl::Status MeasureMachine(MoeBenchReport* report) {
    report->device = stream_->device().name;
    report->layers = static_cast<int>(weights_.layers.size());
    const ProbeSizes sizes = ProbeSizesHere();
    FM_ASSIGN_OR_RETURN(report->read_bytes_per_second,
                        cuda::ProbeReadBandwidth(*stream_, sizes.bytes, 5));
    if (options_.dtype != DType::kF32) {
      FM_ASSIGN_OR_RETURN(report->flops_per_second,
                          cuda::ProbeMatrixRate(*stream_, MatrixUnitOf(stream_->device()),
                                                options_.dtype, sizes.steps, 3));
      return absl::OkStatus();
    }
    const int64_t elements = weights_.bytes / DTypeBytes(options_.dtype) / 2;
    int64_t n = 64;
    while (n < 4096 && 4 * n * n <= elements) n *= 2;
    const cuda::MatrixRef x = {weights_.memory.data(), options_.dtype, n, n, n};
    const cuda::MatrixRef out = {weights_.memory.As<float>() + n * n, options_.dtype, n, n, n};
    FM_ASSIGN_OR_RETURN(const double product, Time(*stream_, 4, [&] {
                          cuda::Gemm(*stream_, gemm_, x, x, nullptr, out);
                        }));
    report->flops_per_second = 2.0 * std::pow(static_cast<double>(n), 3) / product;
    return absl::OkStatus();
  }

 private:
  double layers() const { return static_cast<double>(weights_.layers.size()); }
  cuda::GemmPolicy policy() const {
    return options_.batch_invariant ? cuda::GemmPolicy::kBatchInvariant
                                    : cuda::GemmPolicy::kFastest;
  }

  // As many layers as fit well, at most 8.
  absl::Status PlaceWeights() {
    const int experts = options_.shape.gate.num_experts;
    placement_ = ExpertPlacement::Contiguous(experts, 1);
    FM_ASSIGN_OR_RETURN(weights_.dims, GpuDimsOf(config_, options_.dtype, experts));
    for (size_t count = 8; count > 0; count /= 2) {
      config_.layers.assign(count, {.moe = true});
      const GpuWeightTraits traits = {
          .moe = std::vector<GpuMoeTraits>(count, {.coded_experts = options_.fp8_experts})};
      DeviceArena counted;
      LayOut(config_, traits, counted, &weights_);
      if (count > 1 && counted.bytes() > stream_->device().free_bytes * 4 / 10) continue;
      weights_.bytes = counted.bytes();
      FM_ASSIGN_OR_RETURN(weights_.memory, cuda::Memory::Allocate(counted.bytes(), "weights"));
      DeviceArena placed(weights_.memory.data());
      LayOut(config_, traits, placed, &weights_);
      break;
    }
    const double deviation = 1.0 / std::sqrt(static_cast<double>(config_.hidden));
    FM_RETURN_IF_ERROR(
        FillRandom(*stream_, weights_.memory.data(), weights_.bytes, options_.dtype, deviation));
    for (const GpuLayer& layer : weights_.layers) {
      FM_RETURN_IF_ERROR(FillScales(*layer.moe, deviation));
      for (float* norm : {layer.input_norm, layer.ffn_norm}) {
        FM_RETURN_IF_ERROR(FillRandom(*stream_, norm, config_.hidden * 4, DType::kF32, 1.0));
      }
    }
    return absl::OkStatus();
  }

  // Of codes that are random bytes.
  absl::Status FillScales(const GpuMoe& moe, double deviation) {
    if (!options_.fp8_experts) return absl::OkStatus();
    constexpr double kUsualCode = 128;
    const cuda::ExpertWeights& experts = moe.experts;
    const int64_t slots = weights_.dims.local_experts;
    const auto fill = [&](const float* scales, int64_t rows, int64_t k) {
      return FillRandom(*stream_, const_cast<float*>(scales),
                        slots * rows * cuda::CodeGroups(k) * int64_t{sizeof(float)}, DType::kF32,
                        deviation / kUsualCode);
    };
    FM_RETURN_IF_ERROR(fill(experts.gate_up_scale, 2 * experts.intermediate, experts.hidden));
    return fill(experts.down_scale, experts.hidden, experts.intermediate);
  }

  void SetSizes() {
    const int64_t most = *std::max_element(options_.tokens.begin(), options_.tokens.end());
    sizes_.limits = {.rows = most, .sequences = 1, .length = most};
    sizes_.dims = weights_.dims;
    sizes_.rotary = rope_.rotary_dim();
    sizes_.moe_layers = static_cast<int>(weights_.layers.size());
    sizes_.wide_inputs = options_.dtype != DType::kF32;
    sizes_.chunk_counters = options_.shape.gate.NeedsChunkCounters();
    sizes_.arrivals = options_.shape.gate.CanDrop() && !sizes_.chunk_counters;
    sizes_.tile_rows = GpuMoeLayers::SmallestTile(weights_, stream_->device(), most);
    sizes_.attention_scratch = 256;
  }

  GpuStep FillStep(int tokens) {
    const auto count = static_cast<size_t>(tokens);
    pages_.assign((count + 15) / 16, 0);
    places_.assign(sizes_.chunk_counters ? static_cast<size_t>(sizes_.moe_layers) *
                                               static_cast<size_t>(sizes_.dims.experts)
                                         : 0,
                   0);
    batch_.Clear();
    for (size_t i = 0; i < count; ++i) {
      batch_.token_ids.push_back(0);
      batch_.positions.push_back(static_cast<int32_t>(i));
      batch_.rope_lengths.push_back(tokens);
      batch_.streams.push_back(i);
    }
    batch_.sequences.push_back({.rows = tokens, .blocks = pages_, .expert_places = places_});
    StepBucket bucket;
    bucket.rows = bucket.max_rows = bucket.max_length = tokens;
    bucket.sequences = 1;
    bucket.block_stride = static_cast<int>(pages_.size());
    input_.Fill(bucket, batch_, rope_);
    input_.CopyIn(*stream_, bucket);
    return {.stream = *stream_,
            .gemm = gemm_,
            .config = config_,
            .dims = weights_.dims,
            .work = work_,
            .input = input_,
            .output = output_,
            .bucket = bucket,
            .rows = input_.Rows(bucket),
            .sequences = input_.Sequences(bucket),
            .limits = sizes_.limits};
  }

  MoeBenchPoint Judge(int tokens, double seconds, double kernels) const {
    int64_t touched = 0;
    for (int layer = 0; layer < sizes_.moe_layers; ++layer) {
      std::vector<bool> seen(static_cast<size_t>(sizes_.dims.experts), false);
      const Routing routing = output_.Read(tokens, sizes_.dims.top_k, layer, tokens);
      for (size_t c = 0; c < routing.expert.size(); ++c) {
        if (routing.action[c] != SlotAction::kExpert) continue;
        seen[static_cast<size_t>(routing.expert[c])] = true;
      }
      touched += std::count(seen.begin(), seen.end(), true);
    }
    const MoeBenchShape& shape = options_.shape;
    const auto hidden = static_cast<double>(shape.hidden);
    const auto size = static_cast<double>(DTypeBytes(options_.dtype));
    const double expert = 3.0 * hidden * static_cast<double>(shape.intermediate);
    const double shared = 3.0 * hidden * static_cast<double>(shape.shared_intermediate);
    const double router = hidden * static_cast<double>(sizes_.dims.experts);
    MoeBenchPoint point = {.tokens = tokens, .seconds = seconds, .kernels = kernels};
    point.touched = static_cast<double>(touched) / layers();
    const double expert_size =
        options_.fp8_experts ? 1.0 + sizeof(float) / double{cuda::kCodeGroup} : size;
    point.bytes = expert_size * point.touched * expert + size * (shared + router) +
                  tokens * hidden * 2.0 * sizeof(float);
    point.flops =
        2.0 * tokens * (static_cast<double>(sizes_.dims.top_k) * expert + shared + router);
    return point;
  }

  const MoeBenchOptions& options_;
  ModelConfig config_;
  GpuOptions gpu_;
  std::unique_ptr<cuda::Stream> stream_;
  GpuWeights weights_;
  StepSizes sizes_;
  cuda::Memory work_memory_;
  StepWork work_;
  StepInput input_;
  StepOutput output_;
  cuda::GemmContext gemm_;
  Rope rope_{RopeConfig{}, 16, 16};
  ExpertPlacement placement_ = ExpertPlacement::Contiguous(0, 1);
  std::vector<std::unique_ptr<Communicator>> ranks_ = MakeThreadCommunicators(1);
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<GpuMoeLayers> moe_;
  ForwardBatch batch_;
  std::vector<int32_t> pages_;
  std::vector<int32_t> places_;
};

}  // namespace

ProbeSizes ProbeSizesHere() {
  if (std::string_view(cuda::BackendName()) != "simulator") return {};
  return {.bytes = int64_t{1} << 16, .steps = 8};
}

cuda::MatrixUnit MatrixUnitOf(const cuda::DeviceInfo& device) {
  return device.compute_capability == 90 ? cuda::MatrixUnit::kWarpgroup : cuda::MatrixUnit::kWarp;
}

absl::StatusOr<MoeBenchReport> RunMoeBench(const MoeBenchOptions& options) {
  MoeBench bench(options);
  FM_RETURN_IF_ERROR(bench.SetUp());
  MoeBenchReport report;
  for (const int tokens : options.tokens) {
    FM_ASSIGN_OR_RETURN(report.points.emplace_back(), bench.Measure(tokens));
  }
  FM_RETURN_IF_ERROR(bench.MeasureMachine(&report));
  return report;
}

}  // namespace folkmoot
