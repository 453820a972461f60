// SPDX-License-Identifier: Apache-2.0
// Embed, GatherRows and GatedActivation: rows that do not depend on each other.
#include "runtime/cuda/rows.h"

#include "runtime/cuda/launch.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/row_vector.cuh"
#include "runtime/ops/gemm.h"

namespace folkmoot::cuda {
namespace {

struct EmbedArgs {
  const void* table;
  int64_t stride;
  int64_t hidden;
  const int32_t* ids;
  const int32_t* valid;
  float* out;
  bool vector;
};

template <typename T>
__global__ void EmbedKernel(EmbedArgs args) {
  GridDependencyLaunch();
  const int row = static_cast<int>(blockIdx.x);
  if (row >= *args.valid) return;
  const T* from = static_cast<const T*>(args.table) + args.ids[row] * args.stride;
  float* to = args.out + row * args.hidden;
  for (int64_t i = threadIdx.x * 4; i < args.hidden; i += kRowThreads * 4) {
    StoreFour(LoadFour(from, i, args.hidden, args.vector), to, i, args.hidden, args.vector);
  }
}

struct GatherArgs {
  const unsigned char* from;
  unsigned char* to;
  int64_t from_stride;  // bytes
  int64_t to_stride;
  int64_t row_bytes;
  const int32_t* rows;
  bool wide;  // everything is a multiple of 16 bytes
};

__global__ void GatherKernel(GatherArgs args) {
  GridDependencyLaunch();
  const int32_t row = args.rows[blockIdx.x];  // of the step's input
  GridDependencyWait();
  if (row < 0) return;
  const unsigned char* from = args.from + row * args.from_stride;
  unsigned char* to = args.to + blockIdx.x * args.to_stride;
  if (args.wide) {
    for (int64_t i = threadIdx.x * 16; i < args.row_bytes; i += kRowThreads * 16) {
      *reinterpret_cast<uint4*>(to + i) = *reinterpret_cast<const uint4*>(from + i);
    }
    return;
  }
  for (int64_t i = threadIdx.x; i < args.row_bytes; i += kRowThreads) to[i] = from[i];
}

__device__ inline float TimesSigmoid(float x, float scaled) { return x / (1.0f + expf(-scaled)); }

// The formulas of runtime/cpu/activation-inl.h.
__device__ inline float Activate(int kind, float x) {
  switch (static_cast<Activation>(kind)) {
    case Activation::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kGeluTanh: {
      const float y = __fmaf_rn(x * x * x, 0.044715f, x);
      return TimesSigmoid(x, y * 1.5957691216057308f);
    }
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
    case Activation::kSilu:
    case Activation::kClampedSwiglu:  // not on GPUs: WhyCpuOnly
    case Activation::kReluSquared:    // nor this
    case Activation::kLimitedSwiglu:
    case Activation::kCappedSwiglu:
    case Activation::kSoftcappedSwiglu:
      break;
  }
  return TimesSigmoid(x, x);
}

struct ActivationArgs {
  const void* gate_up;
  void* out;
  int64_t in_stride;
  int64_t out_stride;
  int64_t inner;  // columns of out
  int kind;
  bool vector;
};

template <typename In, typename Out>
__global__ void ActivationKernel(ActivationArgs args) {
  GridDependencyLaunch();
  GridDependencyWait();
  const In* gate = static_cast<const In*>(args.gate_up) + blockIdx.x * args.in_stride;
  const In* up = gate + args.inner;
  Out* out = static_cast<Out*>(args.out) + blockIdx.x * args.out_stride;
  const int64_t i = (static_cast<int64_t>(blockIdx.y) * kRowThreads + threadIdx.x) * 4;
  if (i >= args.inner) return;
  const float4 a = LoadFour(gate, i, args.inner, args.vector);
  const float4 b = LoadFour(up, i, args.inner, args.vector);
  const float4 y = make_float4(Activate(args.kind, a.x) * b.x, Activate(args.kind, a.y) * b.y,
                               Activate(args.kind, a.z) * b.z, Activate(args.kind, a.w) * b.w);
  StoreFour(y, out, i, args.inner, args.vector);
}

template <typename In, typename Out>
void LaunchActivation(Stream& stream, const LaunchShape& shape, const ActivationArgs& args) {
  Launch(stream, shape, ActivationKernel<In, Out>, args);
}

}  // namespace

void Embed(Stream& stream, const MatrixRef& table, const StepRows& rows, float* hidden) {
  if (rows.rows == 0) return;
  FM_CHECK(rows.valid != nullptr && rows.token_ids != nullptr && hidden != nullptr);
  EmbedArgs args = {table.data, table.stride, table.cols, rows.token_ids,
                    rows.valid, hidden,       false};
  args.vector = InFours(table) && InFours(hidden, table.cols, 4);
  // Without overlap: the step's input is there before any of its kernels starts.
  ForElement(table.dtype, [&](auto type) {
    Launch(stream, {dim3(static_cast<unsigned>(rows.rows)), dim3(kRowThreads), 0},
           EmbedKernel<decltype(type)>, args);
  });
}

void GatherRows(Stream& stream, const MatrixRef& x, const int32_t* rows, int count,
                const MatrixRef& out) {
  FM_CHECK(x.dtype == out.dtype && x.cols == out.cols && count <= out.rows);
  if (count == 0) return;
  const int64_t bytes = DTypeBytes(x.dtype);
  GatherArgs args = {static_cast<const unsigned char*>(x.data),
                     static_cast<unsigned char*>(out.data),
                     x.stride * bytes,
                     out.stride * bytes,
                     x.cols * bytes,
                     rows,
                     false};
  const auto from = reinterpret_cast<uintptr_t>(x.data);
  const auto to = reinterpret_cast<uintptr_t>(out.data);
  args.wide = from % 16 == 0 && to % 16 == 0 && args.from_stride % 16 == 0 &&
              args.to_stride % 16 == 0 && args.row_bytes % 16 == 0;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(count)), .block = dim3(kRowThreads), .overlap = true};
  Launch(stream, shape, GatherKernel, args);
}

void GatedActivation(Stream& stream, int kind, const MatrixRef& gate_up, const MatrixRef& out) {
  FM_CHECK(gate_up.cols == 2 * out.cols && gate_up.rows == out.rows);
  FM_CHECK(gate_up.dtype == out.dtype || gate_up.dtype == DType::kF32);
  if (out.rows == 0 || out.cols == 0) return;
  ActivationArgs args = {gate_up.data, out.data, gate_up.stride, out.stride, out.cols, kind, false};
  args.vector = InFours(gate_up) && InFours(out) && out.cols % 4 == 0;
  const int64_t columns = kRowThreads * 4;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(out.rows),
                   static_cast<unsigned>((out.cols + columns - 1) / columns)),
      .block = dim3(kRowThreads),
      .overlap = true};
  ForElement(out.dtype, [&](auto type) {
    using T = decltype(type);
    if (gate_up.dtype == DType::kF32) {
      LaunchActivation<float, T>(stream, shape, args);
    } else {
      LaunchActivation<T, T>(stream, shape, args);
    }
  });
}

}  // namespace folkmoot::cuda
