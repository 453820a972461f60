// SPDX-License-Identifier: Apache-2.0
// SampleRows in three kernels: a block per chunk of the vocabulary finds the greatest logit and the
// sum of exponentials; a block per chunk turns logits into weights, for rows that draw; a block per
// row picks (sampling_pick.cu).
//
// The log-sum-exp in double: thread t of a chunk adds e^(logit - top of the chunk) of its tokens t,
// t + 256, ..; lanes in a tree of strides 16 .. 1, warps in order; lane l of the last kernel's
// first warp adds the chunks l, l + 32, .., each times e^(its top - the greatest), then again a
// tree.
#include "runtime/cuda/sampling.h"

#include "runtime/check.h"
#include "runtime/cuda/sampling_draw.cuh"
#include "runtime/exact_math.h"

namespace folkmoot::cuda {

using sampling::ChunkResult;
using sampling::SamplingArgs;

namespace sampling {
namespace {

constexpr int kWarps = kChunkThreads / kWarp;

__device__ inline bool IsFinite(float x) {
  return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

__global__ void ChunkKernel(SamplingArgs args) {
  FM_SHARED(float, tops, [kWarps]);
  FM_SHARED(int32_t, tokens, [kWarps]);
  FM_SHARED(double, sums, [kWarps]);
  const int64_t row = blockIdx.y;
  const float* logits = args.logits + row * args.stride;
  const int begin = static_cast<int>(blockIdx.x) * kChunk;
  const int end = min(begin + kChunk, args.vocab);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool writes = threadIdx.x % kWarp == 0;

  BestToken best = {-INFINITY, args.vocab};
  int finite = 1;
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kChunkThreads) {
    finite = finite != 0 && IsFinite(logits[i]) ? 1 : 0;
    best = BetterOf(best, {logits[i], i});
  }
  best = WarpBest(best);
  if (writes) {
    tops[warp] = best.logit;
    tokens[warp] = best.token;
  }
  finite = __syncthreads_and(finite);
  for (int w = 0; w < kWarps; ++w) best = BetterOf(best, {tops[w], tokens[w]});

  double sum = 0;
  if (finite != 0) {
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kChunkThreads) {
      sum = exact::Add(
          sum, exact::Exp(static_cast<double>(logits[i]) - static_cast<double>(best.logit)));
    }
  }
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    sum = exact::Add(sum, __shfl_xor_sync(kFullMask, sum, stride));
  }
  if (writes) sums[warp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kWarps; ++w) sum = exact::Add(sum, sums[w]);
  args.results[row * args.chunks + blockIdx.x] = {sum, best.logit, best.token, 1.0f, finite};
}

// Weights of a chunk, their sums by run, and the least of them.
__global__ void WeightKernel(SamplingArgs args) {
  FM_SHARED(float, weights, [kChunk]);
  FM_SHARED(float, least, [kWarps]);
  const int64_t row = blockIdx.y;
  const float temperature = args.rows[row].temperature;
  if (!(temperature > 0.0f)) return;
  ChunkResult* results = args.results + row * args.chunks;
  float top = -INFINITY;
  for (int c = static_cast<int>(threadIdx.x) % kWarp; c < args.chunks; c += kWarp) {
    top = fmaxf(top, results[c].top);
  }
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    top = fmaxf(top, __shfl_xor_sync(kFullMask, top, stride));
  }
  const int begin = static_cast<int>(blockIdx.x) * kChunk;
  const float* logits = args.logits + row * args.stride;
  float* to = args.weights + row * args.vocab;
  float smallest = 1.0f;
  for (int i = static_cast<int>(threadIdx.x); i < kChunk; i += kChunkThreads) {
    const bool inside = begin + i < args.vocab;
    const float weight = inside ? TokenWeight(logits[begin + i], top, temperature) : 0.0f;
    weights[i] = weight;
    if (inside) to[begin + i] = weight;
    if (weight > 0.0f) smallest = fminf(smallest, weight);
  }
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    smallest = fminf(smallest, __shfl_xor_sync(kFullMask, smallest, stride));
  }
  if (threadIdx.x % kWarp == 0) least[threadIdx.x / kWarp] = smallest;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kWarps; ++w) smallest = fminf(smallest, least[w]);
    results[blockIdx.x].least = smallest;
  }
  // One warp: four lanes to a run, by id mod 4. Beyond the vocabulary there are zeros.
  if (threadIdx.x >= kWarp) return;
  const int run = static_cast<int>(threadIdx.x) / 4;
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x) % 4; i < kRun; i += 4) {
    sum += static_cast<double>(weights[run * kRun + i]);
  }
  sum += __shfl_xor_sync(kFullMask, sum, 2);
  sum += __shfl_xor_sync(kFullMask, sum, 1);
  const int index = begin / kRun + run;
  if (threadIdx.x % 4 == 0 && index < args.runs) args.masses[row * args.runs + index] = sum;
}

int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

SamplingArgs Layout(int64_t vocab, int64_t count, void* scratch, int64_t* bytes) {
  SamplingArgs args = {};
  args.vocab = static_cast<int>(vocab);
  args.chunks = static_cast<int>((vocab + kChunk - 1) / kChunk);
  args.runs = static_cast<int>((vocab + kRun - 1) / kRun);
  const int64_t results = Aligned(count * args.chunks * static_cast<int64_t>(sizeof(ChunkResult)));
  const int64_t masses = Aligned(count * args.runs * static_cast<int64_t>(sizeof(double)));
  *bytes = results + masses + Aligned(count * vocab * static_cast<int64_t>(sizeof(float)));
  if (scratch == nullptr) return args;
  auto* data = static_cast<unsigned char*>(scratch);
  args.results = reinterpret_cast<ChunkResult*>(data);
  args.masses = reinterpret_cast<double*>(data + results);
  args.weights = reinterpret_cast<float*>(data + results + masses);
  return args;
}

}  // namespace
}  // namespace sampling

int64_t SampleScratchBytes(int64_t vocab, int count) {
  int64_t bytes = 0;
  sampling::Layout(vocab, count, nullptr, &bytes);
  return bytes;
}

void SampleRows(Stream& stream, const MatrixRef& logits, const SampleRow* rows, int count,
                void* scratch, SampledToken* out) {
  FM_CHECK(logits.dtype == DType::kF32 && logits.rows >= count && logits.cols > 0);
  FM_CHECK(logits.cols <= kMaxSampledVocab);
  if (count == 0) return;
  FM_CHECK(scratch != nullptr && rows != nullptr && out != nullptr);
  int64_t bytes = 0;
  SamplingArgs args = sampling::Layout(logits.cols, count, scratch, &bytes);
  args.logits = static_cast<const float*>(logits.data);
  args.stride = logits.stride;
  args.rows = rows;
  args.out = out;
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(args.chunks), static_cast<unsigned>(count)),
      .block = dim3(sampling::kChunkThreads)};
  Launch(stream, shape, sampling::ChunkKernel, args);
  Launch(stream, shape, sampling::WeightKernel, args);
  sampling::LaunchPick(stream, args, count);
}

}  // namespace folkmoot::cuda
