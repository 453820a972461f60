// SPDX-License-Identifier: Apache-2.0
// RotateAndStore: one warp per head of a row. Same order of sums and same roundings as
// runtime/cpu/norm.cc (NormRow, RotateHead), so float32 gives the bits of the CPU.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/row_vector.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kHeadsOfBlock = 4;
constexpr int kMaxHead = 256;
constexpr int kNormLanes = 16;

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
  int block_stride;
  int block_size;
  int heads;
  int kv_heads;
  int dim;
  int half;  // rotary_dim / 2
  bool vector;
};

// In place, as NormRow: element i is added in lane i % 16, lanes in a tree.
__device__ inline void NormalizeHead(const float* weight, float eps, int dim, float* x) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sum = 0.0f;
  if (lane < kNormLanes) {
    for (int i = lane; i < dim; i += kNormLanes) sum = __fmaf_rn(x[i], x[i], sum);
  }
  for (int stride = kNormLanes / 2; stride > 0; stride /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, stride));
  }
  sum = __shfl_sync(kFullMask, sum, 0);
  const float mean = __fdiv_rn(sum, static_cast<float>(dim));
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
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

// Where element 0 of this head of this row goes.
template <typename T>
__device__ T* PlaceOf(const RotateArgs& args, int64_t row, int head) {
  if (head < args.heads) {
    return static_cast<T*>(args.q) + row * args.q_stride + head * args.dim;
  }
  const bool is_key = head < args.heads + args.kv_heads;
  const int kv_head = head - args.heads - (is_key ? 0 : args.kv_heads);
  const int position = args.positions[row];
  const int page = position / args.block_size;
  const int64_t block =
      args.blocks[static_cast<int64_t>(args.sequence[row]) * args.block_stride + page];
  const int64_t line =
      (block * args.kv_heads + kv_head) * args.block_size + position - page * args.block_size;
  return static_cast<T*>(is_key ? args.keys : args.values) + line * args.dim;
}

template <typename In, typename Out>
__global__ void RotateKernel(RotateArgs args) {
  FM_SHARED(float, heads, [kHeadsOfBlock][kMaxHead]);
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
  Out* to = PlaceOf<Out>(args, row, head);
  for (int i = lane * 4; i < args.dim; i += kWarp * 4) {
    float4 y = make_float4(Rotated(x, cos, sin, half, i), 0.0f, 0.0f, 0.0f);
    if (i + 1 < args.dim) y.y = Rotated(x, cos, sin, half, i + 1);
    if (i + 2 < args.dim) y.z = Rotated(x, cos, sin, half, i + 2);
    if (i + 3 < args.dim) y.w = Rotated(x, cos, sin, half, i + 3);
    StoreFour(y, to, i, args.dim, args.vector);
  }
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
  const int heads = shape.heads + 2 * shape.kv_heads;
  const LaunchShape launch = {
      .grid = dim3(static_cast<unsigned>(rows.rows),
                   static_cast<unsigned>((heads + kHeadsOfBlock - 1) / kHeadsOfBlock)),
      .block = dim3(kHeadsOfBlock * kWarp)};
  ForElement(cache.dtype, [&](auto type) {
    using T = decltype(type);
    if (qkv.dtype == DType::kF32) {
      Launch(stream, launch, RotateKernel<float, T>, args);
    } else {
      Launch(stream, launch, RotateKernel<T, T>, args);
    }
  });
}

}  // namespace folkmoot::cuda
