// SPDX-License-Identifier: Apache-2.0
#include "scheduler/block_allocator.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

TEST(BlockAllocator, GivesTheLowestPagesFirst) {
  BlockAllocator pool(4);
  std::vector<int32_t> a, b, c;
  ASSERT_TRUE(pool.Allocate(2, &a));
  ASSERT_TRUE(pool.Allocate(1, &b));
  EXPECT_EQ(a, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(b, (std::vector<int32_t>{2}));
  pool.Free(a);
  ASSERT_TRUE(pool.Allocate(3, &c));
  EXPECT_EQ(c, (std::vector<int32_t>{0, 1, 3}));
  EXPECT_EQ(pool.free(), 0);
}

TEST(BlockAllocator, AllOrNothing) {
  BlockAllocator pool(2);
  std::vector<int32_t> blocks;
  EXPECT_FALSE(pool.Allocate(3, &blocks));
  EXPECT_TRUE(blocks.empty());
  EXPECT_EQ(pool.free(), 2);
}

TEST(BlockAllocatorDeathTest, FreeingTwiceIsABug) {
  BlockAllocator pool(2);
  std::vector<int32_t> blocks;
  ASSERT_TRUE(pool.Allocate(1, &blocks));
  pool.Free(blocks);
  EXPECT_DEATH(pool.Free(blocks), "internal error");
}

}  // namespace
}  // namespace folkmoot
