// SPDX-License-Identifier: Apache-2.0
// GroupChoices against a plain loop.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/cuda/routing.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

struct Tile {
  int32_t slot, first, count;
  bool operator==(const Tile&) const = default;
};
struct Groups {
  std::vector<int32_t> choices, offsets;
  std::vector<Tile> tiles;
  bool operator==(const Groups&) const = default;
};

// What is grouped: experts and actions by choice, where experts live, how long tiles are.
struct GroupCase {
  int rows = 0;
  int k = 0;
  int slots = 0;
  int tile_rows = 0;
  std::vector<int32_t> expert;
  std::vector<uint8_t> action;
  std::vector<int32_t> slot_of_expert;
};

Groups ByHand(const GroupCase& test) {
  Groups groups;
  groups.offsets.push_back(0);
  for (int slot = 0; slot < test.slots; ++slot) {
    for (size_t c = 0; c < test.expert.size(); ++c) {
      if (test.action[c] != 1) continue;
      if (test.slot_of_expert[static_cast<size_t>(test.expert[c])] != slot) continue;
      groups.choices.push_back(static_cast<int32_t>(c));
    }
    const auto end = static_cast<int32_t>(groups.choices.size());
    for (int32_t first = groups.offsets.back(); first < end; first += test.tile_rows) {
      groups.tiles.push_back({slot, first, std::min(test.tile_rows, end - first)});
    }
    groups.offsets.push_back(end);
  }
  return groups;
}

GroupCase RandomCase(std::mt19937& engine, int rows) {
  const auto below = [&](int n) { return static_cast<int>(engine() % static_cast<unsigned>(n)); };
  GroupCase test;
  test.rows = rows;
  test.k = 1 + below(8);
  const int experts = 1 + below(60);
  test.tile_rows = 1 << below(5);
  for (int e = 0; e < experts; ++e) {  // some experts are another rank's
    test.slot_of_expert.push_back(below(4) == 0 ? -1 : test.slots++);
  }
  std::shuffle(test.slot_of_expert.begin(), test.slot_of_expert.end(), engine);
  const bool skewed = below(3) == 0;
  const int padding = below(rows + 1) / 2;
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < test.k; ++j) {
      test.expert.push_back(skewed ? below(1 + experts / 8) : below(experts));
      const int chance = below(10);
      test.action.push_back(row >= rows - padding || chance == 0 ? 0 : chance == 1 ? 2 : 1);
    }
  }
  return test;
}

class GroupChoicesTest : public CudaTest {
 protected:
  // Device memory for a case and its result, used again for others of its shape.
  struct OnDevice {
    Memory expert, action, slot_of_expert, choices, offsets, tiles, tile_count;
    RoutingRef routing;
    ChoiceGrouping grouping;
  };

  OnDevice Upload(const GroupCase& test) {
    OnDevice device;
    device.expert = ToDevice(test.expert);
    device.action = ToDevice(test.action);
    device.slot_of_expert = ToDevice(test.slot_of_expert);
    const int choices = test.rows * test.k;
    const int tiles = MaxTiles(choices, test.slots, test.tile_rows);
    device.choices = ToDevice(std::vector<int32_t>(static_cast<size_t>(choices), -5));
    device.offsets = ToDevice(std::vector<int32_t>(static_cast<size_t>(test.slots) + 1, -5));
    device.tiles = ToDevice(std::vector<ExpertTile>(static_cast<size_t>(tiles) + 1));
    device.tile_count = ToDevice(std::vector<int32_t>{-5});
    device.routing = {.rows = test.rows, .k = test.k};
    device.routing.expert = device.expert.As<int32_t>();
    device.routing.action = device.action.As<uint8_t>();
    device.grouping = {.slot_of_expert = device.slot_of_expert.As<int32_t>(),
                       .groups = {.slots = test.slots,
                                  .max_choices = choices,
                                  .max_tiles = tiles,
                                  .tile_rows = test.tile_rows,
                                  .choices = device.choices.As<int32_t>(),
                                  .offsets = device.offsets.As<int32_t>(),
                                  .tiles = device.tiles.As<ExpertTile>(),
                                  .tile_count = device.tile_count.As<int32_t>()}};
    return device;
  }
  Groups Download(const OnDevice& device) {
    Groups groups;
    groups.offsets = ToHost<int32_t>(device.offsets);
    groups.choices = ToHost<int32_t>(device.choices);
    const int32_t count = ToHost<int32_t>(device.tile_count)[0];
    EXPECT_LE(groups.offsets.back(), static_cast<int32_t>(groups.choices.size()));
    EXPECT_LE(count, device.grouping.groups.max_tiles);
    groups.choices.resize(static_cast<size_t>(groups.offsets.back()));
    const auto tiles = ToHost<ExpertTile>(device.tiles);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      groups.tiles.push_back({tiles[i].slot, tiles[i].first, tiles[i].count});
    }
    return groups;
  }
  void ExpectGrouped(const GroupCase& test) {
    const OnDevice device = Upload(test);
    GroupChoices(stream(), device.routing, device.grouping);
    const Groups want = ByHand(test);
    const Groups got = Download(device);
    EXPECT_EQ(got.offsets, want.offsets);
    EXPECT_EQ(got.choices, want.choices);
    EXPECT_TRUE(got.tiles == want.tiles);
  }
};

TEST_F(GroupChoicesTest, RaggedSteps) {
  std::mt19937 engine(1);
  for (int i = 0; i < 60; ++i) {
    SCOPED_TRACE(i);
    ExpectGrouped(RandomCase(engine, i < 40 ? 1 + i % 20 : 30 * i - 1100));
    if (HasFailure()) return;
  }
}

TEST_F(GroupChoicesTest, SeveralBlocks) {
  std::mt19937 engine(2);
  for (const int rows : {3000, 5001}) {
    GroupCase test = RandomCase(engine, rows);
    while (test.k < 4 || test.slots < 3) test = RandomCase(engine, rows);
    ExpectGrouped(test);
  }
}

TEST_F(GroupChoicesTest, NothingToGroup) {
  GroupCase test = {.rows = 2, .k = 2, .slots = 2, .tile_rows = 4};
  test.expert = {0, 1, 1, 2};
  test.action = {0, 2, 0, 1};
  test.slot_of_expert = {0, 1, -1};  // the only live choice is of another rank's expert
  ExpectGrouped(test);
  test.slots = 0;
  test.slot_of_expert = {-1, -1, -1};
  ExpectGrouped(test);
  GroupCase none = {.rows = 0, .k = 2, .slots = 3, .tile_rows = 4};
  none.slot_of_expert = {0, 1, 2};
  OnDevice empty = Upload({.rows = 1,
                           .k = 2,
                           .slots = 3,
                           .tile_rows = 4,
                           .expert = {0, 1},
                           .action = {1, 1},
                           .slot_of_expert = {0, 1, 2}});
  empty.routing.rows = 0;
  GroupChoices(stream(), empty.routing, empty.grouping);
  EXPECT_TRUE(Download(empty) == ByHand(none));
}

// A recorded graph groups whatever the routing holds when it runs.
TEST_F(GroupChoicesTest, RecordedOnce) {
  std::mt19937 engine(3);
  GroupCase test = RandomCase(engine, 17);
  const OnDevice device = Upload(test);
  auto graph =
      Graph::Record(stream(), [&] { GroupChoices(stream(), device.routing, device.grouping); });
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->kernels(), 1);
  for (int i = 0; i < 5; ++i) {
    for (size_t c = 0; c < test.expert.size(); ++c) {
      test.expert[c] = static_cast<int32_t>(engine() % test.slot_of_expert.size());
      test.action[c] = static_cast<uint8_t>(engine() % 3);
    }
    CopyToDevice(stream(), device.expert.data(), test.expert.data(), device.expert.bytes());
    CopyToDevice(stream(), device.action.data(), test.action.data(), device.action.bytes());
    (*graph)->Launch(stream());
    EXPECT_TRUE(Download(device) == ByHand(test)) << i;
  }
}

}  // namespace
}  // namespace folkmoot::cuda
