// SPDX-License-Identifier: Apache-2.0
// Attention without matrix instructions: for float32, and for head sizes that the other kernels
// cannot load. Cut and merged as they are (attention_work.cuh), so that a query has the same bits
// alone and in any chunk; with one rounding per product and sum, key after key.
//
// A block takes 16 query rows, 8 threads each; keys and values pass through one buffer.
#include "runtime/cuda/attention_merge.cuh"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda::attention {
namespace {

constexpr int kRowLanes = kAttentionThreads / kSplitRows;
constexpr int kKeysOfLane = kTileKeys / kRowLanes;
constexpr int kWeights = kTileKeys + 4;  // row length in shared memory

template <int kDim>
struct PlainTiles {
  static constexpr int kStride = kDim + 4;  // rows start at different banks
  float* q;                                 // [16, kStride]
  float* tile;                              // [64, kStride] keys, then values
  float* weights;                           // [16, kWeights]
  int* plan;

  __device__ explicit PlainTiles(unsigned char* shared) {
    q = reinterpret_cast<float*>(shared);
    tile = q + kSplitRows * kStride;
    weights = tile + kTileKeys * kStride;
    plan = reinterpret_cast<int*>(weights + kSplitRows * kWeights);
  }
};

template <typename T, int kDim>
class PlainBlock {
 public:
  static constexpr int kColumns = kDim / kRowLanes;  // elements that a thread sums

  __device__ PlainBlock(const AttentionArgs& args, const PlainTiles<kDim>& tiles, int64_t* rows,
                        const AttentionItem& item)
      : args_(args), tiles_(tiles), cache_rows_(rows), item_(item) {
    keys_ = KeysOfTile(args, item, kSplitRows);
    index_ = static_cast<int>(threadIdx.x) / kRowLanes;
    lane_ = static_cast<int>(threadIdx.x) % kRowLanes;
    row_ = RowOf(args, item, index_);
  }

  __device__ void Run() {
    LoadQueryRow();
    const int begin = max(item_.begin_piece * kTilesOfPiece, keys_.begin / kTileKeys);
    const int end = min(item_.end_piece * kTilesOfPiece, CeilDiv(keys_.end, kTileKeys));
    for (int tile = begin; tile < end; ++tile) {
      const int key = tile * kTileKeys;
      if (threadIdx.x < kTileKeys) {
        const int mine = static_cast<int>(threadIdx.x);
        cache_rows_[mine] = CacheRow(args_, item_, keys_, key + mine);
      }
      __syncthreads();
      LoadRows(args_.keys);
      __syncthreads();
      Weigh(key);
      __syncthreads();
      LoadRows(args_.values);
      __syncthreads();
      Sum(key);
      __syncthreads();
      if (tile + 1 == end || (tile + 1) % kTilesOfPiece == 0) FinishPiece();
    }
    if (item_.slot < 0) {
      StoreResult();
    } else {
      StorePiece();
    }
  }

 private:
  __device__ void LoadQueryRow() {
    const T* from = static_cast<const T*>(args_.q) +
                    (row_.row < 0 ? 0 : row_.row * args_.q_stride + row_.head * args_.dim);
    float* to = tiles_.q + index_ * PlainTiles<kDim>::kStride;
    for (int i = lane_; i < kDim; i += kRowLanes) {
      to[i] = row_.row >= 0 && i < args_.dim ? static_cast<float>(from[i]) : 0.0f;
    }
  }
  __device__ void LoadRows(const void* pages) {
    constexpr int kFours = kDim / 4;
    const bool vector = args_.dim % 4 == 0;
    for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kFours; i += kAttentionThreads) {
      const int key = i / kFours;
      const int column = i % kFours * 4;
      const int64_t row = cache_rows_[key];
      const int64_t length = row < 0 ? 0 : args_.dim;
      const T* from = static_cast<const T*>(pages) + (row < 0 ? 0 : row);
      *reinterpret_cast<float4*>(tiles_.tile + key * PlainTiles<kDim>::kStride + column) =
          LoadFour(from, column, length, vector);
    }
  }

  __device__ float RowMax(float x) {
    for (int stride = 1; stride < kRowLanes; stride *= 2) {
      x = fmaxf(x, __shfl_xor_sync(kFullMask, x, stride));
    }
    return x;
  }
  __device__ float RowSum(float x) {
    for (int stride = 1; stride < kRowLanes; stride *= 2) {
      x = __fadd_rn(x, __shfl_xor_sync(kFullMask, x, stride));
    }
    return x;
  }

  // Scores of keys lane, lane + 8, .. of the tile become weights.
  __device__ void Weigh(int key) {
    float scores[kKeysOfLane] = {};
    const float* q = tiles_.q + index_ * PlainTiles<kDim>::kStride;
    for (int i = 0; i < kDim; i += 4) {
      const float4 a = *reinterpret_cast<const float4*>(q + i);
#pragma unroll
      for (int k = 0; k < kKeysOfLane; ++k) {
        const float4 b = *reinterpret_cast<const float4*>(
            tiles_.tile + (lane_ + k * kRowLanes) * PlainTiles<kDim>::kStride + i);
        scores[k] = __fmaf_rn(a.x, b.x, scores[k]);
        scores[k] = __fmaf_rn(a.y, b.y, scores[k]);
        scores[k] = __fmaf_rn(a.z, b.z, scores[k]);
        scores[k] = __fmaf_rn(a.w, b.w, scores[k]);
      }
    }
    float top = piece_.top;
#pragma unroll
    for (int k = 0; k < kKeysOfLane; ++k) {
      const int position = key + lane_ + k * kRowLanes;
      if (position < row_.first || position > row_.last) scores[k] = -INFINITY;
      top = fmaxf(top, scores[k]);
    }
    top = RowMax(top);
    rescale_ = PowerOf(piece_.top - top, args_.scale_log2);
    piece_.top = top;
    piece_.sum = __fmul_rn(piece_.sum, rescale_);
    const float scaled = __fmul_rn(top, args_.scale_log2);
#pragma unroll
    for (int k = 0; k < kKeysOfLane; ++k) {
      const float weight = WeightOf(scores[k], scaled, args_.scale_log2);
      piece_.sum = __fadd_rn(piece_.sum, weight);
      tiles_.weights[index_ * kWeights + lane_ + k * kRowLanes] = weight;
    }
  }

  // Only over keys that the row sees.
  __device__ void Sum(int key) {
    const int begin = max(row_.first - key, 0);
    const int end = min(row_.last + 1 - key, kTileKeys);
    if (begin >= end) return;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) sums_[i] = __fmul_rn(sums_[i], rescale_);
    for (int k = begin; k < end; ++k) {
      const float weight = tiles_.weights[index_ * kWeights + k];
      const float* value = tiles_.tile + k * PlainTiles<kDim>::kStride + lane_;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        sums_[i] = __fmaf_rn(weight, value[i * kRowLanes], sums_[i]);
      }
    }
  }

  __device__ void FinishPiece() {
    piece_.sum = RowSum(piece_.sum);
    if (item_.slot >= 0) return;
    const MergeFactors factors = MergeRow(piece_, args_.scale_log2, &all_);
    piece_ = {};
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      merged_[i] = MergedSum(merged_[i], sums_[i], factors);
      sums_[i] = 0.0f;
    }
  }

  __device__ void StorePiece() {
    float* to = args_.partial + item_.slot * PartialFloats(args_.dim);
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int column = lane_ + i * kRowLanes;
      if (column < args_.dim) to[index_ * args_.dim + column] = sums_[i];
    }
    if (lane_ == 0) {
      to[kSplitRows * args_.dim + index_] = piece_.top;
      to[kSplitRows * (args_.dim + 1) + index_] = piece_.sum;
    }
    FinishSplit<T, kAttentionThreads>(args_, item_);
  }
  __device__ void StoreResult() {
    if (row_.row < 0) return;
    T* to = static_cast<T*>(args_.out) + row_.row * args_.out_stride + row_.head * args_.dim;
    const float inverse = __fdiv_rn(1.0f, all_.sum);
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int column = lane_ + i * kRowLanes;
      if (column < args_.dim) to[column] = T(__fmul_rn(merged_[i], inverse));
    }
  }

  const AttentionArgs& args_;
  const PlainTiles<kDim>& tiles_;
  int64_t* cache_rows_;
  const AttentionItem& item_;
  SeenKeys keys_;
  int index_;  // of the row in the block
  int lane_;
  QueryRow row_;
  RowSoftmax piece_;  // sum: of this lane's keys until FinishPiece
  RowSoftmax all_;
  float rescale_ = 1.0f;
  float sums_[kColumns] = {};
  float merged_[kColumns] = {};
};

template <typename T, int kDim>
__global__ void __launch_bounds__(kAttentionThreads, 2) PlainKernel(AttentionArgs args) {
  FM_SHARED(int64_t, rows, [kTileKeys]);
  const PlainTiles<kDim> tiles(DynamicShared());
  const SplitWork work = PlanSplit(args, tiles.plan);
  for (int i = static_cast<int>(blockIdx.x); i < work.items; i += static_cast<int>(gridDim.x)) {
    const AttentionItem item = ItemOf(args, work, i);
    PlainBlock<T, kDim>(args, tiles, rows, item).Run();
    __syncthreads();
  }
}

}  // namespace

size_t PlainSharedBytes(int dim, int sequences) {
  const int stride = PaddedDim(dim) + 4;
  const int floats = (kSplitRows + kTileKeys) * stride + kSplitRows * kWeights;
  return static_cast<size_t>(floats) * 4 + PlanBytes(sequences);
}

void LaunchPlain(Stream& stream, const AttentionArgs& args, DType dtype, int blocks) {
  const LaunchShape shape = {dim3(static_cast<unsigned>(blocks)), dim3(kAttentionThreads),
                             PlainSharedBytes(args.dim, args.sequences.sequences)};
  if (dtype == DType::kF32) {
    return WithPaddedDim(args.dim,
                         [&](auto dim) { Launch(stream, shape, PlainKernel<float, dim()>, args); });
  }
  FM_CHECK(PaddedDim(args.dim) == 64 && "head sizes above 64 of 16 bits are multiples of 8");
  if (dtype == DType::kBF16) return Launch(stream, shape, PlainKernel<__nv_bfloat16, 64>, args);
  FM_CHECK(dtype == DType::kF16);
  Launch(stream, shape, PlainKernel<__half, 64>, args);
}

}  // namespace folkmoot::cuda::attention
