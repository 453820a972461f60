// SPDX-License-Identifier: Apache-2.0
#include "scheduler/kv_pool.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using Pages = std::vector<int32_t>;
const CacheScope kEverybody;

// Takes a page for each block of two tokens, publishes them and returns them.
Pages Enter(KvPool* pool, const std::vector<int32_t>& tokens, const CacheScope& scope) {
  Pages pages;
  EXPECT_TRUE(pool->Allocate(pool->PagesFor(static_cast<int64_t>(tokens.size())), &pages));
  int64_t node = KvPool::kRoot;
  for (size_t i = 0; 2 * i + 2 <= tokens.size(); ++i) {
    node = pool->Publish(pages[i], node, scope, std::span(tokens).subspan(2 * i, 2)).node;
  }
  return pages;
}

Pages Look(const KvPool& pool, const std::vector<int32_t>& tokens,
           const CacheScope& scope = kEverybody) {
  KvPool::Match match;
  pool.Find(scope, tokens, 100, &match);
  return match.pages;
}

void ExpectCounts(const KvPool& pool, int64_t free, int64_t used, int64_t cached) {
  EXPECT_EQ(pool.free(), free);
  EXPECT_EQ(pool.used(), used);
  EXPECT_EQ(pool.cached(), cached);
  EXPECT_EQ(free + used + cached, pool.total());
}

TEST(KvPool, GivesAllOrNothing) {
  KvPool pool(3, 2);
  Pages a, b;
  ASSERT_TRUE(pool.Allocate(2, &a));
  EXPECT_EQ(a, (Pages{0, 1}));
  EXPECT_FALSE(pool.Allocate(2, &b));
  EXPECT_TRUE(b.empty());
  ExpectCounts(pool, 1, 2, 0);
  pool.Release(a);
  ASSERT_TRUE(pool.Allocate(3, &b));
  ExpectCounts(pool, 0, 3, 0);
}

TEST(KvPool, FindsTheLongestPrefix) {
  KvPool pool(8, 2);
  const Pages pages = Enter(&pool, {1, 2, 3, 4, 5, 6}, kEverybody);
  EXPECT_EQ(Look(pool, {1, 2, 3, 4, 5, 6, 7}), pages);
  EXPECT_EQ(Look(pool, {1, 2, 3, 4, 5}), (Pages{pages[0], pages[1]})) << "whole pages only";
  EXPECT_EQ(Look(pool, {1, 2, 9, 4, 5, 6}), (Pages{pages[0]}));
  EXPECT_EQ(Look(pool, {3, 4, 5, 6}), Pages()) << "the same tokens at another place";
  KvPool::Match match;
  pool.Find(kEverybody, std::vector<int32_t>{1, 2, 3, 4}, 1, &match);
  EXPECT_EQ(match.pages.size(), 1u) << "the limit";
}

TEST(KvPool, SharedPagesAreFreedByTheLastUser) {
  KvPool pool(4, 2);
  Pages pages;
  ASSERT_TRUE(pool.Allocate(1, &pages));
  pool.Acquire(pages);
  EXPECT_EQ(pool.references(pages[0]), 2);
  pool.Release(pages);
  ExpectCounts(pool, 3, 1, 0);
  pool.Release(pages);
  ExpectCounts(pool, 4, 0, 0);
}

TEST(KvPoolDeathTest, ReleasingTwiceIsABug) {
  KvPool pool(2, 2);
  Pages pages;
  ASSERT_TRUE(pool.Allocate(1, &pages));
  pool.Release(pages);
  EXPECT_DEATH(pool.Release(pages), "internal error");
}

TEST(KvPool, ReleasedPagesStayCachedUntilNeeded) {
  KvPool pool(4, 2);
  const Pages pages = Enter(&pool, {1, 2, 3, 4}, kEverybody);
  pool.Release(pages);
  ExpectCounts(pool, 2, 0, 2);
  Pages others;
  ASSERT_TRUE(pool.Allocate(3, &others));
  ExpectCounts(pool, 0, 3, 1);
  EXPECT_EQ(Look(pool, {1, 2, 3, 4}), (Pages{pages[0]})) << "the end of a prefix goes first";
}

TEST(KvPool, TheOneReleasedLongestAgoIsTakenFirst) {
  KvPool pool(3, 2);
  const Pages a = Enter(&pool, {1, 1}, kEverybody);
  const Pages b = Enter(&pool, {2, 2}, kEverybody);
  const Pages c = Enter(&pool, {3, 3}, kEverybody);
  pool.Release(a);
  pool.Release(b);
  pool.Release(c);
  pool.Acquire(a);  // used again, and released again
  pool.Release(a);
  Pages taken;
  ASSERT_TRUE(pool.Allocate(1, &taken));
  EXPECT_EQ(taken, b);
  EXPECT_EQ(Look(pool, {1, 1}), a);
  EXPECT_EQ(Look(pool, {2, 2}), Pages());
  EXPECT_EQ(Look(pool, {3, 3}), c);
}

TEST(KvPool, EqualContentIsEnteredOnce) {
  KvPool pool(6, 2);
  const Pages first = Enter(&pool, {1, 2, 3, 4}, kEverybody);
  const Pages second = Enter(&pool, {1, 2, 5, 6}, kEverybody);
  EXPECT_FALSE(pool.published(second[0]));
  EXPECT_EQ(Look(pool, {1, 2, 5, 6}), (Pages{first[0], second[1]}));
  pool.Release(second);
  ExpectCounts(pool, 3, 2, 1);
}

TEST(KvPool, ScopesDoNotMix) {
  KvPool pool(16, 2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4};
  const std::vector<CacheScope> scopes = {
      {}, {"", 7, -1}, {"top_k=1", 0, -1}, {"", 0, 3}, {"top_k=1", 7, -1}};
  std::vector<Pages> pages;
  for (const CacheScope& scope : scopes) {
    EXPECT_EQ(Look(pool, tokens, scope), Pages());
    pages.push_back(Enter(&pool, tokens, scope));
  }
  for (size_t i = 0; i < scopes.size(); ++i) EXPECT_EQ(Look(pool, tokens, scopes[i]), pages[i]);
}

TEST(KvPool, CollidingHashesGiveNoWrongPage) {
  for (const uint64_t mask : {uint64_t{0}, uint64_t{1}, uint64_t{3}}) {
    KvPool pool(256, 2, /*snapshots=*/0, /*hash_seed=*/5, mask);
    std::vector<Pages> pages;
    for (int32_t t = 0; t < 60; ++t) {
      pages.push_back(Enter(&pool, {t, 1, 2, t}, {"", static_cast<uint64_t>(t % 2), -1}));
    }
    for (int32_t t = 0; t < 60; ++t) {
      const CacheScope mine = {"", static_cast<uint64_t>(t % 2), -1};
      const CacheScope other = {"", static_cast<uint64_t>(1 - t % 2), -1};
      EXPECT_EQ(Look(pool, {t, 1, 2, t}, mine), pages[static_cast<size_t>(t)]);
      EXPECT_EQ(Look(pool, {t, 1, 2, t}, other), Pages());
    }
  }
}

TEST(KvPool, WhatFollowsATakenPageIsOutOfReach) {
  KvPool pool(3, 2);
  const Pages pages = Enter(&pool, {1, 2, 3, 4}, kEverybody);
  pool.Release(std::vector<int32_t>{pages[0]});  // the first page only: it is older
  Pages others;
  ASSERT_TRUE(pool.Allocate(2, &others));
  EXPECT_EQ(Look(pool, {1, 2, 3, 4}), Pages());
  // The same tokens again are another node: nothing can hang below it by mistake.
  pool.Publish(others[0], KvPool::kRoot, kEverybody, std::vector<int32_t>{1, 2});
  EXPECT_EQ(Look(pool, {1, 2, 3, 4}), (Pages{others[0]}));
}

TEST(KvPool, AMatchIsFoundAnewAfterARemoval) {
  KvPool pool(4, 2);
  const Pages pages = Enter(&pool, {1, 2, 3, 4}, kEverybody);
  const std::vector<int32_t> tokens = {1, 2, 3, 4};
  KvPool::Match match;
  pool.Find(kEverybody, tokens, 2, &match);
  EXPECT_EQ(match.pages, pages);
  pool.Release(pages);
  Pages others;
  ASSERT_TRUE(pool.Allocate(3, &others));
  pool.Find(kEverybody, tokens, 2, &match);
  EXPECT_EQ(match.pages, (Pages{pages[0]}));
}

TEST(KvPool, ForgetsWhatNobodyElseUses) {
  KvPool pool(8, 2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6};
  const Pages pages = Enter(&pool, tokens, kEverybody);
  pool.Acquire(std::vector<int32_t>{pages[1]});  // somebody reads the second page
  pool.Forget(kEverybody, tokens, 1);
  EXPECT_EQ(Look(pool, tokens), (Pages{pages[0], pages[1]}));
  pool.Release(pages);
  ExpectCounts(pool, 6, 1, 1);
  pool.Forget(kEverybody, tokens, 0);  // the first one is cached: it becomes free
  ExpectCounts(pool, 7, 1, 0);
}

TEST(KvPool, PagesOfOneRequestAreNotKept) {
  KvPool pool(4, 2);
  const CacheScope own = {"", 0, 9};
  const Pages pages = Enter(&pool, {1, 2, 3, 4}, own);
  pool.Acquire(std::vector<int32_t>{pages[0]});
  pool.Release(pages);
  EXPECT_EQ(Look(pool, {1, 2, 3, 4}, own), (Pages{pages[0]}));
  ExpectCounts(pool, 3, 1, 0);
  pool.Release(std::vector<int32_t>{pages[0]});
  ExpectCounts(pool, 4, 0, 0);
}

}  // namespace
}  // namespace folkmoot
