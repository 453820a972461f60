// SPDX-License-Identifier: Apache-2.0
#include "scheduler/kv_pool.h"

#include <xxhash.h>

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {

KvPool::KvPool(int64_t blocks, int64_t block_size, int64_t snapshots, uint64_t hash_seed,
               uint64_t hash_mask)
    : block_size_(block_size),
      hash_seed_(hash_seed),
      hash_mask_(hash_mask),
      pages_(static_cast<size_t>(blocks)),
      tokens_(static_cast<size_t>(blocks * block_size)),
      index_(0, HashOf{this}, Same{this}),
      snapshots_(snapshots, blocks) {
  FM_CHECK(block_size > 0);
  free_.reserve(pages_.size());
  for (int64_t i = blocks - 1; i >= 0; --i) free_.push_back(static_cast<int32_t>(i));
}

std::span<const int32_t> KvPool::tokens_of(int32_t index) const {
  return std::span(tokens_).subspan(static_cast<size_t>(index * block_size_),
                                    static_cast<size_t>(block_size_));
}

bool KvPool::Same::operator()(int32_t index, const Key& key) const {
  const Page& page = pool->pages_[static_cast<size_t>(index)];
  if (page.hash != key.hash || page.parent != key.parent) return false;
  if (page.parent == kRoot && page.scope != key.scope) return false;
  const std::span<const int32_t> tokens = pool->tokens_of(index);
  return std::equal(tokens.begin(), tokens.end(), key.tokens.begin());
}

// Nodes below another one inherit its scope.
KvPool::Key KvPool::KeyOf(int64_t parent, const CacheScope& scope,
                          std::span<const int32_t> tokens) const {
  uint64_t seed = hash_seed_ ^ static_cast<uint64_t>(parent);
  if (parent == kRoot) {
    seed ^= XXH3_64bits_withSeed(scope.gate.data(), scope.gate.size(),
                                 scope.salt ^ static_cast<uint64_t>(scope.owner));
  }
  const uint64_t hash = XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), seed);
  return {.hash = hash & hash_mask_, .parent = parent, .scope = scope, .tokens = tokens};
}

void KvPool::Link(int32_t index) {
  page(index).older = newest_;
  page(index).newer = -1;
  (newest_ < 0 ? oldest_ : page(newest_).newer) = index;
  newest_ = index;
  ++cached_;
}

void KvPool::Unlink(int32_t index) {
  const Page& gone = page(index);
  (gone.older < 0 ? oldest_ : page(gone.older).newer) = gone.newer;
  (gone.newer < 0 ? newest_ : page(gone.newer).older) = gone.older;
  --cached_;
}

void KvPool::Withdraw(int32_t index) {
  index_.erase(index);
  snapshots_.Drop(index);
  page(index).node = -1;
  page(index).scope = {};
  ++removals_;
}

bool KvPool::Allocate(int64_t count, std::vector<int32_t>* pages) {
  if (count > available()) return false;
  for (int64_t i = 0; i < count; ++i) {
    if (free_.empty()) {
      const int32_t taken = oldest_;
      Unlink(taken);
      Withdraw(taken);
      free_.push_back(taken);
    }
    const int32_t index = free_.back();
    free_.pop_back();
    page(index).references = 1;
    ++used_;
    pages->push_back(index);
  }
  return true;
}

void KvPool::Find(const CacheScope& scope, std::span<const int32_t> tokens, int64_t limit,
                  Match* match) const {
  if (match->removals != removals_) *match = {.pages = {}, .node = kRoot, .removals = removals_};
  const auto size = static_cast<size_t>(block_size_);
  while (static_cast<int64_t>(match->pages.size()) < limit) {
    const size_t start = match->pages.size() * size;
    if (start + size > tokens.size()) return;
    const auto found = index_.find(KeyOf(match->node, scope, tokens.subspan(start, size)));
    if (found == index_.end()) return;
    match->pages.push_back(*found);
    match->node = pages_[static_cast<size_t>(*found)].node;
  }
}

void KvPool::EndAtSnapshot(Match* match) const {
  std::vector<int32_t>& pages = match->pages;
  while (!pages.empty() && snapshots_.OfPage(pages.back()) < 0) pages.pop_back();
  match->node = pages.empty() ? kRoot : pages_[static_cast<size_t>(pages.back())].node;
}

int64_t KvPool::CountUnused(std::span<const int32_t> pages) const {
  return std::count_if(pages.begin(), pages.end(), [&](int32_t p) { return references(p) == 0; });
}

int64_t KvPool::CountUnshared(std::span<const int32_t> pages) const {
  return std::count_if(pages.begin(), pages.end(), [&](int32_t p) { return references(p) == 1; });
}

void KvPool::Acquire(std::span<const int32_t> pages) {
  for (const int32_t index : pages) {
    if (page(index).references == 0) {
      FM_CHECK(published(index));  // else it is free
      Unlink(index);
      ++used_;
    }
    ++page(index).references;
  }
}

KvPool::Place KvPool::Publish(int32_t index, int64_t parent, const CacheScope& scope,
                              std::span<const int32_t> tokens) {
  FM_CHECK(references(index) > 0 && !published(index));
  FM_CHECK(static_cast<int64_t>(tokens.size()) == block_size_);
  const Key key = KeyOf(parent, scope, tokens);
  const auto found = index_.find(key);
  if (found != index_.end()) return {page(*found).node, *found};
  std::copy(tokens.begin(), tokens.end(), tokens_.begin() + index * block_size_);
  Page& entered = page(index);
  entered.node = next_node_++;
  entered.parent = parent;
  entered.hash = key.hash;
  entered.keep = scope.keep();
  if (parent == kRoot) entered.scope = scope;
  index_.insert(index);
  return {entered.node, index};
}

void KvPool::Forget(const CacheScope& scope, std::span<const int32_t> tokens, int64_t first) {
  Match match;
  Find(scope, tokens, PagesFor(static_cast<int64_t>(tokens.size())), &match);
  for (size_t i = static_cast<size_t>(first); i < match.pages.size(); ++i) {
    const int32_t index = match.pages[i];
    if (references(index) > 1) continue;
    Withdraw(index);
    if (references(index) > 0) continue;
    Unlink(index);
    free_.push_back(index);
  }
}

void KvPool::Release(std::span<const int32_t> pages) {
  for (size_t i = pages.size(); i-- > 0;) {
    const int32_t index = pages[i];
    FM_CHECK(references(index) > 0);
    if (--page(index).references > 0) continue;
    --used_;
    if (published(index) && !page(index).keep) Withdraw(index);
    if (published(index)) {
      Link(index);
    } else {
      free_.push_back(index);
    }
  }
}

}  // namespace folkmoot
