// SPDX-License-Identifier: Apache-2.0
// Attention of many query rows, 16-bit elements, in the manner of FlashAttention-2 (Dao 2023): a
// block takes 64 rows (positions times the heads of a group, which share keys and values) and walks
// over the keys; each warp has 16 rows to itself. What a piece ends with is merged into sums in
// shared memory, of which each thread has its own part.
#include "runtime/cuda/attention_mma.cuh"

namespace folkmoot::cuda::attention {
namespace {

constexpr int kTileRows = 64;
constexpr int kQuarters = kTileKeys / 16;

// Shared memory of a block.
template <typename T, int kDim>
struct RowsTiles {
  T* q;            // [64, kTileStride]
  T* keys;         // [64, kTileStride]
  T* values;       // [64, kTileStride]
  float4* merged;  // [kDim / 8, kAttentionThreads]
  int* plan;

  __device__ explicit RowsTiles(unsigned char* shared) {
    q = reinterpret_cast<T*>(shared);
    keys = q + kTileRows * kTileStride<kDim>;
    values = keys + kTileKeys * kTileStride<kDim>;
    merged = reinterpret_cast<float4*>(values + kTileKeys * kTileStride<kDim>);
    plan = reinterpret_cast<int*>(merged + kDim / 8 * kAttentionThreads);
  }
};

struct RowsNotes {
  int64_t rows[2][kTileKeys];  // CacheRow of this tile's and the next one's keys
};

template <typename T, int kDim>
class RowsBlock {
 public:
  static constexpr int kUnits = kDim / 16;

  __device__ RowsBlock(const AttentionArgs& args, const RowsTiles<T, kDim>& tiles, RowsNotes* notes,
                       const AttentionItem& item)
      : args_(args), tiles_(tiles), notes_(notes), item_(item) {
    keys_ = KeysOfTile(args, item, kTileRows);
    const QueryRow low = RowOf(args, item, Warp() * 16 + Lane() / 4);
    const QueryRow high = RowOf(args, item, Warp() * 16 + Lane() / 4 + 8);
    seen_[0] = {low.first, low.last + 1};
    seen_[1] = {high.first, high.last + 1};
    // Rows come in order of position, so the warp's first and last ones bound what it sees.
    some_.begin = __shfl_sync(kFullMask, seen_[0].begin, 0);
    some_.end = __reduce_max_sync(kFullMask, max(seen_[0].end, seen_[1].end));
    every_.begin = __reduce_max_sync(kFullMask, max(seen_[0].begin, seen_[1].begin));
    every_.end = __reduce_min_sync(kFullMask, min(seen_[0].end, seen_[1].end));
  }

  __device__ void Run() {
    const int begin = keys_.begin / kTileKeys;
    const int end = CeilDiv(keys_.end, kTileKeys);
    LoadQueries<T, kDim>(args_, item_, kTileRows, tiles_.q);
    FindRows(begin, end);
    __syncthreads();
    Fetch(args_.keys, begin, end, tiles_.keys);
    for (int tile = begin; tile < end; ++tile) {
      const int key = tile * kTileKeys;
      const bool seen = key < some_.end && key + kTileKeys > some_.begin;
      Fetch(args_.values, tile, end, tiles_.values);
      FindRows(tile + 1, end);
      CpAsyncWait<1>();
      __syncthreads();
      float scores[kQuarters][2][4] = {};
      if (seen) Score(scores);
      __syncthreads();
      Fetch(args_.keys, tile + 1, end, tiles_.keys);
      if (seen) {
        if (key < every_.begin || key + kTileKeys > every_.end) Hide(key, scores);
        Weigh(0, scores);
        Weigh(1, scores);
      }
      CpAsyncWait<1>();
      __syncthreads();
      if (seen) Sum(scores);
      __syncthreads();
      const bool last = tile + 1 == end;
      if (last || (tile + 1) % kTilesOfPiece == 0) FinishPiece(last);
    }
    CpAsyncWait<0>();
    StoreResult();
  }

 private:
  __device__ void FindRows(int tile, int end) {
    if (tile >= end || threadIdx.x >= kTileKeys) return;
    const int key = static_cast<int>(threadIdx.x);
    notes_->rows[tile % 2][key] = CacheRow(args_, item_, keys_, tile * kTileKeys + key);
  }
  // Every call makes one group of copies, empty after the last tile.
  __device__ void Fetch(const void* pages, int tile, int end, T* to) {
    if (tile < end) LoadTile<T, kDim>(pages, notes_->rows[tile % 2], args_.dim, to);
    CpAsyncCommit();
  }

  __device__ void Score(float (&scores)[kQuarters][2][4]) {
    const T* q = tiles_.q + Warp() * 16 * kTileStride<kDim>;
#pragma unroll
    for (int block = 0; block < kDim / 16; ++block) {
      uint32_t a[4];
      LoadLeft(a, q + block * 16, kTileStride<kDim>);
#pragma unroll
      for (int quarter = 0; quarter < kQuarters; ++quarter) {
        uint32_t b[4];
        LoadKeys(b, tiles_.keys + quarter * 16 * kTileStride<kDim> + block * 16, kTileStride<kDim>);
        MultiplyTwo<T>(scores[quarter][0], scores[quarter][1], a, b);
      }
    }
  }
  __device__ void Hide(int key, float (&scores)[kQuarters][2][4]) {
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      HideUnseen(scores[quarter], key + quarter * 16 + Lane() % 4 * 2, seen_[0], seen_[1]);
    }
  }
  // Turns the scores of row r into weights.
  __device__ void Weigh(int r, float (&scores)[kQuarters][2][4]) {
    float top = -INFINITY;
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      const float* s = &scores[quarter][0][2 * r];
      const float* t = &scores[quarter][1][2 * r];
      top = fmaxf(top, fmaxf(fmaxf(s[0], s[1]), fmaxf(t[0], t[1])));
    }
    top = fmaxf(piece_[r].top, QuadMax(top));
    rescale_[r] = PowerOf(piece_[r].top - top, args_.scale_log2);
    piece_[r].top = top;
    const float scaled = __fmul_rn(top, args_.scale_log2);
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      float* s = &scores[quarter][0][2 * r];
      float* t = &scores[quarter][1][2 * r];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        s[i] = WeightOf(s[i], scaled, args_.scale_log2);
        t[i] = WeightOf(t[i], scaled, args_.scale_log2);
      }
      weights_[r][quarter] = AddWeights(weights_[r][quarter], rescale_[r], s[0], s[1], t[0], t[1]);
    }
  }
  __device__ void Sum(const float (&weights)[kQuarters][2][4]) {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          sums_[unit][half][e] = __fmul_rn(sums_[unit][half][e], rescale_[e / 2]);
        }
      }
    }
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      const float(&w)[2][4] = weights[quarter];
      const uint32_t a[4] = {PackPair(w[0][0], w[0][1], T()), PackPair(w[0][2], w[0][3], T()),
                             PackPair(w[1][0], w[1][1], T()), PackPair(w[1][2], w[1][3], T())};
#pragma unroll
      for (int unit = 0; unit < kUnits; ++unit) {
        uint32_t b[4];
        LoadValues(b, tiles_.values + quarter * 16 * kTileStride<kDim> + unit * 16,
                   kTileStride<kDim>);
        MultiplyTwo<T>(sums_[unit][0], sums_[unit][1], a, b);
      }
    }
  }

  // Merges the piece; after the last one the result is in sums_.
  __device__ void FinishPiece(bool last) {
    MergeFactors factors[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      piece_[r].sum = AddQuarters(QuadSum(weights_[r][0]), QuadSum(weights_[r][1]),
                                  QuadSum(weights_[r][2]), QuadSum(weights_[r][3]));
      factors[r] = MergeRow(piece_[r], args_.scale_log2, &all_[r]);
      piece_[r] = {};
#pragma unroll
      for (int quarter = 0; quarter < kQuarters; ++quarter) weights_[r][quarter] = 0.0f;
    }
    float4* merged = tiles_.merged + threadIdx.x;
#pragma unroll
    for (int i = 0; i < 2 * kUnits; ++i) {
      float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (merged_any_) x = merged[i * kAttentionThreads];
      float(&sum)[4] = sums_[i / 2][i % 2];
      x.x = MergedSum(x.x, sum[0], factors[0]);
      x.y = MergedSum(x.y, sum[1], factors[0]);
      x.z = MergedSum(x.z, sum[2], factors[1]);
      x.w = MergedSum(x.w, sum[3], factors[1]);
      if (!last) merged[i * kAttentionThreads] = x;
      sum[0] = last ? x.x : 0.0f;
      sum[1] = last ? x.y : 0.0f;
      sum[2] = last ? x.z : 0.0f;
      sum[3] = last ? x.w : 0.0f;
    }
    merged_any_ = true;
  }
  __device__ void StoreResult() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const QueryRow row = RowOf(args_, item_, Warp() * 16 + Lane() / 4 + 8 * r);
      const float inverse = __fdiv_rn(1.0f, all_[r].sum);
#pragma unroll
      for (int i = 0; i < 2 * kUnits; ++i) {
        const float(&sum)[4] = sums_[i / 2][i % 2];
        StorePair<T>(args_, row, i * 8 + Lane() % 4 * 2, __fmul_rn(sum[2 * r], inverse),
                     __fmul_rn(sum[2 * r + 1], inverse));
      }
    }
  }

  const AttentionArgs& args_;
  const RowsTiles<T, kDim>& tiles_;
  RowsNotes* notes_;
  const AttentionItem& item_;
  SeenKeys keys_;     // of the block
  SeenKeys some_;     // that any row of the warp sees
  SeenKeys every_;    // that all of them see
  SeenKeys seen_[2];  // by this lane's rows
  RowSoftmax piece_[2];
  RowSoftmax all_[2];
  float rescale_[2] = {1.0f, 1.0f};
  float weights_[2][kQuarters] = {};  // sums of this lane's weights
  bool merged_any_ = false;
  float sums_[kUnits][2][4] = {};
};

template <typename T, int kDim>
__global__ void __launch_bounds__(kAttentionThreads) RowsKernel(AttentionArgs args) {
  FM_SHARED(RowsNotes, notes, );
  const RowsTiles<T, kDim> tiles(DynamicShared());
  const int items = PlanRows(args, kTileRows, tiles.plan);
  // The last rows see most: they go first.
  const int index = items - 1 - static_cast<int>(blockIdx.x);
  if (index < 0) return;
  const AttentionItem item = RowsItemOf(args, tiles.plan, kTileRows, index);
  RowsBlock<T, kDim>(args, tiles, &notes, item).Run();
}

template <typename T>
void LaunchRowsOf(Stream& stream, const AttentionArgs& args, int blocks) {
  const LaunchShape shape = {dim3(static_cast<unsigned>(blocks)), dim3(kAttentionThreads),
                             RowsSharedBytes(args.dim, args.sequences.sequences)};
  WithPaddedDim(args.dim, [&](auto dim) { Launch(stream, shape, RowsKernel<T, dim()>, args); });
}

}  // namespace

size_t RowsSharedBytes(int dim, int sequences) {
  const int padded = PaddedDim(dim);
  const int tiles = (kTileRows + 2 * kTileKeys) * (padded + 8) * 2;
  const int merged = padded / 8 * kAttentionThreads * 16;
  return static_cast<size_t>(tiles + merged) + PlanBytes(sequences);
}

void LaunchRows(Stream& stream, const AttentionArgs& args, DType dtype, int blocks) {
  if (dtype == DType::kBF16) return LaunchRowsOf<__nv_bfloat16>(stream, args, blocks);
  FM_CHECK(dtype == DType::kF16);
  LaunchRowsOf<__half>(stream, args, blocks);
}

}  // namespace folkmoot::cuda::attention
