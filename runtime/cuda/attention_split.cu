// SPDX-License-Identifier: Apache-2.0
// Attention of few query rows, 16-bit elements: a block takes up to 16 rows (the heads of a group,
// one or several positions) and one piece of the keys; the block that finishes the last piece of
// its rows merges all of them. Where there are more rows than scratch, a block walks over all
// pieces. Reads of keys and values are what it costs: they are streamed by cp.async, up to a whole
// piece ahead.
//
// The four warps share a tile: each computes the scores of 16 keys, then each sums a quarter of the
// elements over all keys.
#include "runtime/cuda/attention_merge.cuh"
#include "runtime/cuda/attention_mma.cuh"

namespace folkmoot::cuda::attention {
namespace {

constexpr int kWarps = kAttentionThreads / kWarp;
constexpr int kRing = 8;  // tiles whose cache rows are known: those in flight and the current one
constexpr int kMaxStages = 4;

// Shared memory of a block.
template <typename T, int kDim>
struct SplitTiles {
  static constexpr int kTile = kTileKeys * kTileStride<kDim>;
  T* q;        // [16, kTileStride]
  T* tiles;    // [stages, keys and values, 64, kTileStride]
  T* weights;  // [16, kWeightStride]
  int* plan;

  __device__ SplitTiles(unsigned char* shared, int stages) {
    q = reinterpret_cast<T*>(shared);
    tiles = q + kSplitRows * kTileStride<kDim>;
    weights = tiles + stages * 2 * kTile;
    plan = reinterpret_cast<int*>(weights + kSplitRows * kWeightStride);
  }
  __device__ T* Keys(int stage) const { return tiles + stage * 2 * kTile; }
  __device__ T* Values(int stage) const { return Keys(stage) + kTile; }
};

// What the warps tell each other.
struct SplitNotes {
  float tops[kWarps][kSplitRows];
  float sums[kWarps][kSplitRows];
  int64_t rows[kRing][kTileKeys];
};

// Tiles first .. end of an item.
struct TileRange {
  int begin;
  int end;
};

template <typename T, int kDim>
class SplitBlock {
 public:
  // Blocks of 16 elements that a warp sums.
  static constexpr int kUnits = (kDim / 16 + kWarps - 1) / kWarps;

  __device__ SplitBlock(const AttentionArgs& args, const SplitTiles<T, kDim>& tiles,
                        SplitNotes* notes, const AttentionItem& item)
      : args_(args), tiles_(tiles), notes_(notes), item_(item) {
    keys_ = KeysOfTile(args, item, kSplitRows);
    range_.begin = max(item.begin_piece * kTilesOfPiece, keys_.begin / kTileKeys);
    range_.end = min(item.end_piece * kTilesOfPiece, CeilDiv(keys_.end, kTileKeys));
    rows_[0] = RowOf(args, item, Lane() / 4);
    rows_[1] = RowOf(args, item, Lane() / 4 + 8);
  }

  __device__ void Run() {
    LoadQueries<T, kDim>(args_, item_, kSplitRows, tiles_.q);
    for (int i = 0; i < args_.stages; ++i) FindRows(range_.begin + i);
    __syncthreads();
    for (int i = 0; i < args_.stages; ++i) Fetch(range_.begin + i, i);
    int stage = 0;
    for (int tile = range_.begin; tile < range_.end; ++tile) {
      FindRows(tile + args_.stages);
      WaitForOldest();
      __syncthreads();
      Score(tile, tiles_.Keys(stage));
      Sum(tiles_.Values(stage));
      __syncthreads();
      Fetch(tile + args_.stages, stage);
      stage = stage + 1 < args_.stages ? stage + 1 : 0;
      const bool last = tile + 1 == range_.end || (tile + 1) % kTilesOfPiece == 0;
      if (last) FinishPiece();
    }
    CpAsyncWait<0>();
    if (item_.slot >= 0) {
      StorePiece();
    } else {
      StoreResult();
    }
  }

 private:
  // Where the keys of a tile lie.
  __device__ void FindRows(int tile) {
    if (tile >= range_.end || threadIdx.x >= kTileKeys) return;
    const int key = static_cast<int>(threadIdx.x);
    notes_->rows[tile % kRing][key] = CacheRow(args_, item_, keys_, tile * kTileKeys + key);
  }
  // Every call makes one group of copies, empty after the last tile.
  __device__ void Fetch(int tile, int stage) {
    if (tile < range_.end) {
      const int64_t* rows = notes_->rows[tile % kRing];
      LoadTile<T, kDim>(args_.keys, rows, args_.dim, tiles_.Keys(stage));
      LoadTile<T, kDim>(args_.values, rows, args_.dim, tiles_.Values(stage));
    }
    CpAsyncCommit();
  }
  __device__ void WaitForOldest() {
    switch (args_.stages) {
      case 1:
        return CpAsyncWait<0>();
      case 2:
        return CpAsyncWait<1>();
      case 3:
        return CpAsyncWait<2>();
      default:
        return CpAsyncWait<3>();
    }
  }

  // Weights of this warp's 16 keys, for all to see.
  __device__ void Score(int tile, const T* keys) {
    float scores[2][4] = {};
    const T* mine = keys + Warp() * 16 * kTileStride<kDim>;
#pragma unroll
    for (int block = 0; block < kDim / 16; ++block) {
      uint32_t a[4];
      uint32_t b[4];
      LoadLeft(a, tiles_.q + block * 16, kTileStride<kDim>);
      LoadKeys(b, mine + block * 16, kTileStride<kDim>);
      MultiplyTwo<T>(scores[0], scores[1], a, b);
    }
    const int key = tile * kTileKeys + Warp() * 16 + Lane() % 4 * 2;
    HideUnseen(scores, key, {rows_[0].first, rows_[0].last + 1},
               {rows_[1].first, rows_[1].last + 1});
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float* s = &scores[0][2 * r];
      const float* t = &scores[1][2 * r];
      const float top = QuadMax(fmaxf(fmaxf(s[0], s[1]), fmaxf(t[0], t[1])));
      if (Lane() % 4 == 0) notes_->tops[Warp()][Lane() / 4 + 8 * r] = top;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; ++r) WeighRow(scores, r);
    __syncthreads();
  }
  __device__ void WeighRow(const float (&scores)[2][4], int r) {
    const int row = Lane() / 4 + 8 * r;
    float top = piece_[r].top;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, notes_->tops[w][row]);
    rescale_[r] = PowerOf(piece_[r].top - top, args_.scale_log2);
    piece_[r].top = top;
    const float scaled = __fmul_rn(top, args_.scale_log2);
    float p[2][2];
#pragma unroll
    for (int block = 0; block < 2; ++block) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        p[block][i] = WeightOf(scores[block][2 * r + i], scaled, args_.scale_log2);
      }
      T* to = tiles_.weights + row * kWeightStride + Warp() * 16 + block * 8 + Lane() % 4 * 2;
      *reinterpret_cast<uint32_t*>(to) = PackPair(p[block][0], p[block][1], T());
    }
    piece_[r].sum = AddWeights(piece_[r].sum, rescale_[r], p[0][0], p[0][1], p[1][0], p[1][1]);
  }

  // Adds the weighted values to this warp's sums.
  __device__ void Sum(const T* values) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          sums_[i][half][e] = __fmul_rn(sums_[i][half][e], rescale_[e / 2]);
      }
    }
#pragma unroll
    for (int block = 0; block < kTileKeys / 16; ++block) {
      uint32_t a[4];
      LoadLeft(a, tiles_.weights + block * 16, kWeightStride);
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        if (Unit(i) >= kDim / 16) continue;
        uint32_t b[4];
        LoadValues(b, values + block * 16 * kTileStride<kDim> + Unit(i) * 16, kTileStride<kDim>);
        MultiplyTwo<T>(sums_[i][0], sums_[i][1], a, b);
      }
    }
  }

  // Adds up the piece's weights; then, unless it is to be stored, merges it.
  __device__ void FinishPiece() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = QuadSum(piece_[r].sum);
      if (Lane() % 4 == 0) notes_->sums[Warp()][Lane() / 4 + 8 * r] = sum;
    }
    __syncthreads();
    MergeFactors factors[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = Lane() / 4 + 8 * r;
      piece_[r].sum = AddQuarters(notes_->sums[0][row], notes_->sums[1][row], notes_->sums[2][row],
                                  notes_->sums[3][row]);
    }
    if (item_.slot >= 0) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      factors[r] = MergeRow(piece_[r], args_.scale_log2, &all_[r]);
      piece_[r] = {};
    }
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          merged_[i][half][e] = MergedSum(merged_[i][half][e], sums_[i][half][e], factors[e / 2]);
          sums_[i][half][e] = 0.0f;
        }
      }
    }
  }

  __device__ void StorePiece() {
    float* to = args_.partial + item_.slot * PartialFloats(args_.dim);
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = Unit(i) * 16 + half * 8 + Lane() % 4 * 2;
        if (Unit(i) >= kDim / 16 || column >= args_.dim) continue;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          *reinterpret_cast<float2*>(to + (Lane() / 4 + 8 * r) * args_.dim + column) =
              make_float2(sums_[i][half][2 * r], sums_[i][half][2 * r + 1]);
        }
      }
    }
    if (Warp() == 0 && Lane() % 4 == 0) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = Lane() / 4 + 8 * r;
        to[kSplitRows * args_.dim + row] = piece_[r].top;
        to[kSplitRows * (args_.dim + 1) + row] = piece_[r].sum;
      }
    }
    if (IsLastPiece(args_, item_)) MergePieces<T>(args_, item_);
  }
  __device__ void StoreResult() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float inverse = __fdiv_rn(1.0f, all_[r].sum);
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        if (Unit(i) >= kDim / 16) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          StorePair<T>(args_, rows_[r], Unit(i) * 16 + half * 8 + Lane() % 4 * 2,
                       __fmul_rn(merged_[i][half][2 * r], inverse),
                       __fmul_rn(merged_[i][half][2 * r + 1], inverse));
        }
      }
    }
  }

  __device__ int Unit(int i) const { return Warp() + i * kWarps; }

  const AttentionArgs& args_;
  const SplitTiles<T, kDim>& tiles_;
  SplitNotes* notes_;
  const AttentionItem& item_;
  SeenKeys keys_;
  TileRange range_;
  QueryRow rows_[2];
  RowSoftmax piece_[2];  // sum: of this lane's keys until FinishPiece
  RowSoftmax all_[2];
  float rescale_[2] = {};
  float sums_[kUnits][2][4] = {};
  float merged_[kUnits][2][4] = {};
};

template <typename T, int kDim>
__global__ void __launch_bounds__(kAttentionThreads, kDim <= 128 ? 4 : 3)
    SplitKernel(AttentionArgs args) {
  FM_SHARED(SplitNotes, notes, );
  const SplitTiles<T, kDim> tiles(DynamicShared(), args.stages);
  const SplitWork work = PlanSplit(args, tiles.plan);
  for (int i = static_cast<int>(blockIdx.x); i < work.items; i += static_cast<int>(gridDim.x)) {
    const AttentionItem item = ItemOf(args, work, i);
    SplitBlock<T, kDim>(args, tiles, &notes, item).Run();
    __syncthreads();
  }
}

template <typename T>
void LaunchSplitOf(Stream& stream, const AttentionArgs& args, int blocks) {
  const LaunchShape shape = {dim3(static_cast<unsigned>(blocks)), dim3(kAttentionThreads),
                             SplitSharedBytes(args.dim, args.stages, args.sequences.sequences)};
  WithPaddedDim(args.dim, [&](auto dim) { Launch(stream, shape, SplitKernel<T, dim()>, args); });
}

}  // namespace

size_t SplitSharedBytes(int dim, int stages, int sequences) {
  const int stride = PaddedDim(dim) + 8;
  const int elements =
      kSplitRows * stride + stages * 2 * kTileKeys * stride + kSplitRows * kWeightStride;
  return static_cast<size_t>(elements) * 2 + PlanBytes(sequences);
}

void LaunchSplit(Stream& stream, const AttentionArgs& args, DType dtype, int blocks) {
  FM_CHECK(args.stages >= 1 && args.stages <= kMaxStages);
  if (dtype == DType::kBF16) return LaunchSplitOf<__nv_bfloat16>(stream, args, blocks);
  FM_CHECK(dtype == DType::kF16);
  LaunchSplitOf<__half>(stream, args, blocks);
}

}  // namespace folkmoot::cuda::attention
