// SPDX-License-Identifier: Apache-2.0
// Copies and lists; the only arithmetic is on counts. Main kernels: ListExactKernel (a stable
// compaction per part), ExpandRowsKernel, PlaceReturnedKernel.
#include "runtime/cuda/exchange.h"

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"

namespace folkmoot::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowThreads = 128;
constexpr int kWarps = kThreads / kWarp;

unsigned Blocks(int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }

// Host memory: the host may look at any time.
__device__ void Tell(ExchangeProgress* progress, int layer, int phase) {
  volatile ExchangeProgress* told = progress;
  told->layer = layer;
  told->phase = phase;
}

__device__ void CopyRow(const void* from, void* to, int64_t bytes) {
  const auto* source = static_cast<const uint4*>(from);
  auto* target = static_cast<uint4*>(to);
  for (int64_t i = threadIdx.x; i < bytes / 16; i += blockDim.x) target[i] = source[i];
}

// -1: nobody; choices of experts that do not exist go nowhere.
__device__ int PartOf(const PartTable& table, const RoutingRef& routing, int64_t choice) {
  const int32_t expert = routing.expert[choice];
  if (routing.action[choice] != 1 || expert < 0 || expert >= table.experts) return -1;
  return table.part_of[expert];
}

__global__ void PackFixedKernel(RoutingRef routing, ExchangeHeader header, int64_t* round,
                                ExchangeProgress* progress, void* block) {
  const int64_t choice = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (choice == 0) {
    header.round = *round + 1;
    *round = header.round;
    *static_cast<ExchangeHeader*>(block) = header;
    Tell(progress, header.layer, 1);
  }
  if (choice >= header.choices) return;
  auto* choices = reinterpret_cast<FixedChoice*>(static_cast<ExchangeHeader*>(block) + 1);
  const bool kept = routing.action[choice] == 1;
  choices[choice] = {kept ? routing.expert[choice] : -1, kept ? routing.weight[choice] : 0.0f};
}

__device__ bool SamePlan(const ExchangeHeader& a, const ExchangeHeader& b) {
  return a.round == b.round && a.layer == b.layer && a.hidden == b.hidden &&
         a.placement == b.placement && a.k == b.k && a.rows == b.rows;
}

struct FixedBlocks {
  const unsigned char* data;
  int64_t bytes;  // of one
  int64_t choices;
  int parts;
};

__global__ void UnpackFixedKernel(FixedBlocks blocks, ExchangeHeader header, const int64_t* round,
                                  int experts, ExchangeVerdict* verdict, ExchangeProgress* progress,
                                  RoutingRef out) {
  const int64_t choice = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (choice == 0) {
    header.round = *round;
    Tell(progress, header.layer, 2);
    for (int part = 0; part < blocks.parts && verdict->differs == 0; ++part) {
      const auto& theirs =
          *reinterpret_cast<const ExchangeHeader*>(blocks.data + part * blocks.bytes);
      if (SamePlan(theirs, header)) continue;
      verdict->differs = part + 1;
      verdict->theirs = theirs;
      verdict->mine = header;
    }
  }
  if (choice >= blocks.choices * blocks.parts) return;
  const int64_t part = choice / blocks.choices;
  const auto* choices = reinterpret_cast<const FixedChoice*>(blocks.data + part * blocks.bytes +
                                                             sizeof(ExchangeHeader));
  const FixedChoice one = choices[choice - part * blocks.choices];
  if (one.expert >= experts) verdict->strange = static_cast<int32_t>(part) + 1;
  const bool kept = one.expert >= 0 && one.expert < experts;
  out.expert[choice] = kept ? one.expert : 0;
  out.weight[choice] = kept ? one.weight : 0.0f;
  out.action[choice] = kept ? 1 : 0;
}

struct Pair {
  int rows;
  int choices;
};

// Sum over the threads before this one; `total` over all. Two barriers; the shared memory may be
// used again after the next barrier of the caller.
__device__ Pair ScanBlock(Pair mine, Pair* shared, Pair* total) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  Pair sum = mine;
  for (int step = 1; step < kWarp; step *= 2) {
    const int rows = __shfl_up_sync(kFullMask, sum.rows, static_cast<unsigned>(step));
    const int choices = __shfl_up_sync(kFullMask, sum.choices, static_cast<unsigned>(step));
    if (lane >= step) sum = {sum.rows + rows, sum.choices + choices};
  }
  __syncthreads();
  if (lane == kWarp - 1) shared[warp] = sum;
  __syncthreads();
  Pair before = {0, 0};
  *total = {0, 0};
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = *total;
    *total = {total->rows + shared[w].rows, total->choices + shared[w].choices};
  }
  return {before.rows + sum.rows - mine.rows, before.choices + sum.choices - mine.choices};
}

// One block for each part: it walks over the rows in tiles of a row per thread.
__global__ void ListExactKernel(PartTable table, RoutingRef routing, ExchangeHeader header,
                                ExchangeProgress* progress, ExactLists lists) {
  FM_SHARED(Pair, shared, [kWarps]);
  const int part = static_cast<int>(blockIdx.x);
  const int64_t all_choices = int64_t{routing.rows} * routing.k;
  int32_t* rows = lists.rows + int64_t{part} * routing.rows;
  ExactChoice* choices = lists.choices + part * all_choices;
  Pair done = {0, 0};
  for (int first = 0; first < routing.rows; first += kThreads) {
    const int row = first + static_cast<int>(threadIdx.x);
    const int64_t begin = int64_t{row} * routing.k;
    Pair mine = {0, 0};
    for (int j = 0; row < routing.rows && j < routing.k; ++j) {
      if (PartOf(table, routing, begin + j) == part) ++mine.choices;
    }
    mine.rows = mine.choices > 0 ? 1 : 0;
    Pair tile;
    const Pair before = ScanBlock(mine, shared, &tile);
    if (mine.rows > 0) {
      const int row_place = done.rows + before.rows;
      int place = done.choices + before.choices;
      rows[row_place] = row;
      for (int j = 0; j < routing.k; ++j) {
        const int64_t choice = begin + j;
        if (PartOf(table, routing, choice) != part) continue;
        lists.index[choice] = place;
        choices[place++] = {row_place, routing.expert[choice], routing.weight[choice]};
      }
    }
    done = {done.rows + tile.rows, done.choices + tile.choices};
  }
  if (threadIdx.x == 0) {
    header.rows = done.rows;
    header.choices = done.choices;
    lists.headers[part] = header;
    if (part == 0) Tell(progress, header.layer, 1);
  }
}

// Whose list the i-th entry of lists laid side by side belongs to, and its index there. The list of
// `without` (-1: none) is left out. `rows`: of rows, not choices.
struct Place {
  int part;
  int64_t index;
};
__device__ Place Find(const ExchangeHeader* headers, int parts, int without, bool rows, int64_t i) {
  for (int part = 0; part < parts; ++part) {
    if (part == without) continue;
    const int64_t count = rows ? headers[part].rows : headers[part].choices;
    if (i < count) return {part, i};
    i -= count;
  }
  return {-1, 0};
}

struct RowsRef {
  const unsigned char* data;
  int64_t stride;  // bytes
  int64_t bytes;   // of a row
  int rows;

  __device__ const unsigned char* At(int64_t row) const { return data + row * stride; }
};

__global__ void PackRowsKernel(PartTable table, RowsRef x, ExactLists lists, unsigned char* to) {
  const int64_t i = blockIdx.x;
  const Place place = Find(lists.headers, table.parts, table.self, /*rows=*/true, i);
  if (place.part < 0) return;
  const int32_t row = lists.rows[int64_t{place.part} * x.rows + place.index];
  CopyRow(x.At(row), to + i * x.bytes, x.bytes);
}

__global__ void ExpandRowsKernel(PartTable table, RowsRef x, ExactLists lists,
                                 ExactArrivals arrivals, ExchangeVerdict* verdict,
                                 ExchangeProgress* progress, unsigned char* to, RoutingRef out) {
  const int64_t i = blockIdx.x;
  if (i == 0 && threadIdx.x == 0) Tell(progress, arrivals.headers[0].layer, 2);
  const Place place = Find(arrivals.headers, table.parts, -1, /*rows=*/false, i);
  const ExactChoice choice = arrivals.choices[i];
  const bool good = place.part >= 0 && choice.expert >= 0 && choice.expert < table.experts &&
                    choice.row >= 0 && choice.row < arrivals.headers[place.part].rows;
  if (threadIdx.x == 0) {
    if (!good) verdict->strange = place.part + 1;
    out.expert[i] = good ? choice.expert : 0;
    out.weight[i] = good ? choice.weight : 0.0f;
    out.action[i] = good ? 1 : 0;
  }
  if (!good) return;
  const unsigned char* from = nullptr;
  if (place.part == table.self) {
    from = x.At(lists.rows[int64_t{table.self} * x.rows + choice.row]);
  } else {
    int64_t row = choice.row;
    for (int part = 0; part < place.part; ++part) {
      if (part != table.self) row += arrivals.headers[part].rows;
    }
    from = static_cast<const unsigned char*>(arrivals.rows) + row * x.bytes;
  }
  CopyRow(from, to + i * x.bytes, x.bytes);
}

__global__ void PlaceReturnedKernel(PartTable table, RoutingRef routing, const float* returned,
                                    const int32_t* index, const ExchangeHeader* headers,
                                    int64_t hidden, ExchangeProgress* progress,
                                    float* expert_rows) {
  const int64_t choice = blockIdx.x;
  if (choice == 0 && threadIdx.x == 0) Tell(progress, -1, 0);
  const int part = PartOf(table, routing, choice);
  if (part < 0) return;
  int64_t row = choice;
  if (headers == nullptr) {
    row += int64_t{part} * routing.rows * routing.k;
  } else {
    row = index[choice];
    for (int before = 0; before < part; ++before) row += headers[before].choices;
  }
  CopyRow(returned + row * hidden, expert_rows + choice * hidden, hidden * 4);
}

RowsRef RowsOf(const MatrixRef& x) {
  const int64_t element = DTypeBytes(x.dtype);
  FM_CHECK(x.cols * element % 16 == 0 && x.stride * element % 16 == 0);
  return {static_cast<const unsigned char*>(x.data), x.stride * element, x.cols * element,
          static_cast<int>(x.rows)};
}

}  // namespace

void PackFixed(Stream& stream, const RoutingRef& routing, const ExchangeHeader& header,
               int64_t* round, ExchangeProgress* progress, void* block) {
  FM_CHECK(header.rows == routing.rows && header.k == routing.k && routing.rows > 0);
  FM_CHECK(header.choices == int64_t{routing.rows} * routing.k);
  Launch(stream, {.grid = dim3(Blocks(header.choices)), .block = dim3(kThreads)}, &PackFixedKernel,
         routing, header, round, progress, block);
}

void UnpackFixed(Stream& stream, const PartTable& table, const ExchangeHeader& header,
                 const int64_t* round, const void* blocks, ExchangeVerdict* verdict,
                 ExchangeProgress* progress, const RoutingRef& out) {
  FM_CHECK(out.rows == header.rows * table.parts && out.k == header.k && header.rows > 0);
  const FixedBlocks ref = {static_cast<const unsigned char*>(blocks),
                           FixedBlockBytes(header.rows, header.k), header.choices, table.parts};
  Launch(stream, {.grid = dim3(Blocks(header.choices * table.parts)), .block = dim3(kThreads)},
         &UnpackFixedKernel, ref, header, round, table.experts, verdict, progress, out);
}

void ListExact(Stream& stream, const PartTable& table, const RoutingRef& routing,
               const ExchangeHeader& header, ExchangeProgress* progress, const ExactLists& lists) {
  Launch(stream, {.grid = dim3(static_cast<unsigned>(table.parts)), .block = dim3(kThreads)},
         &ListExactKernel, table, routing, header, progress, lists);
}

void PackRows(Stream& stream, const PartTable& table, const MatrixRef& x, const ExactLists& lists,
              int64_t total, void* to) {
  if (total == 0) return;
  Launch(stream, {.grid = dim3(static_cast<unsigned>(total)), .block = dim3(kRowThreads)},
         &PackRowsKernel, table, RowsOf(x), lists, static_cast<unsigned char*>(to));
}

void ExpandRows(Stream& stream, const PartTable& table, const MatrixRef& x, const ExactLists& lists,
                const ExactArrivals& arrivals, ExchangeVerdict* verdict, ExchangeProgress* progress,
                void* to, const RoutingRef& out) {
  FM_CHECK(out.k == 1 && out.rows == arrivals.total);
  if (arrivals.total == 0) return;
  Launch(stream, {.grid = dim3(static_cast<unsigned>(arrivals.total)), .block = dim3(kRowThreads)},
         &ExpandRowsKernel, table, RowsOf(x), lists, arrivals, verdict, progress,
         static_cast<unsigned char*>(to), out);
}

void PlaceReturned(Stream& stream, const PartTable& table, const RoutingRef& routing,
                   const float* returned, const ExactLists* lists, int64_t hidden,
                   ExchangeProgress* progress, float* expert_rows) {
  const int64_t choices = int64_t{routing.rows} * routing.k;
  FM_CHECK(hidden % 4 == 0);
  if (choices == 0) return;
  Launch(stream, {.grid = dim3(static_cast<unsigned>(choices)), .block = dim3(kRowThreads)},
         &PlaceReturnedKernel, table, routing, returned, lists == nullptr ? nullptr : lists->index,
         lists == nullptr ? nullptr : lists->headers, hidden, progress, expert_rows);
}

}  // namespace folkmoot::cuda
