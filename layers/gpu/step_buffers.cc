// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/step_buffers.h"

#include <cstring>
#include <numeric>

namespace folkmoot {
namespace {

StepFields LayOutFields(const StepSizes& sizes, const StepBucket& bucket, DeviceArena& arena) {
  StepFields f = {};
  f.counts = arena.Take<int32_t>(2);
  f.token_ids = arena.Take<int32_t>(bucket.rows);
  f.positions = arena.Take<int32_t>(bucket.rows);
  f.sequence = arena.Take<int32_t>(bucket.rows);
  f.streams = arena.Take<uint64_t>(bucket.rows);
  f.cos = arena.Take<float>(bucket.rows * sizes.rotary / 2);
  f.sin = arena.Take<float>(bucket.rows * sizes.rotary / 2);
  f.first_row = arena.Take<int32_t>(bucket.sequences);
  f.sequence_rows = arena.Take<int32_t>(bucket.sequences);
  f.start = arena.Take<int32_t>(bucket.sequences);
  f.blocks = arena.Take<int32_t>(int64_t{bucket.sequences} * bucket.block_stride);
  f.logit_rows = arena.Take<int32_t>(bucket.rows);
  if (sizes.arrivals) f.arrival = arena.Take<int32_t>(bucket.rows);
  if (sizes.chunk_counters) {
    f.taken =
        arena.Take<int32_t>(int64_t{sizes.moe_layers} * bucket.sequences * sizes.dims.experts);
  }
  return f;
}

// The largest bucket of a step.
StepBucket Largest(const StepSizes& sizes) {
  StepBucket bucket;
  bucket.rows = static_cast<int>(sizes.limits.rows);
  bucket.sequences = static_cast<int>(sizes.limits.sequences);
  bucket.block_stride =
      static_cast<int>((sizes.limits.length + sizes.block_size - 1) / sizes.block_size);
  return bucket;
}

int64_t CounterBytes(const StepSizes& sizes, const StepBucket& bucket) {
  return int64_t{sizes.moe_layers} * bucket.sequences * sizes.dims.experts *
         static_cast<int64_t>(sizeof(int32_t));
}

cuda::RoutingRef LayOutRouting(int rows, int k, DeviceArena& arena) {
  const int64_t choices = int64_t{rows} * k;
  cuda::RoutingRef routing;
  routing.rows = rows;
  routing.k = k;
  routing.expert = arena.Take<int32_t>(choices);
  routing.weight = arena.Take<float>(choices);
  routing.place = arena.Take<int32_t>(choices);
  routing.state = arena.Take<uint8_t>(choices);
  routing.action = arena.Take<uint8_t>(choices);
  routing.bad = arena.Take<uint8_t>(rows);
  return routing;
}

int64_t RoutingBytes(int rows, int k) {
  DeviceArena counted;
  LayOutRouting(rows, k, counted);
  return counted.bytes();
}

}  // namespace

int BucketRows(int rows) {
  int size = 1;
  while (size < rows) {
    if (size >= 16 && size + size / 2 >= rows) return size + size / 2;
    size *= 2;
  }
  return size;
}

int64_t StepInput::Bytes(const StepSizes& sizes) {
  DeviceArena counted;
  LayOutFields(sizes, Largest(sizes), counted);
  return counted.bytes();
}

absl::StatusOr<StepInput> StepInput::Create(const StepSizes& sizes) {
  StepInput input;
  input.sizes_ = sizes;
  FM_ASSIGN_OR_RETURN(input.host_, cuda::Memory::Allocate(Bytes(sizes), "the input of steps",
                                                          cuda::MemoryKind::kPinnedHost));
  FM_ASSIGN_OR_RETURN(input.device_, cuda::Memory::Allocate(Bytes(sizes), "the input of steps"));
  std::memset(input.host_.data(), 0, static_cast<size_t>(input.host_.bytes()));
  return input;
}

void StepInput::FillSequences(const StepBucket& bucket, const ForwardBatch& batch,
                              StepFields& to) const {
  std::fill_n(to.sequence, bucket.rows, -1);
  std::fill_n(to.sequence_rows, bucket.sequences, 0);
  const auto experts = static_cast<size_t>(sizes_.dims.experts);
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const BatchSequence& sequence = batch.sequences[s];
    to.first_row[s] = static_cast<int32_t>(sequence.first_row);
    to.sequence_rows[s] = static_cast<int32_t>(sequence.rows);
    to.start[s] = static_cast<int32_t>(sequence.start);
    std::fill_n(to.sequence + sequence.first_row, sequence.rows, static_cast<int32_t>(s));
    // Of pages that are given ahead only those matter that these rows reach.
    const auto reached = static_cast<size_t>(
        (sequence.start + sequence.rows + sizes_.block_size - 1) / sizes_.block_size);
    std::copy_n(sequence.blocks.begin(), std::min(reached, sequence.blocks.size()),
                to.blocks + s * static_cast<size_t>(bucket.block_stride));
    if (to.taken == nullptr || sequence.expert_places.empty()) continue;
    for (int layer = 0; layer < sizes_.moe_layers; ++layer) {
      const size_t index = static_cast<size_t>(layer) * static_cast<size_t>(bucket.sequences) + s;
      std::copy_n(sequence.expert_places.begin() +
                      static_cast<std::ptrdiff_t>(static_cast<size_t>(layer) * experts),
                  experts, to.taken + index * experts);
    }
  }
}

void StepInput::FillArrival(const ForwardBatch& batch, StepFields& to) {
  order_.resize(batch.sequences.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return batch.sequences[static_cast<size_t>(a)].order <
           batch.sequences[static_cast<size_t>(b)].order;
  });
  int32_t* at = to.arrival;
  for (const int32_t s : order_) {
    const BatchSequence& sequence = batch.sequences[static_cast<size_t>(s)];
    std::iota(at, at + sequence.rows, static_cast<int32_t>(sequence.first_row));
    at += sequence.rows;
  }
}

void StepInput::Fill(const StepBucket& bucket, const ForwardBatch& batch, const Rope& rope) {
  DeviceArena arena(host_.data());
  StepFields to = LayOutFields(sizes_, bucket, arena);
  FM_CHECK(arena.bytes() <= host_.bytes());
  const auto rows = static_cast<size_t>(batch.tokens());
  FM_CHECK(static_cast<int>(rows) <= bucket.rows);
  FM_CHECK(static_cast<int>(batch.sequences.size()) <= bucket.sequences);
  FM_CHECK(to.counts != nullptr);
  to.counts[0] = static_cast<int32_t>(rows);
  to.counts[1] = static_cast<int32_t>(batch.sequences.size());
  const auto fill = [&](auto* field, const auto& values) {
    std::copy(values.begin(), values.end(), field);
    std::fill_n(field + rows, static_cast<size_t>(bucket.rows) - rows, 0);
  };
  fill(to.token_ids, batch.token_ids);
  fill(to.positions, batch.positions);
  if (batch.streams.size() == rows) fill(to.streams, batch.streams);
  rope.Fill(batch.positions, batch.rope_lengths, Matrix(to.cos, batch.tokens(), sizes_.rotary / 2),
            Matrix(to.sin, batch.tokens(), sizes_.rotary / 2));
  FillSequences(bucket, batch, to);
  if (to.arrival != nullptr) FillArrival(batch, to);
  std::fill_n(to.logit_rows, bucket.rows, -1);
  std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), to.logit_rows);
}

void StepInput::CopyIn(cuda::Stream& stream, const StepBucket& bucket) {
  DeviceArena counted;
  LayOutFields(sizes_, bucket, counted);
  cuda::CopyToDevice(stream, device_.data(), host_.data(), counted.bytes());
}

void StepInput::CopyCountersOut(cuda::Stream& stream, const StepBucket& bucket) {
  if (!sizes_.chunk_counters) return;
  DeviceArena host(host_.data());
  DeviceArena device(device_.data());
  cuda::CopyToHost(stream, LayOutFields(sizes_, bucket, host).taken,
                   LayOutFields(sizes_, bucket, device).taken, CounterBytes(sizes_, bucket));
}

void StepInput::ReadCounters(const StepBucket& bucket, const ForwardBatch& batch) const {
  if (!sizes_.chunk_counters) return;
  DeviceArena arena(host_.data());
  const int32_t* taken = LayOutFields(sizes_, bucket, arena).taken;
  const auto experts = static_cast<size_t>(sizes_.dims.experts);
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const BatchSequence& sequence = batch.sequences[s];
    if (sequence.expert_places.empty()) continue;
    for (int layer = 0; layer < sizes_.moe_layers; ++layer) {
      const size_t index = static_cast<size_t>(layer) * static_cast<size_t>(bucket.sequences) + s;
      const auto offset = static_cast<std::ptrdiff_t>(static_cast<size_t>(layer) * experts);
      std::copy_n(taken + index * experts, experts, sequence.expert_places.begin() + offset);
      // The router keeps only counters at the end of the rows here; see GpuMoeLayers::OnDevice.
      for (int32_t* const page_end : sequence.page_ends) {
        std::copy_n(taken + index * experts, experts, page_end + offset);
      }
    }
  }
}

cuda::StepRows StepInput::Rows(const StepBucket& bucket) const {
  DeviceArena arena(device_.data());
  const StepFields f = LayOutFields(sizes_, bucket, arena);
  return {.rows = bucket.rows,
          .valid = f.counts,
          .token_ids = f.token_ids,
          .positions = f.positions,
          .sequence = f.sequence,
          .streams = f.streams,
          .cos = f.cos,
          .sin = f.sin};
}

cuda::StepSequences StepInput::Sequences(const StepBucket& bucket) const {
  DeviceArena arena(device_.data());
  const StepFields f = LayOutFields(sizes_, bucket, arena);
  return {.sequences = bucket.sequences,
          .valid = f.counts + 1,
          .first_row = f.first_row,
          .rows = f.sequence_rows,
          .start = f.start,
          .blocks = f.blocks,
          .block_stride = bucket.block_stride,
          .max_rows = bucket.max_rows,
          .max_length = bucket.max_length};
}

const int32_t* StepInput::LogitRows(const StepBucket& bucket) const {
  DeviceArena arena(device_.data());
  return LayOutFields(sizes_, bucket, arena).logit_rows;
}

const int32_t* StepInput::Arrival(const StepBucket& bucket) const {
  DeviceArena arena(device_.data());
  return LayOutFields(sizes_, bucket, arena).arrival;
}

int32_t* StepInput::Taken(const StepBucket& bucket, int moe_index) const {
  if (!sizes_.chunk_counters) return nullptr;
  DeviceArena arena(device_.data());
  return LayOutFields(sizes_, bucket, arena).taken +
         int64_t{moe_index} * bucket.sequences * sizes_.dims.experts;
}

int64_t StepOutput::Bytes(const StepSizes& sizes) {
  const int rows = static_cast<int>(sizes.limits.rows);
  // Also enough for the choices of StepSizes::choices in one layer.
  const int64_t one = RoutingBytes(rows, static_cast<int>((sizes.choices() + rows - 1) / rows));
  return one * std::max(1, sizes.moe_layers);
}

absl::StatusOr<StepOutput> StepOutput::Create(const StepSizes& sizes) {
  StepOutput output;
  output.sizes_ = sizes;
  const int64_t routing = Bytes(sizes);
  constexpr auto kPinned = cuda::MemoryKind::kPinnedHost;
  FM_ASSIGN_OR_RETURN(output.device_routing_, cuda::Memory::Allocate(routing, "routing"));
  FM_ASSIGN_OR_RETURN(output.host_routing_, cuda::Memory::Allocate(routing, "routing", kPinned));
  return output;
}

cuda::RoutingRef StepOutput::Routing(int rows, int k, int moe_index) const {
  const int64_t bytes = RoutingBytes(rows, k);
  FM_CHECK(bytes * (moe_index + 1) <= device_routing_.bytes());
  DeviceArena arena(device_routing_.As<std::byte>() + bytes * moe_index);
  return LayOutRouting(rows, k, arena);
}

void StepOutput::CopyRoutingOut(cuda::Stream& stream, int rows, int k) {
  if (sizes_.moe_layers == 0) return;
  cuda::CopyToHost(stream, host_routing_.data(), device_routing_.data(),
                   RoutingBytes(rows, k) * sizes_.moe_layers);
}

folkmoot::Routing StepOutput::Read(int rows, int k, int moe_index, int64_t tokens) const {
  DeviceArena arena(host_routing_.As<std::byte>() + RoutingBytes(rows, k) * moe_index);
  const cuda::RoutingRef from = LayOutRouting(rows, k, arena);
  const auto choices = static_cast<size_t>(tokens * k);
  folkmoot::Routing routing;
  routing.tokens = tokens;
  routing.top_k = k;
  routing.expert = {from.expert, choices};
  routing.weight = {from.weight, choices};
  routing.state = {reinterpret_cast<SlotState*>(from.state), choices};
  routing.action = {reinterpret_cast<SlotAction*>(from.action), choices};
  routing.place = {from.place, choices};
  routing.bad = {from.bad, static_cast<size_t>(tokens)};
  return routing;
}

void LayOut(const StepSizes& sizes, DeviceArena& arena, StepWork* work) {
  const GpuDims& dims = sizes.dims;
  const int64_t rows = sizes.limits.rows;
  const int64_t inner = std::max(dims.intermediate, dims.shared_intermediate);
  work->residual = arena.Take<float>(rows * dims.hidden);
  work->delta = arena.Take<float>(rows * dims.hidden);
  work->normed = arena.Matrix(dims.dtype, rows, dims.hidden);
  if (sizes.wide_inputs) work->wide = arena.Take<float>(rows * dims.hidden);
  work->qkv = arena.Matrix(DType::kF32, rows, dims.qkv_width());
  work->q = arena.Matrix(dims.dtype, rows, dims.q_width());
  work->attended = arena.Matrix(dims.dtype, rows, dims.q_width());
  work->attention_scratch = arena.Take<std::byte>(sizes.attention_scratch);
  work->gate_up = arena.Matrix(DType::kF32, rows, 2 * inner);
  work->activated = arena.Matrix(dims.dtype, rows, inner);
  work->wanted = arena.Matrix(dims.dtype, sizes.logit_rows(), dims.hidden);
  if (dims.experts == 0) return;
  work->max_choices = static_cast<int>(sizes.expert_choices());
  work->router_logits = arena.Take<float>(rows * dims.experts);
  work->raw = arena.Take<double>(sizes.choices());
  work->choices = arena.Take<int32_t>(work->max_choices);
  work->offsets = arena.Take<int32_t>(dims.local_experts + 1);
  work->max_tiles =
      work->max_choices / sizes.tile_rows + std::min(work->max_choices, dims.local_experts);
  work->tiles = arena.Take<cuda::ExpertTile>(work->max_tiles);
  work->tile_count = arena.Take<int32_t>(1);
  work->expert_hidden =
      arena.Take<std::byte>(work->max_choices * dims.moe_intermediate * DTypeBytes(dims.dtype));
  if (sizes.ranks == 1) work->expert_rows = arena.Take<float>(work->max_choices * dims.hidden);
  work->shared = arena.Take<float>(rows * dims.hidden);
  work->shared_logit = arena.Take<float>(rows);
}

}  // namespace folkmoot
