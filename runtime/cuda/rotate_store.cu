// SPDX-License-Identifier: Apache-2.0
// RotateAndStore. Same order of sums and same roundings as runtime/cpu/norm.cc (NormRow,
// RotateHead), so float32 gives the bits of the CPU: element i of a head is added in lane i % 16,
// lanes in a tree.
//
// Two kernels: HeadsKernel for common shapes, whose heads never leave registers, and RotateKernel
// for all others, with a warp per head. What does not come from the preceding product (the step's
// input, weights) is read before its end is waited for.
#include <algorithm>

#include "runtime/cuda/attention.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/ptx.h"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kHeadsOfBlock = 4;  // of RotateKernel
constexpr int kMaxHead = 256;
constexpr int kNormLanes = 16;
constexpr int kHeadLanes = 8;  // of HeadsKernel, for a head
constexpr int kHeadsThreads = 256;

struct RotateArgs {
  const void* qkv;
  void* q;
  void* keys;
  void* values;
  int64_t qkv_stride;
  int64_t q_stride;
  const int32_t* valid;
  const int32_t* positions;
  const int32_t* sequence;
  const int32_t* blocks;
  const float* cos;
  const float* sin;
  QkNorm norm;
  int rows;
  int block_stride;
  int block_size;
  int heads;
  int kv_heads;
  int dim;
  int half;  // rotary_dim / 2
  bool vector;
};

__device__ inline float NormScale(float squares, int dim, float eps) {
  const float mean = __fdiv_rn(squares, static_cast<float>(dim));
  return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
}

// Where a row belongs. Padding belongs nowhere: its numbers must not be used.
struct RowPlace {
  int position;
  int sequence;
};
__device__ inline RowPlace ReadPlace(const RotateArgs& args, int64_t row) {
  return {args.positions[row], args.sequence[row]};
}

// Where element 0 of this head of this row goes.
template <typename T>
__device__ T* PlaceOf(const RotateArgs& args, int64_t row, int head, RowPlace place) {
  if (head < args.heads) {
    return static_cast<T*>(args.q) + row * args.q_stride + head * args.dim;
  }
  const bool is_key = head < args.heads + args.kv_heads;
  const int kv_head = head - args.heads - (is_key ? 0 : args.kv_heads);
  const int page = place.position / args.block_size;
  const int64_t block =
      args.blocks[static_cast<int64_t>(place.sequence) * args.block_stride + page];
  const int64_t line =
      (block * args.kv_heads + kv_head) * args.block_size + place.position - page * args.block_size;
  return static_cast<T*>(is_key ? args.keys : args.values) + line * args.dim;
}

// kGroups * 16 elements of a head, in kHeadLanes lanes: each has neighbours of every group of 16,
// so that what is added in one chain, and the two elements of a rotation, are in one lane.
template <int kGroups>
struct HeadPart {
  static constexpr int kEach = kNormLanes / kHeadLanes;
  static constexpr int kAll = kGroups * kEach;

  template <typename T>
  __device__ void Load(const T* from) {
#pragma unroll
    for (int m = 0; m < kGroups; ++m) {
      const auto x = *reinterpret_cast<const Packed<T, kEach>*>(from + m * kNormLanes);
#pragma unroll
      for (int i = 0; i < kEach; ++i) v[m * kEach + i] = static_cast<float>(x.v[i]);
    }
  }
  template <typename T>
  __device__ void Store(T* to) const {
#pragma unroll
    for (int m = 0; m < kGroups; ++m) {
      Packed<T, kEach> x;
#pragma unroll
      for (int i = 0; i < kEach; ++i) x.v[i] = T(v[m * kEach + i]);
      *reinterpret_cast<Packed<T, kEach>*>(to + m * kNormLanes) = x;
    }
  }
  // Of the whole head.
  __device__ float SumOfSquares() const {
    float sums[kEach] = {};
#pragma unroll
    for (int i = 0; i < kAll; ++i) sums[i % kEach] = __fmaf_rn(v[i], v[i], sums[i % kEach]);
#pragma unroll
    for (int stride = kHeadLanes / 2; stride > 0; stride /= 2) {
#pragma unroll
      for (float& sum : sums) sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, stride));
    }
#pragma unroll
    for (int stride = kEach / 2; stride > 0; stride /= 2) {
#pragma unroll
      for (int i = 0; i < stride; ++i) sums[i] = __fadd_rn(sums[i], sums[i + stride]);
    }
    return sums[0];
  }
  __device__ void Scale(float scale, const HeadPart& weight) {
#pragma unroll
    for (int i = 0; i < kAll; ++i) v[i] = __fmul_rn(__fmul_rn(v[i], scale), weight.v[i]);
  }
  __device__ void Rotate(const HeadPart<kGroups / 2>& cos, const HeadPart<kGroups / 2>& sin) {
#pragma unroll
    for (int i = 0; i < kAll / 2; ++i) {
      const float a = v[i];
      const float b = v[i + kAll / 2];
      v[i] = __fsub_rn(__fmul_rn(a, cos.v[i]), __fmul_rn(b, sin.v[i]));
      v[i + kAll / 2] = __fadd_rn(__fmul_rn(b, cos.v[i]), __fmul_rn(a, sin.v[i]));
    }
  }

  float v[kAll];
};

// Heads of kGroups * 16 elements, all of which are rotated.
template <typename In, typename Out, int kGroups>
__global__ void __launch_bounds__(kHeadsThreads) HeadsKernel(const RotateArgs args) {
  constexpr int kDim = kGroups * kNormLanes;
  GridDependencyLaunch();
  const int heads = args.heads + 2 * args.kv_heads;
  const auto item = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / kHeadLanes);
  const int row = min(item / heads, args.rows - 1);  // lanes past the end repeat the last row
  const int head = item % heads;
  const bool is_value = head >= args.heads + args.kv_heads;
  const float* norm_weight = head < args.heads ? args.norm.q : args.norm.k;
  const bool normed = !is_value && norm_weight != nullptr;
  const int first = static_cast<int>(threadIdx.x) % kHeadLanes * HeadPart<kGroups>::kEach;
  const int valid = *args.valid;
  const RowPlace place = ReadPlace(args, row);

  HeadPart<kGroups / 2> cos;
  HeadPart<kGroups / 2> sin;
  HeadPart<kGroups> weight;
  cos.Load(args.cos + int64_t{row} * (kDim / 2) + first);
  sin.Load(args.sin + int64_t{row} * (kDim / 2) + first);
  if (normed) weight.Load(norm_weight + first);
  GridDependencyWait();
  HeadPart<kGroups> x;
  x.Load(static_cast<const In*>(args.qkv) + row * args.qkv_stride + head * kDim + first);
  const bool stored = item / heads < args.rows && row < valid;
  Out* to = stored ? PlaceOf<Out>(args, row, head, place) + first : nullptr;
  if (args.norm.q != nullptr || args.norm.k != nullptr) {
    const float scale = NormScale(x.SumOfSquares(), kDim, args.norm.eps);
    if (normed) x.Scale(scale, weight);
  }
  if (!is_value) x.Rotate(cos, sin);
  if (stored) x.Store(to);
}

// In place, as NormRow.
__device__ inline void NormalizeHead(const float* weight, float eps, int dim, float* x) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sum = 0.0f;
  if (lane < kNormLanes) {
    for (int i = lane; i < dim; i += kNormLanes) sum = __fmaf_rn(x[i], x[i], sum);
  }
  for (int stride = kNormLanes / 2; stride > 0; stride /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, stride));
  }
  const float scale = NormScale(__shfl_sync(kFullMask, sum, 0), dim, eps);
  for (int i = lane; i < dim; i += kWarp) x[i] = __fmul_rn(__fmul_rn(x[i], scale), weight[i]);
  __syncwarp();
}

// Element i of the rotated head x.
__device__ inline float Rotated(const float* x, const float* cos, const float* sin, int half,
                                int i) {
  if (i >= 2 * half) return x[i];
  if (i < half) return __fsub_rn(__fmul_rn(x[i], cos[i]), __fmul_rn(x[i + half], sin[i]));
  const int pair = i - half;
  return __fadd_rn(__fmul_rn(x[i], cos[pair]), __fmul_rn(x[pair], sin[pair]));
}

template <typename In, typename Out>
__global__ void RotateKernel(const RotateArgs args) {
  FM_SHARED(float, heads, [kHeadsOfBlock][kMaxHead]);
  GridDependencyLaunch();
  GridDependencyWait();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y) * kHeadsOfBlock + warp;
  if (row >= *args.valid || head >= args.heads + 2 * args.kv_heads) return;
  float* x = heads[warp];
  const In* from = static_cast<const In*>(args.qkv) + row * args.qkv_stride + head * args.dim;
  for (int i = lane * 4; i < args.dim; i += kWarp * 4) {
    StoreFour(LoadFour(from, i, args.dim, args.vector), x, i, args.dim, true);
  }
  __syncwarp();
  const bool is_value = head >= args.heads + args.kv_heads;
  const float* weight = head < args.heads ? args.norm.q : args.norm.k;
  if (!is_value && weight != nullptr) NormalizeHead(weight, args.norm.eps, args.dim, x);
  const float* cos = args.cos + row * args.half;
  const float* sin = args.sin + row * args.half;
  const int half = is_value ? 0 : args.half;
  Out* to = PlaceOf<Out>(args, row, head, ReadPlace(args, row));
  for (int i = lane * 4; i < args.dim; i += kWarp * 4) {
    float4 y = make_float4(Rotated(x, cos, sin, half, i), 0.0f, 0.0f, 0.0f);
    if (i + 1 < args.dim) y.y = Rotated(x, cos, sin, half, i + 1);
    if (i + 2 < args.dim) y.z = Rotated(x, cos, sin, half, i + 2);
    if (i + 3 < args.dim) y.w = Rotated(x, cos, sin, half, i + 3);
    StoreFour(y, to, i, args.dim, args.vector);
  }
}

// Few heads are spread over many multiprocessors.
template <typename In, typename Out, int kGroups>
void LaunchHeads(Stream& stream, const RotateArgs& args) {
  const int64_t lanes = int64_t{args.rows} * (args.heads + 2 * args.kv_heads) * kHeadLanes;
  FM_CHECK(lanes < int64_t{1} << 31);
  const int64_t spread = lanes / (2 * stream.device().multiprocessors) / kWarp * kWarp;
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(spread, kWarp, kHeadsThreads));
  const auto blocks = static_cast<unsigned>((lanes + threads - 1) / threads);
  Launch(stream, {.grid = blocks, .block = threads, .overlap = true}, HeadsKernel<In, Out, kGroups>,
         args);
}

template <typename In, typename Out>
void LaunchRotate(Stream& stream, const RotateArgs& args) {
  const bool early = InFours(args.cos, args.half, 4) && InFours(args.sin, args.half, 4) &&
                     InFours(args.norm.q, args.dim, 4) && InFours(args.norm.k, args.dim, 4);
  if (args.vector && early && args.dim == 2 * args.half) {
    if (args.dim == 128) return LaunchHeads<In, Out, 8>(stream, args);
    if (args.dim == 64) return LaunchHeads<In, Out, 4>(stream, args);
  }
  const int heads = args.heads + 2 * args.kv_heads;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(args.rows),
                   static_cast<unsigned>((heads + kHeadsOfBlock - 1) / kHeadsOfBlock)),
      .block = dim3(kHeadsOfBlock * kWarp),
      .overlap = true};
  Launch(stream, shape, RotateKernel<In, Out>, args);
}

void CheckShapes(const AttentionShape& shape, const StepRows& rows, const MatrixRef& qkv,
                 const MatrixRef& q, const KvLayer& cache) {
  const int64_t dim = shape.head_dim;
  FM_CHECK(dim > 0 && dim <= kMaxHead && shape.rotary_dim % 2 == 0 && shape.rotary_dim <= dim);
  FM_CHECK(qkv.cols == (shape.heads + 2 * shape.kv_heads) * dim && qkv.rows >= rows.rows);
  FM_CHECK(q.cols == shape.heads * dim && q.rows >= rows.rows && q.dtype == cache.dtype);
  FM_CHECK(cache.kv_heads == shape.kv_heads && cache.head_dim == dim && cache.block_size > 0);
  FM_CHECK(qkv.dtype == DType::kF32 || qkv.dtype == q.dtype);
}

}  // namespace

void RotateAndStore(Stream& stream, const AttentionShape& shape, const StepRows& rows,
                    const StepSequences& sequences, const MatrixRef& qkv, const QkNorm& norm,
                    const MatrixRef& q, const KvLayer& cache) {
  CheckShapes(shape, rows, qkv, q, cache);
  if (rows.rows == 0) return;
  RotateArgs args = {};
  args.qkv = qkv.data;
  args.q = q.data;
  args.keys = cache.keys;
  args.values = cache.values;
  args.qkv_stride = qkv.stride;
  args.q_stride = q.stride;
  args.valid = rows.valid;
  args.positions = rows.positions;
  args.sequence = rows.sequence;
  args.blocks = sequences.blocks;
  args.cos = rows.cos;
  args.sin = rows.sin;
  args.norm = norm;
  args.rows = rows.rows;
  args.block_stride = sequences.block_stride;
  args.block_size = cache.block_size;
  args.heads = shape.heads;
  args.kv_heads = shape.kv_heads;
  args.dim = shape.head_dim;
  args.half = shape.rotary_dim / 2;
  const int64_t bytes = DTypeBytes(cache.dtype);
  args.vector = shape.head_dim % 4 == 0 && InFours(qkv) && InFours(q) &&
                InFours(cache.keys, shape.head_dim, bytes) &&
                InFours(cache.values, shape.head_dim, bytes);
  ForElement(cache.dtype, [&](auto type) {
    using T = decltype(type);
    if (qkv.dtype == DType::kF32) {
      LaunchRotate<float, T>(stream, args);
    } else {
      LaunchRotate<T, T>(stream, args);
    }
  });
}

}  // namespace folkmoot::cuda
