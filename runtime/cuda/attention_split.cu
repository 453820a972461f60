// SPDX-License-Identifier: Apache-2.0
// Attention of few query rows, 16-bit elements: a block takes up to 16 rows (the heads of a group,
// one or several positions) and one piece of the keys; the block that finishes the last piece of
// its rows merges all of them. Where there are more rows than scratch, a block walks over all
// pieces.
//
// Reads of keys and values are what it costs. A chunk of them, a whole piece if it fits, is in
// flight at once by cp.async; the next chunk's keys, of the next item too, follow as soon as the
// scores are computed, its values as soon as the sums are. A block that starts while the kernel
// before it still runs (LaunchShape::overlap) fetches what earlier steps stored without waiting.
#include "runtime/cuda/attention_merge.cuh"
#include "runtime/cuda/attention_split_block.cuh"

namespace folkmoot::cuda::attention {
namespace {

// A chunk of the keys of an item.
struct SplitChunk {
  int number;  // of the item
  AttentionItem item;
  SeenKeys keys;  // of the item
  int begin;      // tiles of the item
  int end;
  int tile;  // the chunk's first one, a multiple of its length
};

template <typename T, int kDim, int kChunk>
class SplitBlock {
 public:
  using Tiles = SplitTiles<T, kDim, kChunk>;

  __device__ SplitBlock(const AttentionArgs& args, const Tiles& tiles, SplitNotes<kChunk>* notes)
      : args_(args), tiles_(tiles), notes_(notes), sums_(args, tiles, notes) {}

  __device__ void Run() {
    SplitChunk now;
    const bool some = args_.direct_pieces > 0 ? BeginDirect(&now) : BeginPlanned(&now);
    if (!some) {
      GridDependencyWait();
      return;
    }
    FetchFirst(now);
    sums_.Begin(now.item);
    for (;;) {
      SplitChunk next = now;
      const bool more = Advance(&next);
      const bool other = more && next.number != now.number;
      CpAsyncWait<1>();
      __syncthreads();
      const int64_t row = more ? RowOfKey(next, PageOf(next)) : -1;
      sums_.Score(First(now), End(now), now.tile * kTileKeys);
      if (threadIdx.x < Tiles::kKeys) notes_->rows[threadIdx.x] = row;
      __syncthreads();
      if (other) FetchQueries(FindQueries(next.item));
      if (more) Fetch(args_.keys, First(next) * kTileKeys, End(next) * kTileKeys, tiles_.keys);
      CpAsyncCommit();
      sums_.Weigh(First(now), End(now));
      CpAsyncWait<1>();
      __syncthreads();
      sums_.Sum(First(now), End(now));
      const bool item_ends = now.tile + kChunk >= now.end;
      const bool piece_ends = item_ends || (now.tile + kChunk) % kTilesOfPiece == 0;
      if (piece_ends) sums_.AddLanes();
      __syncthreads();
      if (more) Fetch(args_.values, First(next) * kTileKeys, End(next) * kTileKeys, tiles_.values);
      CpAsyncCommit();
      if (piece_ends) FinishPiece(now.item, item_ends);
      if (!more) break;
      if (other) sums_.Begin(next.item);
      now = next;
    }
    CpAsyncWait<0>();
  }

 private:
  // Slots of a chunk that hold tiles.
  __device__ static int First(const SplitChunk& chunk) { return max(chunk.begin - chunk.tile, 0); }
  __device__ static int End(const SplitChunk& chunk) { return min(chunk.end - chunk.tile, kChunk); }

  __device__ void BeginItem(const AttentionItem& item, int number, SplitChunk* chunk) const {
    chunk->number = number;
    chunk->item = item;
    chunk->keys = KeysOfTile(args_, item, kSplitRows);
    chunk->begin = max(item.begin_piece * kTilesOfPiece, chunk->keys.begin / kTileKeys);
    chunk->end = min(item.end_piece * kTilesOfPiece, CeilDiv(chunk->keys.end, kTileKeys));
    chunk->tile = chunk->begin / kChunk * kChunk;
  }
  __device__ bool BeginPlanned(SplitChunk* chunk) {
    work_ = PlanSplit(args_, tiles_.plan);
    const int number = static_cast<int>(blockIdx.x);
    if (number >= work_.items) return false;
    BeginItem(ItemOf(args_, work_, number), number, chunk);
    StoreRow(RowOfKey(*chunk, PageOf(*chunk)));
    return true;
  }
  // As BeginPlanned; the pages are asked for together with what says whether there is an item.
  __device__ bool BeginDirect(SplitChunk* chunk) {
    const int number = static_cast<int>(blockIdx.x);
    const AttentionItem item = DirectItem(args_, number);
    chunk->item.sequence = item.sequence;
    chunk->tile = item.begin_piece * kTilesOfPiece;
    const int guess = chunk->tile;
    const int32_t page = PageOf(*chunk);
    if (item.query_rows == 0) return false;
    BeginItem(item, number, chunk);
    StoreRow(RowOfKey(*chunk, chunk->tile == guess ? page : PageOf(*chunk)));
    return true;
  }
  __device__ bool Advance(SplitChunk* chunk) const {
    chunk->tile += kChunk;
    if (chunk->tile < chunk->end) return true;
    const int number = chunk->number + static_cast<int>(gridDim.x);
    if (number >= work_.items) return false;
    BeginItem(ItemOf(args_, work_, number), number, chunk);
    return true;
  }

  // Each thread looks up one key of a chunk: its page, and its CacheRow.
  __device__ static int Position(const SplitChunk& chunk) {
    return chunk.tile * kTileKeys + static_cast<int>(threadIdx.x) % Tiles::kKeys;
  }
  __device__ int32_t PageOf(const SplitChunk& chunk) const {
    const StepSequences& sequences = args_.sequences;
    const int page = Position(chunk) / args_.block_size;
    if (page >= sequences.block_stride) return 0;
    return sequences
        .blocks[static_cast<int64_t>(chunk.item.sequence) * sequences.block_stride + page];
  }
  __device__ int64_t RowOfKey(const SplitChunk& chunk, int32_t page) const {
    const int position = Position(chunk);
    if (position < chunk.keys.begin || position >= chunk.keys.end) return -1;
    const int64_t head = static_cast<int64_t>(page) * args_.kv_heads + chunk.item.kv_head;
    return (head * args_.block_size + position % args_.block_size) * args_.dim;
  }
  __device__ void StoreRow(int64_t row) {
    if (threadIdx.x < Tiles::kKeys) notes_->rows[threadIdx.x] = row;
  }

  // Keys (or values) first .. end of the chunk whose rows are noted. A thread stays in its columns.
  __device__ void Fetch(const void* pages, int first, int end, T* to) {
    constexpr int kKeyStep = kSplitThreads / Tiles::kRowThreads;
    const int column = static_cast<int>(threadIdx.x) % Tiles::kRowThreads * 8;
    const T* from = static_cast<const T*>(pages) + column;
    const int left = args_.dim - column;
#pragma unroll 4
    for (int key = first + static_cast<int>(threadIdx.x) / Tiles::kRowThreads; key < end;
         key += kKeyStep) {
      const int64_t row = notes_->rows[key];
      T* place = to + key * kTileStride<kDim> + column;
#pragma unroll
      for (int i = 0; i < kDim; i += Tiles::kRowThreads * 8) {
        const bool valid = row >= 0 && i < left;
        CpAsync16(place + i, valid ? from + row + i : from, valid);
      }
    }
  }
  // The elements of q that this thread fetches, null where there are none. Found before the kernel
  // that writes q has ended.
  struct QueryPlaces {
    static constexpr int kParts = kDim / 8;
    static constexpr int kCount = (kSplitRows * kParts + kSplitThreads - 1) / kSplitThreads;
    const T* from[kCount];
  };
  __device__ QueryPlaces FindQueries(const AttentionItem& item) const {
    QueryPlaces places;
#pragma unroll
    for (int j = 0; j < QueryPlaces::kCount; ++j) {
      const int i = static_cast<int>(threadIdx.x) + j * kSplitThreads;
      const int column = i % QueryPlaces::kParts * 8;
      const QueryRow row = RowIn(args_, item, item.span, i / QueryPlaces::kParts);
      places.from[j] = nullptr;
      if (row.row < 0 || column >= args_.dim) continue;
      places.from[j] =
          static_cast<const T*>(args_.q) + row.row * args_.q_stride + row.head * args_.dim + column;
    }
    return places;
  }
  // All 16 rows, zero where there is none.
  __device__ void FetchQueries(const QueryPlaces& places) {
#pragma unroll
    for (int j = 0; j < QueryPlaces::kCount; ++j) {
      const int i = static_cast<int>(threadIdx.x) + j * kSplitThreads;
      if (i >= kSplitRows * QueryPlaces::kParts) continue;
      T* to = tiles_.q + i / QueryPlaces::kParts * kTileStride<kDim> + i % QueryPlaces::kParts * 8;
      const bool valid = places.from[j] != nullptr;
      CpAsync16(to, valid ? places.from[j] : static_cast<const T*>(args_.q), valid);
    }
  }
  // What this step stores (and q) is there after GridDependencyWait, all else before.
  __device__ void FetchFirst(const SplitChunk& chunk) {
    const int first = First(chunk) * kTileKeys;
    const int end = End(chunk) * kTileKeys;
    const int start = chunk.item.span.start - chunk.tile * kTileKeys;
    const int stored = min(max(start, first), max(first, end));
    __syncthreads();
    Fetch(args_.keys, first, stored, tiles_.keys);
    CpAsyncCommit();
    Fetch(args_.values, first, stored, tiles_.values);
    CpAsyncCommit();
    const QueryPlaces places = FindQueries(chunk.item);
    GridDependencyWait();
    FetchQueries(places);
    Fetch(args_.keys, stored, end, tiles_.keys);
    CpAsyncCommit();
    Fetch(args_.values, stored, end, tiles_.values);
    CpAsyncCommit();
  }

  __device__ void FinishPiece(const AttentionItem& item, bool item_ends) {
    if (item.slot >= 0) {
      sums_.StorePiece(item.slot);
      FinishSplit<T, kSplitThreads>(args_, item);
      return;
    }
    sums_.MergePiece();
    if (item_ends) sums_.StoreResult();
  }

  const AttentionArgs& args_;
  const Tiles& tiles_;
  SplitNotes<kChunk>* notes_;
  SplitWork work_ = {};
  SplitSums<T, kDim, kChunk> sums_;
};

template <typename T, int kDim, int kChunk>
__global__ void __launch_bounds__(kSplitThreads, 1) SplitKernel(const AttentionArgs args) {
  static_assert(sizeof(SplitNotes<kChunk>) + kMergeSharedBytes <= kSplitDeclaredBytes);
  GridDependencyLaunch();
  FM_SHARED(SplitNotes<kChunk>, notes, );
  const SplitTiles<T, kDim, kChunk> tiles(DynamicShared());
  SplitBlock<T, kDim, kChunk>(args, tiles, &notes).Run();
}

template <typename T, int kDim, int kChunk>
void LaunchSplitOf(Stream& stream, const AttentionArgs& args, int blocks) {
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned>(blocks)),
      .block = dim3(kSplitThreads),
      .shared_bytes = SplitSharedBytes(args.dim, kChunk, args.sequences.sequences),
      .overlap = true};
  Launch(stream, shape, SplitKernel<T, kDim, kChunk>, args);
}

// Calls f with the padded head size and the chunk as constants.
template <typename F>
void WithShape(int dim, int chunk, F f) {
  WithPaddedDim(dim, [&](auto padded) {
    constexpr int kGreater = SplitChunks(padded())[0];
    constexpr int kSmaller = SplitChunks(padded())[1];
    if (chunk == kGreater) return f(padded, std::integral_constant<int, kGreater>());
    FM_CHECK(chunk == kSmaller);
    f(padded, std::integral_constant<int, kSmaller>());
  });
}

}  // namespace

size_t SplitSharedBytes(int dim, int chunk, int sequences) {
  size_t elements = 0;
  WithShape(dim, chunk, [&](auto padded, auto tiles) {
    elements = SplitTiles<uint16_t, padded(), tiles()>::kElements;
  });
  return elements * sizeof(uint16_t) + PlanBytes(sequences);
}

void LaunchSplit(Stream& stream, const AttentionArgs& args, DType dtype, int blocks) {
  WithShape(args.dim, args.chunk, [&](auto padded, auto tiles) {
    if (dtype == DType::kBF16) {
      return LaunchSplitOf<__nv_bfloat16, padded(), tiles()>(stream, args, blocks);
    }
    FM_CHECK(dtype == DType::kF16);
    LaunchSplitOf<__half, padded(), tiles()>(stream, args, blocks);
  });
}

}  // namespace folkmoot::cuda::attention
