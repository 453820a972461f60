// SPDX-License-Identifier: Apache-2.0
// The pages of one rank's KV cache: reference counts, and the index of pages whose content later
// sequences may read (prefix cache).
//
// A page is free, used (somebody holds a reference) or cached (nobody does, but its content is in
// the index; the one released longest ago is taken first when no page is free). Free + used +
// cached is the total at any time.
//
// The index is a tree: a node is a full page of tokens behind its parent node; first pages hang
// below the root, told apart by CacheScope. A look-up walks down from the root and compares tokens
// and scope, so a collision of hashes costs time but never gives a wrong page. Node numbers are
// never used twice: when a page is taken, the nodes below it are out of reach.
//
// All of it is a function of the calls alone: the hash seed does not show.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scheduler/state_snapshots.h"

namespace folkmoot {

// Who may read a cached page besides having the same tokens.
struct CacheScope {
  std::string gate;    // overrides of the gate: part of the computation
  uint64_t salt = 0;   // of the tenant
  int64_t owner = -1;  // a request that shares among its own choices only; -1: everybody

  // Pages of a request's own are free as soon as nobody uses them.
  bool keep() const { return owner < 0; }
  bool operator==(const CacheScope&) const = default;
};

class KvPool {
 public:
  static constexpr int64_t kRoot = -1;

  // The leading pages of a sequence that are in the index.
  struct Match {
    std::vector<int32_t> pages;
    int64_t node = kRoot;   // of the last of them
    int64_t removals = -1;  // state of the index that this was found in
  };

  // A page in the index and its node.
  struct Place {
    int64_t node = kRoot;
    int32_t page = -1;
  };

  // `snapshots` of recurrent state may belong to pages in the index. `hash_seed`: a number that
  // outsiders cannot know makes crafted collisions useless. `hash_mask`: bits of the hash in use;
  // tests take few to see collisions.
  KvPool(int64_t blocks, int64_t block_size, int64_t snapshots = 0, uint64_t hash_seed = 0,
         uint64_t hash_mask = ~uint64_t{0});
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;
  ~KvPool() = default;

  int64_t block_size() const { return block_size_; }
  int64_t total() const { return static_cast<int64_t>(pages_.size()); }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int64_t cached() const { return cached_; }
  int64_t used() const { return used_; }
  int64_t available() const { return free() + cached_; }
  // Pages that `tokens` tokens take.
  int64_t PagesFor(int64_t tokens) const { return (tokens + block_size_ - 1) / block_size_; }

  // Takes `count` pages, free ones first, or none and returns false. The caller holds one reference
  // to each.
  bool Allocate(int64_t count, std::vector<int32_t>* pages);

  // Lengthens `match`, which was found for the same arguments or is empty, to the most leading
  // pages of `tokens`, at most `limit`. Takes no references.
  void Find(const CacheScope& scope, std::span<const int32_t> tokens, int64_t limit,
            Match* match) const;
  // Shortens `match` to where a snapshot is.
  void EndAtSnapshot(Match* match) const;
  // Those of the pages that nobody uses now.
  int64_t CountUnused(std::span<const int32_t> pages) const;
  // A reference to each, for pages that are used or cached.
  void Acquire(std::span<const int32_t> pages);

  // Enters a full page of computed `tokens` [block_size] behind node `parent`. When the index has
  // such a page already, returns that one and this one stays out of the index.
  Place Publish(int32_t page, int64_t parent, const CacheScope& scope,
                std::span<const int32_t> tokens);
  // Takes the leading pages of `tokens` from page `first` on out of the index, except those with
  // more than one reference.
  void Forget(const CacheScope& scope, std::span<const int32_t> tokens, int64_t first);

  // Gives back one reference to each. The last page is the first to be taken again, so that a
  // prefix outlives what came after it.
  void Release(std::span<const int32_t> pages);
  // Pages of `pages` with one reference only.
  int64_t CountUnshared(std::span<const int32_t> pages) const;

  // Those of pages that leave the index are free.
  StateSnapshots& snapshots() { return snapshots_; }
  const StateSnapshots& snapshots() const { return snapshots_; }

  int64_t references(int32_t page) const { return pages_[static_cast<size_t>(page)].references; }
  bool published(int32_t page) const { return pages_[static_cast<size_t>(page)].node >= 0; }

 private:
  struct Page {
    int32_t references = 0;
    int32_t older = 0, newer = 0;  // neighbours among the cached pages
    int64_t node = -1;             // -1: not in the index
    int64_t parent = kRoot;
    uint64_t hash = 0;
    CacheScope scope;  // of a first page; else empty
    bool keep = true;
  };
  // What the index is asked for.
  struct Key {
    uint64_t hash;
    int64_t parent;
    const CacheScope& scope;
    std::span<const int32_t> tokens;
  };
  struct HashOf {
    using is_transparent = void;
    const KvPool* pool;
    size_t operator()(const Key& key) const { return key.hash; }
    size_t operator()(int32_t page) const { return pool->pages_[static_cast<size_t>(page)].hash; }
  };
  struct Same {
    using is_transparent = void;
    const KvPool* pool;
    bool operator()(int32_t a, int32_t b) const { return a == b; }
    bool operator()(int32_t page, const Key& key) const;
    bool operator()(const Key& key, int32_t page) const { return (*this)(page, key); }
  };

  Page& page(int32_t index) { return pages_[static_cast<size_t>(index)]; }
  std::span<const int32_t> tokens_of(int32_t index) const;
  Key KeyOf(int64_t parent, const CacheScope& scope, std::span<const int32_t> tokens) const;
  void Withdraw(int32_t index);
  void Link(int32_t index);    // as the newest cached page
  void Unlink(int32_t index);  // from the cached pages

  int64_t block_size_;
  uint64_t hash_seed_, hash_mask_;
  std::vector<Page> pages_;
  std::vector<int32_t> tokens_;  // [pages, block_size] of the pages in the index
  std::vector<int32_t> free_;    // a stack
  absl::flat_hash_set<int32_t, HashOf, Same> index_;
  int32_t oldest_ = -1, newest_ = -1;  // of the cached pages
  int64_t cached_ = 0, used_ = 0;
  int64_t next_node_ = 0;
  int64_t removals_ = 0;  // from the index, ever
  StateSnapshots snapshots_;
};

}  // namespace folkmoot
