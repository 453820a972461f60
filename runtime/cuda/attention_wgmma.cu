// SPDX-License-Identifier: Apache-2.0
// Attention of many query rows on Hopper, 16-bit elements, in the manner of FlashAttention-3 (Shah
// et al. 2024). Compiled for sm_90a alone; TakesWgmma() says where it runs.
//
// A block takes 128 rows (positions times the heads of a group, which share keys and values): two
// warpgroups of 64 rows each multiply, one copies (attention_copy.cuh). While a multiplying one
// turns the scores of a tile into weights, its own product with the values of the tile before and
// the other's products keep the tensor cores at work: the two take turns at starting products.
//
// A block stays on its multiprocessor and takes items in turns, so that the copies for the next one
// run while the results of this one are stored. Sums over a row's keys go tile by tile from
// position 0 on: neither chunks nor batch mates matter among the sequences that this kernel
// computes.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "runtime/cuda/attention_copy.cuh"

namespace folkmoot::cuda::attention {
namespace {

// The descriptor of an operand so many bytes on. Only its lower half moves.
__device__ uint64_t Further(uint64_t descriptor, int bytes) {
  const uint32_t low = static_cast<uint32_t>(descriptor) + static_cast<uint32_t>(bytes / 16);
  return (descriptor & ~uint64_t{0xffffffffu}) | low;
}
template <typename T, int N>
__device__ void StartProduct(float (&d)[N], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (std::is_same_v<T, __half>) {
    WgmmaFp16(d, a, b, accumulate);
  } else {
    WgmmaBf16(d, a, b, accumulate);
  }
}
template <typename T, int N>
__device__ void StartTransProduct(float (&d)[N], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    WgmmaFp16Trans(d, a, b);
  } else {
    WgmmaBf16Trans(d, a, b);
  }
}
// As PackPair, in one instruction.
template <typename T>
__device__ uint32_t PackTwo(float a, float b) {
  uint32_t bits;
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(a, b);
    memcpy(&bits, &pair, sizeof(bits));
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    memcpy(&bits, &pair, sizeof(bits));
  }
  return bits;
}

// A multiplying warpgroup.
template <typename T, int kDim>
class RowsMultiplier {
 public:
  __device__ RowsMultiplier(const AttentionArgs& args, const int* plan)
      : args_(args),
        plan_(plan),
        group_(static_cast<int>(threadIdx.x) / kGroup - 1),
        first_line_(group_ * 64 + Warp() % 4 * 16) {}

  __device__ void Run(const RowsTurns& turns) {
    if (group_ == 1) PassTurn();
    for (int round = 0;; ++round) {
      const int index = turns.Item(round);
      if (index < 0) break;
      Attend(RowsItemOf(args_, plan_, kTileRows, index));
    }
    if (group_ == 0) WaitForTurn();  // the other's last
  }

 private:
  using Scores = float[kKeys / 2];
  using Weights = uint32_t[kKeys / 16][4];
  using Sums = float[kDim / 2];

  // Products in flight must end on every path where they began, or the compiler puts them in line.
  __device__ void Attend(const AttentionItem& item) {
    const TileSpan tiles = SpanOf(KeysOfTile(args_, item, kTileRows));
    Start(item);
    Scores scores;
    Weights weights;
    Sums sums;
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) sums[i] = 0.0f;
    StartScores(Wait(), scores);
    WgmmaWait<0>();
    WgmmaHold(scores);
    Free(1);
    Weigh(tiles.begin, scores);
    Pack(scores, weights);
    for (int tile = tiles.begin + 1; tile < tiles.end; ++tile) {
      const unsigned char* keys = Wait();
      WaitForTurn();
      StartScores(keys, scores);
      StartSums(Wait(), weights, sums);
      PassTurn();
      WgmmaWait<1>();
      WgmmaHold(scores);
      Free(2);
      Weigh(tile, scores);
      // Never so; but without a branch in between, the wait is scheduled before the weighing.
      if (softmax_[0].sum < 0.0f || softmax_[1].sum < 0.0f) SpinPause();
      WgmmaWait<0>();
      WgmmaHold(sums);
      Free(1);
      Rescale(sums);
      Pack(scores, weights);
    }
    WgmmaFence();
    StartSums(Wait(), weights, sums);
    WgmmaWait<0>();
    WgmmaHold(sums);
    Free(1);
    Store(item, sums);
  }

  // What this lane's two rows see. Rows behind the last one see what it sees, and are not stored.
  __device__ void Start(const AttentionItem& item) {
    const int last = item.query_rows - 1 - item.first_row;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const QueryRow row = RowOf(args_, item, min(first_line_ + Lane() / 4 + 8 * r, last));
      seen_[r] = {row.first, row.last + 1};
      softmax_[r] = {};
    }
    // Rows come in order of position, so the warp's first and last ones bound what all see.
    every_.begin = __shfl_sync(kFullMask, seen_[1].begin, kWarp - 1);
    every_.end = __shfl_sync(kFullMask, seen_[0].end, 0);
  }

  __device__ void StartScores(const unsigned char* keys, Scores& scores) const {
    const uint64_t a = WgmmaDescriptor(DynamicShared() + group_ * 64 * 128);
    const uint64_t b = WgmmaDescriptor(keys);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      const int bytes = i / 4 * kHalfBytes + i % 4 * 32;
      StartProduct<T>(scores, Further(a, bytes), Further(b, bytes), i > 0);
    }
    WgmmaCommit();
  }
  __device__ void StartSums(const unsigned char* values, const Weights& weights, Sums& sums) const {
    const uint64_t b = WgmmaTransDescriptor(values, kHalfBytes);
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
      StartTransProduct<T>(sums, weights[i], Further(b, i * 2048));
    }
    WgmmaCommit();
  }

  // Turns the scores of a tile into weights.
  __device__ void Weigh(int tile, Scores& scores) {
    const int key = tile * kKeys;
    if (key < every_.begin || key + kKeys > every_.end) Hide(key, scores);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float tops[2] = {softmax_[r].top, softmax_[r].top};
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
        tops[j % 2] = fmaxf(tops[j % 2], fmaxf(scores[4 * j + 2 * r], scores[4 * j + 2 * r + 1]));
      }
      const float top = QuadMax(fmaxf(tops[0], tops[1]));
      rescale_[r] = PowerOf(softmax_[r].top - top, args_.scale_log2);
      softmax_[r].top = top;
      const float scaled = __fmul_rn(top, args_.scale_log2);
      float added[2] = {0.0f, 0.0f};
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[4 * j + 2 * r + i];
          score = WeightOf(score, scaled, args_.scale_log2);
          added[i] = __fadd_rn(added[i], score);
        }
      }
      softmax_[r].sum = __fmaf_rn(softmax_[r].sum, rescale_[r], __fadd_rn(added[0], added[1]));
    }
  }
  __device__ void Hide(int key, Scores& scores) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int first = key + Lane() % 4 * 2 - seen_[r].begin;
      const auto count = static_cast<unsigned>(seen_[r].end - seen_[r].begin);
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (static_cast<unsigned>(first + 8 * j + i) >= count) {
            scores[4 * j + 2 * r + i] = -INFINITY;
          }
        }
      }
    }
  }
  __device__ void Rescale(Sums& sums) const {
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) sums[i] = __fmul_rn(sums[i], rescale_[i / 2 % 2]);
  }
  // What two neighbouring blocks of 8 columns of a result hold is a left operand as it is.
  __device__ static void Pack(const Scores& scores, Weights& weights) {
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        weights[i][k] = PackTwo<T>(scores[8 * i + 2 * k], scores[8 * i + 2 * k + 1]);
      }
    }
  }

  __device__ void Store(const AttentionItem& item, const Sums& sums) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float inverse = __fdiv_rn(1.0f, QuadSum(softmax_[r].sum));
      const QueryRow row = RowOf(args_, item, first_line_ + Lane() / 4 + 8 * r);
      if (row.row < 0) continue;
      const int column = Lane() % 4 * 2;
      T* to =
          static_cast<T*>(args_.out) + row.row * args_.out_stride + row.head * args_.dim + column;
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j) {
        if (j * 8 + column >= args_.dim) continue;
        *reinterpret_cast<uint32_t*>(to + j * 8) = PackTwo<T>(
            __fmul_rn(sums[4 * j + 2 * r], inverse), __fmul_rn(sums[4 * j + 2 * r + 1], inverse));
      }
    }
  }

  // The next buffer, when it is full.
  __device__ const unsigned char* Wait() {
    NamedBarrierSync(FullBarrier(next_ % kStages, group_), 2 * kGroup);
    return DynamicShared() + (1 + next_++ % kStages) * kTileBytes<kDim>;
  }
  // The buffer `ago` before the next one is not needed any more.
  __device__ void Free(int ago) const {
    NamedBarrierArrive(FreeBarrier((next_ - ago) % kStages), kThreads);
  }
  __device__ void WaitForTurn() const {
    NamedBarrierSync(TurnBarrier(group_), kMultiplying * kGroup);
  }
  __device__ void PassTurn() const {
    NamedBarrierArrive(TurnBarrier(1 - group_), kMultiplying * kGroup);
  }

  const AttentionArgs& args_;
  const int* plan_;
  int group_;       // 0 or 1
  int first_line_;  // of this warp's 16 rows
  int next_ = 0;    // buffer
  SeenKeys every_;  // keys that all rows of the warp see
  SeenKeys seen_[2];
  RowSoftmax softmax_[2];  // sum: of this lane's keys
  float rescale_[2];
};

template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, 1) RowsWgmmaKernel(const AttentionArgs args) {
  int* plan = reinterpret_cast<int*>(DynamicShared() + (1 + kStages) * kTileBytes<kDim>);
  const RowsTurns turns = {PlanRows(args, kTileRows, plan)};
  if (threadIdx.x < kGroup) {
    DecreaseRegisters<kCopyRegisters>();
    RowsCopier<T, kDim>(args, plan).Run(turns);
  } else {
    IncreaseRegisters<kMultiplyRegisters>();
    RowsMultiplier<T, kDim>(args, plan).Run(turns);
  }
}

int WgmmaDim(int dim) { return dim <= 64 ? 64 : 128; }
size_t WgmmaSharedBytes(int dim, int sequences) {
  return static_cast<size_t>((1 + kStages) * 128 * WgmmaDim(dim) * 2) + PlanBytes(sequences);
}

template <typename T>
void LaunchOf(Stream& stream, const AttentionArgs& args, int blocks) {
  const LaunchShape shape = {dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                             WgmmaSharedBytes(args.dim, args.sequences.sequences)};
  if (WgmmaDim(args.dim) == 64) return Launch(stream, shape, RowsWgmmaKernel<T, 64>, args);
  Launch(stream, shape, RowsWgmmaKernel<T, 128>, args);
}

}  // namespace

bool TakesWgmma(const DeviceInfo& device, int dim, int sequences) {
  return device.compute_capability == 90 && dim <= 128 &&
         static_cast<int64_t>(WgmmaSharedBytes(dim, sequences)) <= device.shared_bytes_per_block;
}

void LaunchRowsWgmma(Stream& stream, const AttentionArgs& args, DType dtype, int blocks) {
  blocks = std::min(blocks, std::max(1, stream.device().multiprocessors));
  if (dtype == DType::kBF16) return LaunchOf<__nv_bfloat16>(stream, args, blocks);
  FM_CHECK(dtype == DType::kF16);
  LaunchOf<__half>(stream, args, blocks);
}

}  // namespace folkmoot::cuda::attention
