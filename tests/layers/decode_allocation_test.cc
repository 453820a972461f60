// SPDX-License-Identifier: Apache-2.0
// The steady decode step takes no memory from the system. This binary counts every operator new;
// the loop below is what an engine does between two steps of the same batch.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <tuple>

#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "parallel/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"

namespace {

std::atomic<int64_t> allocations{0};

void* CountedNew(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// Not inlined: GCC 12 warns of a free() of what new returned where only delete is.
[[gnu::noinline]] void* operator new(std::size_t size) { return CountedNew(size); }
[[gnu::noinline]] void* operator new[](std::size_t size) { return CountedNew(size); }
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size > 0 ? size : 1);
}
[[gnu::noinline]] void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace folkmoot {
namespace {

// The sequences' gates: the model's own for both, or one of its own for the second.
class DecodeAllocation : public testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(DecodeAllocation, SteadyStepsAllocateNothing) {
  const auto& [name, mixed] = GetParam();
  const std::string directory = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + name;
  const auto config = LoadModelConfig(directory);
  const auto checkpoint = Checkpoint::Open(directory);
  ASSERT_TRUE(config.ok() && checkpoint.ok());
  const auto loader = MakeCheckpointLoader(**checkpoint, nullptr);
  const auto placement = ExpertPlacement::Contiguous(static_cast<int>(config->moe.experts), 1);
  const auto worlds = MakeThreadCommunicators(1);
  ThreadPool pool(2);
  auto gate = DefaultGate(*config);
  ASSERT_TRUE(gate.ok());
  if (config->moe.experts > 0) {
    ASSERT_TRUE(
        ApplyOverrides("extra_policy=random,capacity=ceil_k,capacity_factor=4,group=sequence_chunk,"
                       "priority=token_major",
                       &*gate)
            .ok());
  }
  const auto model = LoadModel(*config, {.gate = *gate}, *loader, placement, *worlds[0], pool);
  ASSERT_TRUE(model.ok()) << model.status();

  ASSERT_TRUE((*model)->MakeCache({.blocks = 2, .block_size = 32, .slots = 2}).ok());
  const std::vector<std::vector<int32_t>> pages = {{0}, {1}};
  std::vector<std::vector<int32_t>> places(
      2, std::vector<int32_t>(static_cast<size_t>((*model)->moe_layers() * config->moe.outputs())));
  const auto own_gate = (*model)->GateFor("");
  const auto other_gate = (*model)->GateFor(mixed ? "top_k=1,capacity=none" : "");
  ASSERT_TRUE(own_gate.ok() && other_gate.ok()) << other_gate.status();
  Workspace workspace;
  ForwardBatch batch;
  int64_t before = 0;
  for (int32_t position = 0; position < 24; ++position) {
    if (position == 8) before = allocations;  // warm by now
    batch.Clear();
    if (mixed) batch.gates = {own_gate->get(), other_gate->get()};
    for (size_t s = 0; s < 2; ++s) {
      batch.sequences.push_back({.first_row = static_cast<int64_t>(s),
                                 .rows = 1,
                                 .start = position,
                                 .order = static_cast<int64_t>(s),
                                 .blocks = pages[s],
                                 .expert_places = places[s],
                                 .gate = mixed ? static_cast<int32_t>(s) : 0,
                                 .slot = static_cast<int32_t>(s),
                                 .source = config->has_encoder() ? 1 : 0});
      batch.token_ids.push_back(position + 3);
      batch.positions.push_back(position);
      batch.rope_lengths.push_back(position + 1);
      batch.streams.push_back(s);
      const bool source = position < batch.sequences.back().source;
      if (!source) batch.logit_rows.push_back(static_cast<int32_t>(s));
      batch.widest.sources = source;
    }
    LayerContext ctx = {
        .pool = pool, .workspace = workspace, .experts = *worlds[0], .step = position};
    ASSERT_TRUE((*model)->Forward(ctx, batch).ok());
  }
  EXPECT_EQ(allocations - before, 0) << "in 16 decode steps";
}

INSTANTIATE_TEST_SUITE_P(
    Models, DecodeAllocation,
    testing::Values(std::tuple("mixtral-classic", false), std::tuple("mixtral-classic", true),
                    std::tuple("qwen2_moe-classic", false), std::tuple("qwen2_moe-classic", true),
                    std::tuple("qwen3_moe-classic", false), std::tuple("llama-classic", false),
                    std::tuple("nllb-moe-classic", false), std::tuple("qwen3_next-classic", false),
                    std::tuple("nemotron_h-super", false), std::tuple("lfm2_moe-classic", false),
                    std::tuple("deepseek_v32-mtp", false), std::tuple("deepseek_v4-rates", false),
                    std::tuple("hy_v4-saved", false), std::tuple("glm5_next-shared", false),
                    std::tuple("glm5_next-odd", false), std::tuple("zaya-classic", false),
                    std::tuple("ling3-classic", false), std::tuple("beam-turned", false),
                    std::tuple("qwen4_exp-classic", false), std::tuple("qwen4_exp_text-odd", true),
                    std::tuple("inkling-classic", false), std::tuple("inkling-classic", true),
                    std::tuple("inkling2-classic", false), std::tuple("inkling2-classic", true),
                    std::tuple("inkling2_loop-modules", false),
                    std::tuple("muse_spark-classic", false), std::tuple("lara_mini-classic", false),
                    std::tuple("mistral_large4-classic", false),
                    std::tuple("dots3_note-classic", false),
                    std::tuple("unlimited_ocr-narrow", false)),
    [](const auto& test) {
      std::string name = std::get<0>(test.param);
      std::replace(name.begin(), name.end(), '-', '_');
      return name + (std::get<1>(test.param) ? "_mixed" : "");
    });

}  // namespace
}  // namespace folkmoot
