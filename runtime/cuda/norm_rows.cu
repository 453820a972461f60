// SPDX-License-Identifier: Apache-2.0
// RmsNorm, AddRmsNorm and the combine of routed experts: one block per row, which stays in shared
// memory between its sum of squares and its scaling.
//
// Same bits: the sum of squares is that of 256 columns. Column t adds the squares of elements
// 4t .. 4t + 3, then those 1024 further, and so on; SumOverBlock's tree does the rest. Nothing but
// the length of a row shows in its sum. In particular a block may have more threads than columns:
// where rows are few, a thread has four elements and all that is loaded is under way at once.
#include <algorithm>

#include "runtime/cuda/launch.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/row_vector.cuh"
#include "runtime/cuda/rows.h"

namespace folkmoot::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kWide = 512;  // of kernels that combine: their loads want registers

struct NormOutput {
  const float* weight;
  void* out;
  int64_t stride;
  int hidden;
  float eps;
  bool vector;
};

__device__ inline float4 AddFour(float4 a, float4 b) {
  return make_float4(__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z),
                     __fadd_rn(a.w, b.w));
}
__device__ inline float4 ScaleFour(float4 a, float b) {
  return make_float4(__fmul_rn(a.x, b), __fmul_rn(a.y, b), __fmul_rn(a.z, b), __fmul_rn(a.w, b));
}
__device__ inline float AddSquares(float4 x, float sum) {
  sum = __fmaf_rn(x.x, x.x, sum);
  sum = __fmaf_rn(x.y, x.y, sum);
  sum = __fmaf_rn(x.z, x.z, sum);
  return __fmaf_rn(x.w, x.w, sum);
}

// Elements i .. i + 3 of a row of n. kVector: n and all strides are multiples of four, and so are
// addresses, so one instruction moves them.
template <bool kVector, typename T>
__device__ inline float4 Load(const T* row, int i, int n) {
  if constexpr (kVector) return LoadFour(row + i);
  return LoadFour(row, i, n, false);
}
template <bool kVector, typename T>
__device__ inline void Store(float4 x, T* row, int i, int n) {
  if constexpr (kVector) {
    StoreFour(x, row + i);
  } else {
    StoreFour(x, row, i, n, false);
  }
}

// Calls visit(i, inside) for the fours i .. i + 3 of a row of n elements that are this thread's.
// All lanes of a warp are called together: those past the end with inside = false and i = 0.
template <typename Visit>
__device__ inline void ForFours(int n, Visit visit) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int fours = (n + 3) / 4;
  for (int begin = static_cast<int>(threadIdx.x) - lane; begin < fours;
       begin += static_cast<int>(blockDim.x)) {
    const bool inside = begin + lane < fours;
    visit(inside ? 4 * (begin + lane) : 0, inside);
  }
}

// The weights of a row, which nobody writes: on their way before the preceding kernel has ended. A
// thread keeps the first ones that it needs, where it has registers for them (kKeep).
template <bool kVector, bool kKeep>
struct EarlyWeights {
  float4 first = {};

  __device__ void Start(const NormOutput& norm) {
    ForFours(norm.hidden, [&](int i, bool inside) {
      if (inside && IsKept(i)) {
        first = Load<kVector>(norm.weight, i, norm.hidden);
      } else if (inside && i % kOfLine == 0) {
        Prefetch(norm.weight + i);
      }
    });
  }
  __device__ float4 At(const NormOutput& norm, int i) const {
    return IsKept(i) ? first : Load<kVector>(norm.weight, i, norm.hidden);
  }
  __device__ static bool IsKept(int i) { return kKeep && i == 4 * static_cast<int>(threadIdx.x); }
  static constexpr int kOfLine = 32;  // weights in 128 bytes
};

// Before the kernel's first look at what the preceding one wrote.
template <bool kVector, bool kKeep = true>
__device__ inline EarlyWeights<kVector, kKeep> BeginNorm(const NormOutput& norm) {
  GridDependencyLaunch();
  EarlyWeights<kVector, kKeep> weights;
  weights.Start(norm);
  GridDependencyWait();
  return weights;
}

// out[row] = RmsNorm of the row whose elements i .. i + 3 are value(i, inside), called as by
// ForFours.
template <typename T, bool kVector, bool kKeep, typename Value>
__device__ inline void NormalizeRow(const NormOutput& norm, int64_t row,
                                    const EarlyWeights<kVector, kKeep>& weights, Value value) {
  auto* held = reinterpret_cast<float4*>(DynamicShared());
  const int column = static_cast<int>(threadIdx.x);
  float squares = 0.0f;
  ForFours(norm.hidden, [&](int i, bool inside) {
    const float4 x = value(i, inside);
    if (!inside) return;
    held[i / 4] = x;
    squares = AddSquares(x, squares);  // with a thread per column
  });
  if (blockDim.x > kRowThreads) {
    __syncthreads();
    squares = 0.0f;
    if (column < kRowThreads) {
      for (int i = column; 4 * i < norm.hidden; i += kRowThreads) {
        squares = AddSquares(held[i], squares);
      }
    }
  }
  const float mean = __fdiv_rn(SumOverBlock(squares), static_cast<float>(norm.hidden));
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, norm.eps)));
  T* out = static_cast<T*>(norm.out) + row * norm.stride;
  ForFours(norm.hidden, [&](int i, bool inside) {
    if (!inside) return;
    const float4 w = weights.At(norm, i);
    const float4 x = ScaleFour(held[i / 4], scale);
    const float4 y = make_float4(__fmul_rn(x.x, w.x), __fmul_rn(x.y, w.y), __fmul_rn(x.z, w.z),
                                 __fmul_rn(x.w, w.w));
    Store<kVector>(y, out, i, norm.hidden);
  });
}

template <typename T, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    RmsNormKernel(const float* x, const NormOutput norm) {
  const auto weights = BeginNorm<kVector>(norm);
  const int64_t row = blockIdx.x;
  const float* from = x + row * norm.hidden;
  NormalizeRow<T>(norm, row, weights,
                  [&](int i, bool) { return Load<kVector>(from, i, norm.hidden); });
}

template <typename T, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    AddRmsNormKernel(const float* delta, float* residual, const NormOutput norm) {
  const auto weights = BeginNorm<kVector>(norm);
  const int64_t row = blockIdx.x;
  const float* add = delta + row * norm.hidden;
  float* to = residual + row * norm.hidden;
  NormalizeRow<T>(norm, row, weights, [&](int i, bool inside) {
    const float4 old = Load<kVector>(to, i, norm.hidden);
    const float4 sum = AddFour(old, Load<kVector>(add, i, norm.hidden));
    if (inside) Store<kVector>(sum, to, i, norm.hidden);
    return sum;
  });
}

// A CombineInput for kernels.
struct CombineArgs {
  const float* weight;    // [T, K]
  const uint8_t* action;  // [T, K]
  const float* rows;
  const float* x;
  const float* shared;
  const float* shared_logit;
  int hidden;
  int k;
  bool weight_on_input;
  bool vector;
};

// 32 choices of a row, one in each lane.
struct LaneChoice {
  float weight;
  int action;
};

__device__ inline LaneChoice ReadChoices(const CombineArgs& args, int64_t row, int first) {
  const int k = first + static_cast<int>(threadIdx.x) % kWarp;
  if (k >= args.k) return {0.0f, 0};
  const int64_t at = row * args.k + k;
  return {args.weight[at], args.action[at]};
}

// Adds the choices k .. k + kCount - 1 of the 32 in `lanes` to elements i .. i + 3 of the sum;
// `rows` are their results. These are loaded before it is known which of them count: nearly all
// do, and so nothing is waited for twice. All lanes of a warp come together.
template <bool kVector, int kCount>
__device__ inline float4 AddChoices(const CombineArgs& args, int64_t row, LaneChoice lanes, int k,
                                    const float* rows, int i, float4 sum) {
  float4 values[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    values[j] = Load<kVector>(rows, i, args.hidden);
    rows += args.hidden;
  }
  const unsigned taken = __ballot_sync(kFullMask, lanes.action != 0) >> k;
  const unsigned identity = __ballot_sync(kFullMask, lanes.action == 2) >> k;
  if ((identity & ((1u << kCount) - 1)) != 0) {
    const float4 same = Load<kVector>(args.x + row * args.hidden, i, args.hidden);
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      if ((identity >> j & 1) != 0) values[j] = same;
    }
  }
  const bool plain = lanes.action == 1 && args.weight_on_input;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const float factor = __shfl_sync(kFullMask, plain ? 1.0f : lanes.weight, k + j);
    if ((taken >> j & 1) != 0) sum = AddFour(sum, ScaleFour(values[j], factor));
  }
  return sum;
}

// Elements i .. i + 3 of the sum over the choices of a row: the order and the roundings of
// parallel/combine.h.
template <bool kVector>
__device__ inline float4 SumChoices(const CombineArgs& args, int64_t row, int i) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  LaneChoice lanes;
#pragma unroll 1  // or registers run out
  for (int k = 0; k < args.k;) {
    const int in_lanes = k % kWarp;
    if (in_lanes == 0) lanes = ReadChoices(args, row, k);
    const float* rows = args.rows + (row * args.k + k) * args.hidden;
    const int left = args.k - k;
    if (left >= 8) {
      sum = AddChoices<kVector, 8>(args, row, lanes, in_lanes, rows, i, sum);
      k += 8;
    } else if (left >= 4) {
      sum = AddChoices<kVector, 4>(args, row, lanes, in_lanes, rows, i, sum);
      k += 4;
    } else if (left >= 2) {
      sum = AddChoices<kVector, 2>(args, row, lanes, in_lanes, rows, i, sum);
      k += 2;
    } else {
      sum = AddChoices<kVector, 1>(args, row, lanes, in_lanes, rows, i, sum);
      k += 1;
    }
  }
  return sum;
}

// The same with the shared expert.
template <bool kVector>
__device__ inline float4 CombineFour(const CombineArgs& args, int64_t row, float logit, int i) {
  float4 value;
  if (args.shared != nullptr) {
    value = Load<kVector>(args.shared + row * args.hidden, i, args.hidden);
  }
  const float4 sum = SumChoices<kVector>(args, row, i);
  if (args.shared == nullptr) return sum;
  const float gate =
      args.shared_logit == nullptr ? 1.0f : __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-logit)));
  return make_float4(__fmaf_rn(gate, value.x, sum.x), __fmaf_rn(gate, value.y, sum.y),
                     __fmaf_rn(gate, value.z, sum.z), __fmaf_rn(gate, value.w, sum.w));
}

__device__ inline float SharedLogit(const CombineArgs& args, int64_t row) {
  return args.shared_logit == nullptr ? 0.0f : args.shared_logit[row];
}

template <bool kVector>
__global__ void __launch_bounds__(kWide) CombineKernel(const CombineArgs args, float* delta) {
  GridDependencyLaunch();
  GridDependencyWait();
  const int64_t row = blockIdx.x;
  const float logit = SharedLogit(args, row);
  ForFours(args.hidden, [&](int i, bool inside) {
    const float4 sum = CombineFour<kVector>(args, row, logit, i);
    if (inside) Store<kVector>(sum, delta + row * args.hidden, i, args.hidden);
  });
}

template <typename T, bool kVector, int kThreads>
__global__ void __launch_bounds__(kThreads, kVector&& kThreads == kRowThreads ? 3 : 1)
    CombineAddRmsNormKernel(const CombineArgs args, float* residual, const NormOutput norm) {
  const auto weights = BeginNorm<kVector, (kThreads > kRowThreads)>(norm);
  const int64_t row = blockIdx.x;
  const float logit = SharedLogit(args, row);
  float* to = residual + row * args.hidden;
  NormalizeRow<T>(norm, row, weights, [&](int i, bool inside) {
    const float4 old = Load<kVector>(to, i, args.hidden);
    const float4 sum = AddFour(old, CombineFour<kVector>(args, row, logit, i));
    if (inside) Store<kVector>(sum, to, i, args.hidden);
    return sum;
  });
}

NormOutput MakeNormOutput(const float* weight, float eps, const MatrixRef& out) {
  FM_CHECK(weight != nullptr && out.cols > 0 && out.cols < int64_t{1} << 30);
  const bool vector = InFours(out) && InFours(weight, out.cols, 4);
  return {weight, out.data, out.stride, static_cast<int>(out.cols), eps, vector};
}

// A multiprocessor that has a row to itself is given a thread for each four elements. Where rows
// are many, small blocks: one of them loads while another adds up.
LaunchShape RowShape(const Stream& stream, int64_t rows, int64_t hidden, int most, bool held) {
  int64_t threads = kRowThreads;
  if (rows <= stream.device().multiprocessors) {
    threads =
        std::clamp<int64_t>((hidden + 4 * kWarp - 1) / (4 * kWarp) * kWarp, kRowThreads, most);
  }
  const int64_t bytes = held ? (hidden + 3) / 4 * 16 : 0;
  FM_CHECK(bytes + 2048 <= stream.device().shared_bytes_per_block);
  return {.grid = dim3(static_cast<unsigned>(rows)),
          .block = dim3(static_cast<unsigned>(threads)),
          .shared_bytes = static_cast<size_t>(bytes),
          .overlap = true};
}

// Calls f(T(), std::bool_constant<vector>()).
template <typename F>
void ForNorm(const MatrixRef& out, bool vector, F f) {
  ForElement(out.dtype, [&](auto type) {
    if (vector) {
      f(type, std::true_type());
    } else {
      f(type, std::false_type());
    }
  });
}

CombineArgs MakeCombineArgs(const CombineInput& in, int64_t hidden) {
  FM_CHECK(in.expert_rows != nullptr && hidden < int64_t{1} << 30);
  CombineArgs args = {};
  args.weight = in.routing.weight;
  args.action = in.routing.action;
  args.rows = in.expert_rows;
  args.x = in.x;
  args.shared = in.shared;
  args.shared_logit = in.shared_logit;
  args.hidden = static_cast<int>(hidden);
  args.k = in.routing.k;
  args.weight_on_input = in.weight_on_input;
  args.vector = InFours(in.expert_rows, hidden, 4) && InFours(in.x, hidden, 4) &&
                InFours(in.shared, hidden, 4);
  return args;
}

}  // namespace

void RmsNorm(Stream& stream, const float* x, const float* weight, float eps, const MatrixRef& out) {
  if (out.rows == 0) return;
  const NormOutput norm = MakeNormOutput(weight, eps, out);
  const LaunchShape shape = RowShape(stream, out.rows, out.cols, kMostThreads, true);
  ForNorm(out, norm.vector && InFours(x, out.cols, 4), [&](auto type, auto vector) {
    Launch(stream, shape, RmsNormKernel<decltype(type), vector>, x, norm);
  });
}

void AddRmsNorm(Stream& stream, const float* delta, const float* weight, float eps, float* residual,
                const MatrixRef& out) {
  if (out.rows == 0) return;
  const NormOutput norm = MakeNormOutput(weight, eps, out);
  const LaunchShape shape = RowShape(stream, out.rows, out.cols, kMostThreads, true);
  const bool in_fours =
      norm.vector && InFours(delta, out.cols, 4) && InFours(residual, out.cols, 4);
  ForNorm(out, in_fours, [&](auto type, auto vector) {
    Launch(stream, shape, AddRmsNormKernel<decltype(type), vector>, delta, residual, norm);
  });
}

void CombineAddRmsNorm(Stream& stream, const CombineInput& in, const float* weight, float eps,
                       float* residual, const MatrixRef& out) {
  FM_CHECK(in.routing.rows == out.rows);
  if (out.rows == 0) return;
  const NormOutput norm = MakeNormOutput(weight, eps, out);
  const CombineArgs args = MakeCombineArgs(in, out.cols);
  const bool in_fours = norm.vector && args.vector && InFours(residual, out.cols, 4);
  const LaunchShape shape =
      RowShape(stream, out.rows, out.cols, in_fours ? kWide : kRowThreads, true);
  ForNorm(out, in_fours, [&](auto type, auto vector) {
    using T = decltype(type);
    if (vector && shape.block.x > kRowThreads) {
      Launch(stream, shape, CombineAddRmsNormKernel<T, true, kWide>, args, residual, norm);
    } else {
      Launch(stream, shape, CombineAddRmsNormKernel<T, vector, kRowThreads>, args, residual, norm);
    }
  });
}

void Combine(Stream& stream, const CombineInput& in, int64_t hidden, float* delta) {
  if (in.routing.rows == 0) return;
  const CombineArgs args = MakeCombineArgs(in, hidden);
  const LaunchShape shape = RowShape(stream, in.routing.rows, hidden, kWide, false);
  if (args.vector && InFours(delta, hidden, 4)) {
    Launch(stream, shape, CombineKernel<true>, args, delta);
  } else {
    Launch(stream, shape, CombineKernel<false>, args, delta);
  }
}

}  // namespace folkmoot::cuda
