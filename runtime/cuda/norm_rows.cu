// SPDX-License-Identifier: Apache-2.0
// RmsNorm, AddRmsNorm and the combine of routed experts: one block per row, which stays in shared
// memory between its sum of squares and its scaling.
//
// Same bits: thread t adds the squares of elements 4t .. 4t + 3, then those 1024 further, and so
// on; SumOverBlock's tree does the rest. Nothing but the length of a row shows in its sum.
#include "runtime/cuda/launch.h"
#include "runtime/cuda/row_vector.cuh"
#include "runtime/cuda/rows.h"

namespace folkmoot::cuda {
namespace {

constexpr int kMaxChoices = 512;  // of a token: as many as GpuDimsOf lets a model have experts

struct NormOutput {
  const float* weight;
  void* out;
  int64_t stride;
  int64_t hidden;
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

// out[row] = RmsNorm of the row whose elements i .. i + 3 are value(i). value is called once for
// each i.
template <typename T, typename Value>
__device__ void NormalizeRow(const NormOutput& norm, int64_t row, Value value) {
  float* held = reinterpret_cast<float*>(DynamicShared());  // rounded up to fours
  float sum = 0.0f;
  for (int64_t i = threadIdx.x * 4; i < norm.hidden; i += kRowThreads * 4) {
    const float4 x = value(i);
    *reinterpret_cast<float4*>(held + i) = x;
    sum = __fmaf_rn(x.x, x.x, sum);
    sum = __fmaf_rn(x.y, x.y, sum);
    sum = __fmaf_rn(x.z, x.z, sum);
    sum = __fmaf_rn(x.w, x.w, sum);
  }
  const float mean = __fdiv_rn(SumOverBlock(sum), static_cast<float>(norm.hidden));
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, norm.eps)));
  T* out = static_cast<T*>(norm.out) + row * norm.stride;
  for (int64_t i = threadIdx.x * 4; i < norm.hidden; i += kRowThreads * 4) {
    const float4 x = ScaleFour(*reinterpret_cast<const float4*>(held + i), scale);
    const float4 w = LoadFour(norm.weight, i, norm.hidden, norm.vector);
    const float4 y = make_float4(__fmul_rn(x.x, w.x), __fmul_rn(x.y, w.y), __fmul_rn(x.z, w.z),
                                 __fmul_rn(x.w, w.w));
    StoreFour(y, out, i, norm.hidden, norm.vector);
  }
}

template <typename T>
__global__ void RmsNormKernel(const float* x, NormOutput norm) {
  const int64_t row = blockIdx.x;
  const float* from = x + row * norm.hidden;
  NormalizeRow<T>(norm, row,
                  [&](int64_t i) { return LoadFour(from, i, norm.hidden, norm.vector); });
}

template <typename T>
__global__ void AddRmsNormKernel(const float* delta, float* residual, NormOutput norm) {
  const int64_t row = blockIdx.x;
  const float* add = delta + row * norm.hidden;
  float* to = residual + row * norm.hidden;
  NormalizeRow<T>(norm, row, [&](int64_t i) {
    const float4 sum = AddFour(LoadFour(to, i, norm.hidden, norm.vector),
                               LoadFour(add, i, norm.hidden, norm.vector));
    StoreFour(sum, to, i, norm.hidden, norm.vector);
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
  int64_t hidden;
  int k;
  bool weight_on_input;
  bool vector;
};

// What the block needs to know of its row's choices.
struct RowChoices {
  float weight[kMaxChoices];
  int action[kMaxChoices];
};

__device__ inline void ReadChoices(const CombineArgs& args, int64_t row, RowChoices* choices) {
  for (int k = static_cast<int>(threadIdx.x); k < args.k; k += kRowThreads) {
    choices->weight[k] = args.weight[row * args.k + k];
    choices->action[k] = args.action[row * args.k + k];
  }
  __syncthreads();
}

// Elements i .. i + 3 of the sum over the choices of a row: the order and the roundings of
// parallel/combine.h.
__device__ inline float4 CombineFour(const CombineArgs& args, const RowChoices& choices,
                                     int64_t row, float gate, int64_t i) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
  for (int k = 0; k < args.k; ++k) {
    const int action = choices.action[k];
    if (action == 0) continue;
    const float* from =
        action == 1 ? args.rows + (row * args.k + k) * args.hidden : args.x + row * args.hidden;
    const float4 value = LoadFour(from, i, args.hidden, args.vector);
    const bool plain = action == 1 && args.weight_on_input;
    sum = AddFour(sum, plain ? value : ScaleFour(value, choices.weight[k]));
  }
  if (args.shared == nullptr) return sum;
  const float4 value = LoadFour(args.shared + row * args.hidden, i, args.hidden, args.vector);
  return make_float4(__fmaf_rn(gate, value.x, sum.x), __fmaf_rn(gate, value.y, sum.y),
                     __fmaf_rn(gate, value.z, sum.z), __fmaf_rn(gate, value.w, sum.w));
}

__device__ inline float SharedGate(const CombineArgs& args, int64_t row) {
  if (args.shared_logit == nullptr) return 1.0f;
  return __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-args.shared_logit[row])));
}

__global__ void CombineKernel(CombineArgs args, float* delta) {
  FM_SHARED(RowChoices, choices, );
  const int64_t row = blockIdx.x;
  ReadChoices(args, row, &choices);
  const float gate = SharedGate(args, row);
  for (int64_t i = threadIdx.x * 4; i < args.hidden; i += kRowThreads * 4) {
    StoreFour(CombineFour(args, choices, row, gate, i), delta + row * args.hidden, i, args.hidden,
              args.vector);
  }
}

template <typename T>
__global__ void CombineAddRmsNormKernel(CombineArgs args, float* residual, NormOutput norm) {
  FM_SHARED(RowChoices, choices, );
  const int64_t row = blockIdx.x;
  ReadChoices(args, row, &choices);
  const float gate = SharedGate(args, row);
  float* to = residual + row * args.hidden;
  NormalizeRow<T>(norm, row, [&](int64_t i) {
    const float4 delta = CombineFour(args, choices, row, gate, i);
    const float4 sum = AddFour(LoadFour(to, i, args.hidden, args.vector), delta);
    StoreFour(sum, to, i, args.hidden, args.vector);
    return sum;
  });
}

NormOutput MakeNormOutput(const float* weight, float eps, const MatrixRef& out) {
  FM_CHECK(weight != nullptr && out.cols > 0);
  const bool vector = InFours(out) && InFours(weight, out.cols, 4);
  return {weight, out.data, out.stride, out.cols, eps, vector};
}

LaunchShape RowShape(const Stream& stream, const MatrixRef& out) {
  const int64_t bytes = (out.cols + 3) / 4 * 16;
  FM_CHECK(bytes + 2048 <= stream.device().shared_bytes_per_block);
  return {dim3(static_cast<unsigned>(out.rows)), dim3(kRowThreads), static_cast<size_t>(bytes)};
}

CombineArgs MakeCombineArgs(const CombineInput& in, int64_t hidden) {
  FM_CHECK(in.routing.k <= kMaxChoices);
  CombineArgs args = {};
  args.weight = in.routing.weight;
  args.action = in.routing.action;
  args.rows = in.expert_rows;
  args.x = in.x;
  args.shared = in.shared;
  args.shared_logit = in.shared_logit;
  args.hidden = hidden;
  args.k = in.routing.k;
  args.weight_on_input = in.weight_on_input;
  args.vector = InFours(in.expert_rows, hidden, 4) && InFours(in.x, hidden, 4) &&
                InFours(in.shared, hidden, 4);
  return args;
}

}  // namespace

void RmsNorm(Stream& stream, const float* x, const float* weight, float eps, const MatrixRef& out) {
  if (out.rows == 0) return;
  NormOutput norm = MakeNormOutput(weight, eps, out);
  norm.vector = norm.vector && InFours(x, out.cols, 4);
  ForElement(out.dtype, [&](auto type) {
    Launch(stream, RowShape(stream, out), RmsNormKernel<decltype(type)>, x, norm);
  });
}

void AddRmsNorm(Stream& stream, const float* delta, const float* weight, float eps, float* residual,
                const MatrixRef& out) {
  if (out.rows == 0) return;
  NormOutput norm = MakeNormOutput(weight, eps, out);
  norm.vector = norm.vector && InFours(delta, out.cols, 4) && InFours(residual, out.cols, 4);
  ForElement(out.dtype, [&](auto type) {
    Launch(stream, RowShape(stream, out), AddRmsNormKernel<decltype(type)>, delta, residual, norm);
  });
}

void CombineAddRmsNorm(Stream& stream, const CombineInput& in, const float* weight, float eps,
                       float* residual, const MatrixRef& out) {
  FM_CHECK(in.routing.rows == out.rows);
  if (out.rows == 0) return;
  NormOutput norm = MakeNormOutput(weight, eps, out);
  CombineArgs args = MakeCombineArgs(in, out.cols);
  norm.vector = norm.vector && args.vector && InFours(residual, out.cols, 4);
  args.vector = norm.vector;
  ForElement(out.dtype, [&](auto type) {
    Launch(stream, RowShape(stream, out), CombineAddRmsNormKernel<decltype(type)>, args, residual,
           norm);
  });
}

void Combine(Stream& stream, const CombineInput& in, int64_t hidden, float* delta) {
  if (in.routing.rows == 0) return;
  CombineArgs args = MakeCombineArgs(in, hidden);
  args.vector = args.vector && InFours(delta, hidden, 4);
  const LaunchShape shape = {dim3(static_cast<unsigned>(in.routing.rows)), dim3(kRowThreads), 0};
  Launch(stream, shape, CombineKernel, args, delta);
}

}  // namespace folkmoot::cuda
