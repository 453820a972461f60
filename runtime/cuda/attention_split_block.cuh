// SPDX-License-Identifier: Apache-2.0
// What a block of the splitting kernel computes: from a chunk of keys and values in shared memory
// to the sums of a piece.
//
// The eight warps share a chunk of up to four tiles. Scores: each warp takes 16 keys (a quarter) of
// every second tile. Weights: the tops of all tiles go through shared memory once; each warp then
// follows the softmax of all rows over the tiles. Sums: each warp takes every eighth block of 8
// elements over all keys.
#pragma once

#include "runtime/cuda/attention_mma.cuh"

namespace folkmoot::cuda::attention {

constexpr int kSplitThreads = 256;
constexpr int kSplitWarps = kSplitThreads / kWarp;
constexpr int kQuarters = kTileKeys / 16;

// Shared memory of a block.
template <typename T, int kDim, int kChunk>
struct SplitTiles {
  static constexpr int kKeys = kChunk * kTileKeys;
  static constexpr int kWeights = kKeys + 8;  // row length
  // Threads that fetch a row together: a power of two, so that each stays in its columns.
  static constexpr int kRowThreads = kDim % 128 == 0 ? 16 : kDim % 64 == 0 ? 8 : 4;
  static constexpr int kElements =
      kSplitRows * kTileStride<kDim> + 2 * kKeys * kTileStride<kDim> + kSplitRows * kWeights;
  T* q;        // [16, kTileStride]
  T* keys;     // [kKeys, kTileStride]
  T* values;   // [kKeys, kTileStride]
  T* weights;  // [16, kWeights]
  int* plan;

  __device__ explicit SplitTiles(unsigned char* shared) {
    q = reinterpret_cast<T*>(shared);
    keys = q + kSplitRows * kTileStride<kDim>;
    values = keys + kKeys * kTileStride<kDim>;
    weights = values + kKeys * kTileStride<kDim>;
    plan = reinterpret_cast<int*>(weights + kSplitRows * kWeights);
  }
};

// What the warps tell each other.
template <int kChunk>
struct SplitNotes {
  int64_t rows[kChunk * kTileKeys];  // CacheRow of the keys that are fetched next
  alignas(16) float tops[kSplitRows][kChunk][kQuarters];  // greatest score of 16 keys
  float adds[kChunk][kQuarters][kSplitRows][4];           // weights of four keys, added
  float sums[kQuarters][kSplitRows];                      // of the weights of a piece
};

// As LoadLeft; only rows 0 to 7, and zero below, unless `all`.
template <typename T>
__device__ inline void LoadLeftRows(uint32_t (&a)[4], const T* tile, int stride, bool all) {
  if (all) return LoadLeft(a, tile, stride);
  uint32_t half[2];
  LdMatrixX2(half, tile + Lane() % 8 * stride + Lane() / 8 % 2 * 8);
  a[0] = half[0];
  a[1] = 0;
  a[2] = half[1];
  a[3] = 0;
}

// The softmax and sums of one item, chunk after chunk.
template <typename T, int kDim, int kChunk>
class SplitSums {
 public:
  static constexpr int kUnits = (kDim / 8 + kSplitWarps - 1) / kSplitWarps;
  static constexpr int kMine = (kChunk + 1) / 2;  // tiles of a chunk that a warp scores
  using Tiles = SplitTiles<T, kDim, kChunk>;

  __device__ SplitSums(const AttentionArgs& args, const Tiles& tiles, SplitNotes<kChunk>* notes)
      : args_(args), tiles_(tiles), notes_(notes) {}

  __device__ void Begin(const AttentionItem& item) {
    rows_[0] = RowIn(args_, item, item.span, Lane() / 4);
    rows_[1] = RowIn(args_, item, item.span, Lane() / 4 + 8);
    lower_ = item.query_rows - item.first_row > 8;
    all_[0] = all_[1] = {};
    Clear();
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) merged_[i][e] = 0.0f;
    }
  }

  // Scores of this warp's keys; their tops for all to see. Slots first .. end of the chunk, which
  // begins at position `key`, hold tiles.
  __device__ void Score(int first, int end, int key) {
    const T* mine = tiles_.keys + Quarter() * 16 * kTileStride<kDim>;
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
#pragma unroll
      for (int e = 0; e < 8; ++e) scores_[i][e / 4][e % 4] = 0.0f;
    }
#pragma unroll
    for (int block = 0; block < kDim / 16; ++block) {
      uint32_t a[4];
      LoadLeftRows(a, tiles_.q + block * 16, kTileStride<kDim>, lower_);
#pragma unroll
      for (int i = 0; i < kMine; ++i) {
        const int tile = 2 * i + Half();
        if (tile < first || tile >= end) continue;
        uint32_t b[4];
        LoadKeys(b, mine + tile * kTileKeys * kTileStride<kDim> + block * 16, kTileStride<kDim>);
        MultiplyTwo<T>(scores_[i][0], scores_[i][1], a, b);
      }
    }
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const int tile = 2 * i + Half();
      if (tile < first || tile >= end) continue;
      HideUnseen(scores_[i], key + tile * kTileKeys + Quarter() * 16 + Lane() % 4 * 2,
                 {rows_[0].first, rows_[0].last + 1}, {rows_[1].first, rows_[1].last + 1});
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float* s = &scores_[i][0][2 * r];
        const float* t = &scores_[i][1][2 * r];
        const float top = QuadMax(fmaxf(fmaxf(s[0], s[1]), fmaxf(t[0], t[1])));
        if (Lane() % 4 == 0) notes_->tops[Lane() / 4 + 8 * r][tile][Quarter()] = top;
      }
    }
  }

  // Weights of this warp's keys, for all to see.
  __device__ void Weigh(int first, int end) {
    WeighRow(0, first, end);
    if (lower_) WeighRow(1, first, end);
  }

  // Adds the weighted values to this warp's sums.
  __device__ void Sum(int first, int end) {
#pragma unroll
    for (int tile = 0; tile < kChunk; ++tile) {
      if (tile < first || tile >= end) continue;
      SumTile(tile);
    }
    if (Warp() >= kQuarters) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (r == 1 && !lower_) continue;
#pragma unroll
      for (int tile = 0; tile < kChunk; ++tile) {
        if (tile < first || tile >= end) continue;
        const float add = notes_->adds[tile][Warp()][Lane() / 4 + 8 * r][Lane() % 4];
        piece_[r].sum = __fmaf_rn(piece_[r].sum, rescale_[r][tile], add);
      }
    }
  }

  // The end of a piece: the quarters of its sum of weights. To be called before a barrier, the
  // others after it.
  __device__ void AddLanes() {
    if (Warp() >= kQuarters) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = QuadSum(piece_[r].sum);
      if (Lane() % 4 == 0) notes_->sums[Warp()][Lane() / 4 + 8 * r] = sum;
    }
  }
  __device__ void MergePiece() {
    MergeFactors factors[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      piece_[r].sum = SumOfPiece(r);
      factors[r] = MergeRow(piece_[r], args_.scale_log2, &all_[r]);
    }
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        merged_[i][e] = MergedSum(merged_[i][e], sums_[i][e], factors[e / 2]);
      }
    }
    Clear();
  }
  __device__ void StorePiece(int slot) {
    float* to = args_.partial + slot * PartialFloats(args_.dim);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (rows_[r].row < 0) continue;
      const int row = Lane() / 4 + 8 * r;
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        const int column = Unit(i) * 8 + Lane() % 4 * 2;
        if (Unit(i) >= kDim / 8 || column >= args_.dim) continue;
        *reinterpret_cast<float2*>(to + row * args_.dim + column) =
            make_float2(sums_[i][2 * r], sums_[i][2 * r + 1]);
      }
      if (Warp() == 0 && Lane() % 4 == 0) {
        to[kSplitRows * args_.dim + row] = piece_[r].top;
        to[kSplitRows * (args_.dim + 1) + row] = SumOfPiece(r);
      }
    }
    Clear();
  }
  __device__ void StoreResult() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float inverse = __fdiv_rn(1.0f, all_[r].sum);
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        if (Unit(i) >= kDim / 8) continue;
        StorePair<T>(args_, rows_[r], Unit(i) * 8 + Lane() % 4 * 2,
                     __fmul_rn(merged_[i][2 * r], inverse),
                     __fmul_rn(merged_[i][2 * r + 1], inverse));
      }
    }
  }

 private:
  __device__ void Clear() {
    piece_[0] = piece_[1] = {};
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums_[i][e] = 0.0f;
    }
  }

  __device__ void WeighRow(int r, int first, int end) {
    const int row = Lane() / 4 + 8 * r;
#pragma unroll
    for (int tile = 0; tile < kChunk; ++tile) {
      if (tile < first || tile >= end) continue;
      const float4 tops = *reinterpret_cast<const float4*>(notes_->tops[row][tile]);
      const float top = fmaxf(piece_[r].top, fmaxf(fmaxf(tops.x, tops.y), fmaxf(tops.z, tops.w)));
      rescale_[r][tile] = PowerOf(piece_[r].top - top, args_.scale_log2);
      piece_[r].top = top;
      if (Half() == tile % 2) StoreWeights(r, row, tile, __fmul_rn(top, args_.scale_log2));
    }
  }
  __device__ void StoreWeights(int r, int row, int tile, float scaled) {
    float p[2][2];
#pragma unroll
    for (int block = 0; block < 2; ++block) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        p[block][i] = WeightOf(scores_[tile / 2][block][2 * r + i], scaled, args_.scale_log2);
      }
      T* to = tiles_.weights + row * Tiles::kWeights + tile * kTileKeys + Quarter() * 16 +
              block * 8 + Lane() % 4 * 2;
      *reinterpret_cast<uint32_t*>(to) = PackPair(p[block][0], p[block][1], T());
    }
    notes_->adds[tile][Quarter()][row][Lane() % 4] = AddFour(p[0][0], p[0][1], p[1][0], p[1][1]);
  }

  __device__ void SumTile(int tile) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums_[i][e] = __fmul_rn(sums_[i][e], rescale_[e / 2][tile]);
    }
#pragma unroll
    for (int keys = 0; keys < kTileKeys; keys += 32) {
      const T* weights = tiles_.weights + tile * kTileKeys + keys;
      uint32_t low[4];
      uint32_t high[4];
      LoadLeftRows(low, weights, Tiles::kWeights, lower_);
      LoadLeftRows(high, weights + 16, Tiles::kWeights, lower_);
      const T* values = tiles_.values + (tile * kTileKeys + keys + Lane()) * kTileStride<kDim>;
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        if (Unit(i) >= kDim / 8) continue;
        uint32_t b[4];  // 32 keys x 8 elements
        LdMatrixX4Trans(b, values + Unit(i) * 8);
        const uint32_t first[2] = {b[0], b[1]};
        const uint32_t second[2] = {b[2], b[3]};
        Multiply(sums_[i], low, first, T());
        Multiply(sums_[i], high, second, T());
      }
    }
  }

  __device__ float SumOfPiece(int r) const {
    const int row = Lane() / 4 + 8 * r;
    return AddQuarters(notes_->sums[0][row], notes_->sums[1][row], notes_->sums[2][row],
                       notes_->sums[3][row]);
  }
  __device__ static int Quarter() { return Warp() % kQuarters; }
  __device__ static int Half() { return Warp() / kQuarters; }
  __device__ static int Unit(int i) { return Warp() + i * kSplitWarps; }

  const AttentionArgs& args_;
  const Tiles& tiles_;
  SplitNotes<kChunk>* notes_;
  QueryRow rows_[2];     // this lane's
  bool lower_ = false;   // are there rows 8 to 15?
  RowSoftmax piece_[2];  // sum: of this lane's keys, in the first four warps
  RowSoftmax all_[2];
  float scores_[kMine][2][4];
  float rescale_[2][kChunk] = {};
  float sums_[kUnits][4];
  float merged_[kUnits][4];
};

}  // namespace folkmoot::cuda::attention
