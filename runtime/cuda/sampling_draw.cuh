// SPDX-License-Identifier: Apache-2.0
// What the kernels of SampleRows share: their arguments, and the weights of tokens, which have the
// bits of runtime/cpu/softmax.cc.
#pragma once

#include <cstdint>

#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/sampling.h"

namespace folkmoot::cuda::sampling {

constexpr int kRun = 256;  // tokens whose weights are added up together, as in runtime/sampler.cc
constexpr int kChunk = 2048;  // tokens of a block that reads logits
constexpr int kChunkThreads = 256;

// What one block found in its chunk of a row.
struct ChunkResult {
  double exp_sum;  // of e^(logit - top), see AddChunk
  float top;
  int32_t best;  // where it is; the lowest id
  float least;   // least weight above 0, at most 1
  int32_t finite;
};

struct SamplingArgs {
  const float* logits;
  int64_t stride;
  int vocab;
  int chunks;
  int runs;
  const SampleRow* rows;
  SampledToken* out;
  ChunkResult* results;  // [count, chunks]
  double* masses;        // [count, runs] sums of weights
  float* weights;        // [count, vocab]
};

// e^x as runtime/cpu/simd-inl.h computes it, operation by operation.
__device__ inline float ExpAsOnCpu(float x) {
  const float clamped = fminf(fmaxf(x, -104.0f), 89.0f);
  const float magic = 12582912.0f;
  const float shifted = __fmaf_rn(clamped, 1.44269504088896341f, magic);
  const int n = __float_as_int(shifted) - __float_as_int(magic);
  const float nf = __fsub_rn(shifted, magic);
  float r = __fmaf_rn(nf, -0.693359375f, clamped);
  r = __fmaf_rn(nf, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = __fmaf_rn(p, r, 1.3981999507e-3f);
  p = __fmaf_rn(p, r, 8.3334519073e-3f);
  p = __fmaf_rn(p, r, 4.1665795894e-2f);
  p = __fmaf_rn(p, r, 1.6666665459e-1f);
  p = __fmaf_rn(p, r, 5.0000001201e-1f);
  p = __fmaf_rn(p, __fmul_rn(r, r), r);
  p = __fadd_rn(p, 1.0f);
  const int half = n >> 1;
  const float y = __fmul_rn(__fmul_rn(p, __int_as_float((half + 127) << 23)),
                            __int_as_float((n - half + 127) << 23));
  return x < -104.0f ? 0.0f : y;
}
__device__ inline float TokenWeight(float logit, float top, float temperature) {
  return ExpAsOnCpu(__fdiv_rn(__fsub_rn(logit, top), temperature));
}

// The greatest logit of a row and its lowest id, from those of its chunks.
struct BestToken {
  float logit;
  int32_t token;
};
__device__ inline BestToken BetterOf(BestToken a, BestToken b) {
  const bool second = b.logit > a.logit || (b.logit == a.logit && b.token < a.token);
  return second ? b : a;
}
__device__ inline BestToken WarpBest(BestToken best) {
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    const BestToken other = {__shfl_xor_sync(kFullMask, best.logit, stride),
                             __shfl_xor_sync(kFullMask, best.token, stride)};
    best = BetterOf(best, other);
  }
  return best;
}

void LaunchPick(Stream& stream, const SamplingArgs& args, int count);

}  // namespace folkmoot::cuda::sampling
