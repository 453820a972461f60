// SPDX-License-Identifier: Apache-2.0
// Chooses the attention kernels of a step and lays out their scratch.
#include "runtime/cuda/attention.h"

#include <algorithm>

#include "runtime/cuda/attention_work.cuh"

namespace folkmoot::cuda {
namespace {

using attention::AttentionArgs;

// Results of pieces that the scratch holds at most: enough to fill any GPU many times over. Steps
// with more pieces walk over those of their shorter sequences.
constexpr int kMaxSlots = 4096;
constexpr int64_t kCounterBytes = kMaxSlots * static_cast<int64_t>(sizeof(int32_t));

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

int SlotsOf(const AttentionShape& shape, int64_t rows, int64_t length) {
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t tiles = rows * CeilDivide(group, attention::kSplitRows) * shape.kv_heads;
  return static_cast<int>(
      std::min<int64_t>(tiles * (CeilDivide(length, attention::kPieceKeys) + 1), kMaxSlots));
}

bool Aligned16(const MatrixRef& x) {
  return x.stride % 8 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

// Can the kernels with matrix instructions load these rows?
bool MatrixReady(const KvLayer& cache, const MatrixRef& q, const MatrixRef& out) {
  return cache.dtype != DType::kF32 && cache.head_dim % 8 == 0 && Aligned16(q) && Aligned16(out) &&
         reinterpret_cast<uintptr_t>(cache.keys) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(cache.values) % 16 == 0;
}

// Shared memory of a multiprocessor that a block of the splitting kernel takes, what it declares
// and what every block takes on top included.
int64_t SplitBytes(int dim, int chunk, int sequences) {
  constexpr int64_t kReserved = 1024;
  return static_cast<int64_t>(attention::SplitSharedBytes(dim, chunk, sequences)) +
         attention::kSplitDeclaredBytes + kReserved;
}

// The greater chunk if it fits.
int ChunkOf(const DeviceInfo& device, int dim, int sequences) {
  const auto chunks = attention::SplitChunks(dim);
  return SplitBytes(dim, chunks[0], sequences) <= device.shared_bytes_per_block ? chunks[0]
                                                                                : chunks[1];
}

// Blocks that find work at most, and never more than the GPU holds at a time.
int BlocksFor(const DeviceInfo& device, int64_t items, int64_t per_multiprocessor) {
  return static_cast<int>(
      std::clamp<int64_t>(items, 1, per_multiprocessor * device.multiprocessors));
}

// One block for each place where there may be an item, if all of them run at the same time.
bool SplitDirectly(const DeviceInfo& device, AttentionArgs* args) {
  const StepSequences& sequences = args->sequences;
  const int64_t rows = std::min(sequences.max_rows, args->few_rows);
  const int64_t tiles = CeilDivide(rows * args->group, attention::kSplitRows);
  const int64_t pieces = CeilDivide(sequences.max_length, attention::kPieceKeys);
  const int64_t blocks = sequences.sequences * tiles * args->kv_heads * pieces;
  if (blocks > std::min(args->slots, device.multiprocessors)) return false;
  args->direct_pieces = static_cast<int>(pieces);
  args->direct_tiles = static_cast<int>(tiles);
  return true;
}

void LaunchSplitting(Stream& stream, AttentionArgs args, DType dtype, int64_t items) {
  const DeviceInfo& device = stream.device();
  const int sequences = args.sequences.sequences;
  args.chunk = ChunkOf(device, args.dim, sequences);
  if (SplitDirectly(device, &args)) {
    const int64_t blocks =
        int64_t{args.direct_pieces} * args.kv_heads * args.direct_tiles * sequences;
    return attention::LaunchSplit(stream, args, dtype, static_cast<int>(blocks));
  }
  // What one block has in flight is enough for its multiprocessor.
  attention::LaunchSplit(stream, args, dtype, BlocksFor(device, items, 1));
}

void CheckShapes(const AttentionShape& shape, const StepRows& rows, const StepSequences& sequences,
                 const MatrixRef& q, const KvLayer& cache, const MatrixRef& out) {
  FM_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.scale > 0);
  FM_CHECK(shape.head_dim > 0 && shape.head_dim % 4 == 0 &&
           shape.head_dim <= attention::kMaxHeadDim);
  FM_CHECK(cache.kv_heads == shape.kv_heads && cache.head_dim == shape.head_dim);
  FM_CHECK(cache.block_size > 0);
  FM_CHECK(q.dtype == cache.dtype && out.dtype == cache.dtype);
  const int64_t cols = static_cast<int64_t>(shape.heads) * shape.head_dim;
  FM_CHECK(q.cols == cols && out.cols == cols && q.rows >= rows.rows && out.rows >= rows.rows);
  FM_CHECK(sequences.sequences <= attention::kMaxSequences && sequences.valid != nullptr);
}

}  // namespace

namespace attention {

AttentionArgs MakeArgs(const AttentionShape& shape, const StepSequences& sequences,
                       const MatrixRef& q, const KvLayer& cache, void* scratch,
                       const MatrixRef& out) {
  AttentionArgs args = {};
  args.sequences = sequences;
  args.q = q.data;
  args.out = out.data;
  args.keys = cache.keys;
  args.values = cache.values;
  args.q_stride = q.stride;
  args.out_stride = out.stride;
  args.kv_heads = shape.kv_heads;
  args.group = shape.heads / shape.kv_heads;
  args.dim = shape.head_dim;
  args.block_size = cache.block_size;
  args.window = shape.window;
  args.scale_log2 = shape.scale * 1.4426950408889634f;
  args.few_rows = sequences.max_rows;
  args.chunk = attention::SplitChunks(shape.head_dim)[1];
  args.merge_pieces = attention::kMergeSegment;
  args.counters = static_cast<int32_t*>(scratch);
  args.partial = reinterpret_cast<float*>(static_cast<unsigned char*>(scratch) + kCounterBytes);
  return args;
}

}  // namespace attention

int64_t AttentionScratchBytes(const AttentionShape& shape, int rows, int length) {
  return kCounterBytes + SlotsOf(shape, rows, length) * attention::PartialFloats(shape.head_dim) *
                             static_cast<int64_t>(sizeof(float));
}

void PagedAttention(Stream& stream, const AttentionShape& shape, const StepRows& rows,
                    const StepSequences& sequences, const MatrixRef& q, const KvLayer& cache,
                    void* scratch, const MatrixRef& out) {
  CheckShapes(shape, rows, sequences, q, cache, out);
  if (rows.rows == 0 || sequences.sequences == 0) return;
  const DeviceInfo& device = stream.device();
  AttentionArgs args = attention::MakeArgs(shape, sequences, q, cache, scratch, out);
  args.slots = SlotsOf(shape, rows.rows, sequences.max_length);

  const auto tiles = [&](int64_t most_rows, int64_t tile) {
    return (CeilDivide(most_rows * args.group, tile) + sequences.sequences) * args.kv_heads;
  };
  const int64_t pieces = CeilDivide(sequences.max_length, attention::kPieceKeys) + 1;
  const int64_t split_items = tiles(rows.rows, attention::kSplitRows) * pieces;
  if (!MatrixReady(cache, q, out)) {
    return attention::LaunchPlain(stream, args, cache.dtype, BlocksFor(device, split_items, 4));
  }
  const auto rows_bytes =
      static_cast<int64_t>(attention::RowsSharedBytes(shape.head_dim, sequences.sequences));
  if (rows_bytes + 2048 <= device.shared_bytes_per_block) {
    args.few_rows = std::max(1, attention::kSplitRows / args.group);
  }
  if (sequences.max_rows > args.few_rows) {
    const bool wgmma = shape.policy == GemmPolicy::kFastest &&
                       attention::TakesWgmma(device, shape.head_dim, sequences.sequences);
    const auto launch = wgmma ? attention::LaunchRowsWgmma : attention::LaunchRows;
    launch(stream, args, cache.dtype, static_cast<int>(tiles(rows.rows, wgmma ? 128 : 64)));
  }
  LaunchSplitting(stream, args, cache.dtype, split_items);
}

}  // namespace folkmoot::cuda
