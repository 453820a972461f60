// SPDX-License-Identifier: Apache-2.0
// The last kernel of SampleRows: a block picks the token of a row. Filters and draw follow
// runtime/sampler.cc, sum by sum:
//   - which tokens top-k and top-p keep is found by descending on the bits of the weights, ten at a
//     time, with counts or masses as integers (weights of one bucket share an exponent), so no
//     order of additions shows. The CPU adds the masses inside the bucket of the cut one by one in
//     double; that is the same number as long as they reach down to 2^-29 of the sum. Weights below
//     2^-32 count in steps of 2^-74.
//   - the draw adds runs of 256 tokens by id mod 4, and walks over runs and tokens as the CPU does.
#include "runtime/cuda/sampling_draw.cuh"
#include "runtime/exact_math.h"
#include "runtime/random.h"

namespace folkmoot::cuda::sampling {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBits = 10;  // of a level of the descent
constexpr int kBins = 1 << kBits;
constexpr int kWeightBits = 30;     // weights are at most 1
constexpr float kLeast = 0x1p-32f;  // as in runtime/sampler.cc
constexpr int kTinyExponent = -74;  // unit of masses in a bucket below kLeast
using Amount = unsigned long long;  // what atomicAdd takes

// What is known of the row.
struct RowFacts {
  double log_sum_exp;
  BestToken best;
  float least;
  int32_t finite;
};

// The last kept token in the order of (weight descending, id ascending). Weight 0: none is cut.
struct LastKept {
  float weight;
  int32_t token;
};

// Where a descent ends: the first token at which base + unit * amounts reaches `wanted`.
struct Goal {
  double base;
  double unit;
  double wanted;
  __device__ bool Reached(Amount amount) const {
    const double sum = exact::Add(base, exact::Mul(static_cast<double>(amount), unit));
    return amount > 0 && sum >= wanted;  // one token at least
  }
};

// Weights whose bits are in low .. low + 2^width, below `limit`, and how their mass is counted.
struct BitRange {
  uint32_t low;
  uint32_t limit;
  int width;
  int exponent;  // of the unit: biased exponent of `low`, or -1: kTinyExponent; -2: tokens count 1
};

__device__ inline Amount AmountOf(uint32_t bits, int exponent) {
  if (exponent == -2) return 1;
  if (exponent == -1) {
    const double weight = static_cast<double>(__uint_as_float(bits));
    return static_cast<Amount>(exact::Mul(weight, exact::internal::PowerOf2(-kTinyExponent)));
  }
  return static_cast<Amount>((bits & 0x7fffffu) | 0x800000u)
         << (static_cast<int>(bits >> 23) - exponent);
}
__device__ inline double UnitOf(int exponent) {
  if (exponent == -2) return 1.0;
  return exact::internal::PowerOf2(exponent == -1 ? kTinyExponent : exponent - 150);
}

// Shared memory of the block besides the masses of runs.
struct PickMemory {
  Amount bins[kBins];
  double masses[kBins];
  Amount warp_amounts[kWarps];
  int32_t warp_counts[kWarps];
  float run[kRun];
  RowFacts facts;
  Goal goal;
  Amount before;   // amount above the found bin
  int32_t found;   // bin, bucket or token
  int32_t lowest;  // bin that is not empty
};

class RowPicker {
 public:
  __device__ RowPicker(const SamplingArgs& args, int row, PickMemory* memory)
      : args_(args),
        memory_(memory),
        weights_(args.weights + static_cast<int64_t>(row) * args.vocab),
        masses_(args.masses + static_cast<int64_t>(row) * args.runs),
        params_(args.rows[row]) {}

  __device__ int32_t Pick() {
    if (params_.top_k > 0 && params_.top_k < args_.vocab) {
      KeepRange({0, 1u << kWeightBits, kWeightBits, -2},
                {0.0, 1.0, static_cast<double>(params_.top_k)});
    }
    if (params_.top_p < 1.0f) KeepMass();
    return Draw();
  }

 private:
  __device__ bool Kept(float weight, int token) const {
    return weight > 0.0f &&
           (weight > cut_.weight || (weight == cut_.weight && token <= cut_.token));
  }
  // After all filters.
  __device__ float FinalWeight(int token) const {
    const float weight = weights_[token];
    if (!Kept(weight, token)) return 0.0f;
    if (!(params_.min_p > 0.0f)) return weight;
    if (token == memory_->facts.best.token) return 1.0f;
    return weight < params_.min_p ? 0.0f : weight;
  }

  // bins = amounts of the kept weights, by place(bits) (-1: nowhere).
  template <typename Place>
  __device__ void FillBins(const Place& place) {
    for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) memory_->bins[i] = 0;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < args_.vocab; i += kThreads) {
      const float weight = weights_[i];
      if (!Kept(weight, i)) continue;
      Amount amount = 0;
      const int bin = place(__float_as_uint(weight), &amount);
      if (bin >= 0) atomicAdd(&memory_->bins[bin], amount);
    }
    __syncthreads();
  }

  // The bin, from the greatest weights down, in which `goal` is reached after `before`.
  __device__ int FindBin(const Goal& goal, Amount before) {
    constexpr int kMine = kBins / kThreads;
    if (threadIdx.x == 0) {
      memory_->found = -1;
      memory_->lowest = kBins;
      memory_->before = before;
    }
    const int first = kBins - 1 - static_cast<int>(threadIdx.x) * kMine;
    Amount sum = 0;
    for (int i = 0; i < kMine; ++i) sum += memory_->bins[first - i];
    const Amount own = sum;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    for (int stride = 1; stride < kWarp; stride *= 2) {
      const Amount below = __shfl_up_sync(kFullMask, sum, static_cast<unsigned>(stride));
      if (lane >= stride) sum += below;
    }
    if (lane == kWarp - 1) memory_->warp_amounts[threadIdx.x / kWarp] = sum;
    __syncthreads();
    Amount above = before + sum - own;
    for (int w = 0; w < static_cast<int>(threadIdx.x) / kWarp; ++w) {
      above += memory_->warp_amounts[w];
    }
    for (int i = 0; i < kMine; ++i) {
      const Amount amount = memory_->bins[first - i];
      if (amount == 0) continue;
      atomicMin(&memory_->lowest, first - i);
      if (!goal.Reached(above) && goal.Reached(above + amount)) {
        memory_->found = first - i;
        memory_->before = above;
      }
      above += amount;
    }
    __syncthreads();
    // Rounding may leave the goal out of reach: then everything is kept.
    if (memory_->found < 0 && threadIdx.x == 0) memory_->found = memory_->lowest;
    __syncthreads();
    return memory_->found;
  }

  // Cuts behind the token of the range at which the goal is reached.
  __device__ void KeepRange(BitRange range, const Goal& goal) {
    Amount before = 0;
    while (true) {
      const int shift = range.width > kBits ? range.width - kBits : 0;
      FillBins([&](uint32_t bits, Amount* amount) {
        if (bits < range.low || bits >= range.limit || (bits - range.low) >> range.width != 0) {
          return -1;
        }
        *amount = AmountOf(bits, range.exponent);
        return static_cast<int>((bits - range.low) >> shift);
      });
      const int bin = FindBin(goal, before);
      if (bin == kBins) return;  // nothing weighs anything
      const Amount found = memory_->bins[bin];
      before = memory_->before;
      __syncthreads();
      range.low += static_cast<uint32_t>(bin) << shift;
      range.width = shift;
      if (shift == 0) {
        const Amount each = AmountOf(range.low, range.exponent);
        const Amount equal = each == 0 ? 1 : found / each;
        CutEqual(range.low, equal, Needed(goal, before, each, equal));
        return;
      }
    }
  }
  // How many of `equal` tokens of one weight it takes to reach the goal; all, if they do not.
  __device__ static Amount Needed(const Goal& goal, Amount before, Amount each, Amount equal) {
    Amount low = 1;
    Amount high = equal;
    while (low < high) {
      const Amount middle = (low + high) / 2;
      if (goal.Reached(before + middle * each)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  // Keeps the first `count` of the `equal` tokens of this weight, by id.
  __device__ void CutEqual(uint32_t bits, Amount equal, Amount count) {
    const float weight = __uint_as_float(bits);
    int32_t last = weight == cut_.weight ? cut_.token : args_.vocab;
    if (count < equal) last = FindEqual(weight, static_cast<int>(count));
    __syncthreads();
    cut_ = {weight, last};
  }
  // The id of the count-th token of this weight that is kept so far; each warp looks through a
  // segment of ids.
  __device__ int32_t FindEqual(float weight, int count) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int segment = ((args_.vocab + kWarps - 1) / kWarps + kWarp - 1) / kWarp * kWarp;
    const auto equals = [&](int at) {
      const int token = at + lane;
      return __ballot_sync(kFullMask,
                           token < args_.vocab && weights_[token] == weight && Kept(weight, token));
    };
    int mine = 0;
    for (int i = 0; i < segment; i += kWarp) mine += __popc(equals(warp * segment + i));
    if (lane == 0) memory_->warp_counts[warp] = mine;
    __syncthreads();
    int before = 0;
    for (int w = 0; w < warp; ++w) before += memory_->warp_counts[w];
    if (before < count && before + mine >= count) {
      for (int i = 0; before < count; i += kWarp) {
        const unsigned found = equals(warp * segment + i);
        const int rank = before + __popc(found & ((2u << lane) - 1));
        if ((found >> lane & 1u) != 0 && rank == count) {
          memory_->found = warp * segment + i + lane;
        }
        before += __popc(found);
      }
    }
    __syncthreads();
    return memory_->found;
  }

  // Top-p: Sampler::KeepMass.
  __device__ void KeepMass() {
    const float least = cut_.weight > 0.0f ? cut_.weight : memory_->facts.least;
    const bool tiny = least < kLeast;
    const uint32_t low = __float_as_uint(tiny ? kLeast : least);
    const uint32_t range = __float_as_uint(1.0f) - low;
    const int width = 32 - __clz(static_cast<int>(range));
    const int shift = width > kBits ? width - kBits : 0;
    const auto exponent = [&](int bucket) {
      if (bucket == 0 && tiny) return -1;
      return static_cast<int>((low + (static_cast<uint32_t>(bucket) << shift)) >> 23);
    };
    FillBins([&](uint32_t bits, Amount* amount) {
      const int bucket = bits <= low ? 0 : static_cast<int>((bits - low) >> shift);
      *amount = AmountOf(bits, exponent(bucket));
      return bucket;
    });
    for (int b = static_cast<int>(threadIdx.x); b < kBins; b += kThreads) {
      memory_->masses[b] = static_cast<double>(memory_->bins[b]) * UnitOf(exponent(b));
    }
    __syncthreads();
    if (threadIdx.x == 0) FindBucket();
    __syncthreads();
    const int bucket = memory_->found;
    Goal goal = memory_->goal;
    __syncthreads();
    if (bucket < 0) return;
    goal.unit = UnitOf(exponent(bucket));
    const uint32_t begin = low + (static_cast<uint32_t>(bucket) << shift);
    if (bucket == 0 && tiny) {
      KeepRange({0, low + (1u << shift), kWeightBits, -1}, goal);
    } else {
      KeepRange({begin, begin + (1u << shift), shift, exponent(bucket)}, goal);
    }
  }
  // The bucket in which the wanted mass is reached; one thread, in the order of the CPU.
  __device__ void FindBucket() {
    double total = 0;
    for (int b = kBins - 1; b >= 0; --b) total += memory_->masses[b];
    const double wanted = exact::Mul(static_cast<double>(params_.top_p), total);
    double mass = 0;
    memory_->found = -1;
    for (int b = kBins - 1; b >= 0; --b) {
      const double more = memory_->masses[b];
      if (more == 0) continue;
      if (mass + more < wanted) {
        mass += more;
        continue;
      }
      memory_->found = b;
      break;
    }
    memory_->goal = {mass, 0.0, wanted};
  }

  // Sampler::Draw.
  __device__ int32_t Draw() {
    auto* masses = reinterpret_cast<double*>(DynamicShared());
    SumRuns(masses);
    __syncthreads();
    if (threadIdx.x == 0) FindRun(masses);
    __syncthreads();
    const int begin = memory_->found * kRun;
    const int end = min(begin + kRun, args_.vocab);
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
      memory_->run[i - begin] = FinalWeight(i);
    }
    __syncthreads();
    int32_t token = 0;
    if (threadIdx.x == 0) {
      double remaining = memory_->goal.wanted;
      for (int i = begin; i < end; ++i) {
        const float weight = memory_->run[i - begin];
        if (weight == 0.0f) continue;
        token = i;
        remaining -= static_cast<double>(weight);
        if (remaining < 0) break;
      }
    }
    return token;
  }
  __device__ void SumRuns(double* masses) {
    if (cut_.weight == 0.0f && !(params_.min_p > 0.0f)) {
      for (int r = static_cast<int>(threadIdx.x); r < args_.runs; r += kThreads) {
        masses[r] = masses_[r];
      }
      return;
    }
    // Four lanes to a run, by id mod 4.
    const int lane = static_cast<int>(threadIdx.x) % 4;
    for (int base = 0; base < args_.runs; base += kThreads / 4) {
      const int run = base + static_cast<int>(threadIdx.x) / 4;
      const int end = min((run + 1) * kRun, args_.vocab);
      double sum = 0;
      for (int i = run * kRun + lane; i < end; i += 4) sum += static_cast<double>(FinalWeight(i));
      sum += __shfl_xor_sync(kFullMask, sum, 2);
      sum += __shfl_xor_sync(kFullMask, sum, 1);
      if (lane == 0 && run < args_.runs) masses[run] = sum;
    }
  }
  __device__ void FindRun(const double* masses) {
    double total = 0;
    int last = 0;
    for (int r = 0; r < args_.runs; ++r) {
      total += masses[r];
      if (masses[r] > 0) last = r;
    }
    const DrawKey key = {.seed = params_.seed,
                         .position = static_cast<uint32_t>(params_.position),
                         .purpose = DrawPurpose::kSample};
    const float uniform = ToUnit(UncheckedDrawWord(key, 0));
    double remaining = exact::Mul(static_cast<double>(uniform), total);
    int run = 0;
    while (run < last && remaining >= masses[run]) remaining -= masses[run++];
    memory_->found = run;
    memory_->goal.wanted = remaining;
  }

  const SamplingArgs& args_;
  PickMemory* memory_;
  const float* weights_;
  const double* masses_;
  SampleRow params_;
  LastKept cut_ = {0.0f, 0};
};

// One warp: what the chunks of a row have found, together.
__device__ RowFacts JoinChunks(const ChunkResult* results, int chunks) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  RowFacts facts = {0.0, {-INFINITY, 0x7fffffff}, 1.0f, 1};
  for (int c = lane; c < chunks; c += kWarp) {
    facts.best = BetterOf(facts.best, {results[c].top, results[c].best});
    facts.least = fminf(facts.least, results[c].least);
    facts.finite = facts.finite & results[c].finite;
  }
  facts.best = WarpBest(facts.best);
  facts.finite = __all_sync(kFullMask, facts.finite);
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    facts.least = fminf(facts.least, __shfl_xor_sync(kFullMask, facts.least, stride));
  }
  double sum = 0;
  for (int c = lane; c < chunks && facts.finite != 0; c += kWarp) {
    const double below =
        static_cast<double>(results[c].top) - static_cast<double>(facts.best.logit);
    sum = exact::Add(sum, exact::Mul(results[c].exp_sum, exact::Exp(below)));
  }
  for (int stride = kWarp / 2; stride > 0; stride /= 2) {
    sum = exact::Add(sum, __shfl_xor_sync(kFullMask, sum, stride));
  }
  facts.log_sum_exp = static_cast<double>(facts.best.logit) + exact::Log(sum);
  return facts;
}

__global__ void __launch_bounds__(kThreads) PickKernel(SamplingArgs args) {
  FM_SHARED(PickMemory, memory, );
  const int row = static_cast<int>(blockIdx.x);
  if (threadIdx.x < kWarp) {
    const RowFacts facts =
        JoinChunks(args.results + static_cast<int64_t>(row) * args.chunks, args.chunks);
    if (threadIdx.x == 0) memory.facts = facts;
  }
  __syncthreads();
  const RowFacts facts = memory.facts;
  SampledToken result;
  result.top_logit = facts.best.logit;
  result.finite = facts.finite != 0 ? 1 : 0;
  if (facts.finite != 0) {
    result.token = facts.best.token;
    if (args.rows[row].temperature > 0.0f) result.token = RowPicker(args, row, &memory).Pick();
  }
  if (threadIdx.x != 0) return;
  if (facts.finite != 0) {
    const float logit = args.logits[row * args.stride + result.token];
    result.logprob = static_cast<float>(static_cast<double>(logit) - facts.log_sum_exp);
  }
  args.out[row] = result;
}

}  // namespace

void LaunchPick(Stream& stream, const SamplingArgs& args, int count) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(count)),
                             .block = dim3(kThreads),
                             .shared_bytes = static_cast<size_t>(args.runs) * sizeof(double)};
  Launch(stream, shape, PickKernel, args);
}

}  // namespace folkmoot::cuda::sampling
