// SPDX-License-Identifier: Apache-2.0
// The steps of a GPU decoder from below: decode steps are recorded once per bucket and replayed,
// with few kernels per layer.
#include "layers/gpu/gpu_decoder.h"

#include <gtest/gtest.h>

#include <cstring>

#include "layers/gpu/moe_bench.h"
#include "layers/models/load_config.h"
#include "parallel/thread_communicator.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/cuda/device.h"
#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

class GpuDecoderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::ListDevices().ok()) GTEST_SKIP() << "SKIPPED: no GPU";
  }

  std::unique_ptr<GpuDecoder> Load(const std::string& name, bool record) {
    const std::string directory = std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + name;
    config_ = LoadModelConfig(directory).value();
    checkpoint_ = Checkpoint::Open(directory).value();
    loader_ = MakeCheckpointLoader(*checkpoint_, nullptr);
    placement_ = ExpertPlacement::Contiguous(static_cast<int>(config_.moe.experts), 1);
    ModelOptions options;
    options.gate = DefaultGate(config_).value();
    options.limits = {.rows = 16, .sequences = 4, .length = 64};
    options.gpu.record = record;
    auto model = GpuDecoder::Load(config_, options, *loader_, placement_, *worlds_.front(), pool_);
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE((*model)->MakeCache({.blocks = 12, .block_size = 16}).ok());
    return *std::move(model);
  }

  // The logits of `sequences` sequences of one token more at `position`.
  std::vector<float> Decode(GpuDecoder& model, int sequences, int32_t position) {
    ForwardBatch batch;
    std::vector<std::vector<int32_t>> pages;
    for (int32_t s = 0; s < sequences; ++s) pages.push_back({3 * s, 3 * s + 1, 3 * s + 2});
    for (int32_t s = 0; s < sequences; ++s) {
      batch.sequences.push_back({.first_row = s,
                                 .rows = 1,
                                 .start = position,
                                 .order = s,
                                 .blocks = pages[static_cast<size_t>(s)]});
      batch.token_ids.push_back(position + 3 * s);
      batch.positions.push_back(position);
      batch.rope_lengths.push_back(position + 1);
      batch.streams.push_back(static_cast<uint64_t>(s));
      batch.logit_rows.push_back(s);
    }
    batch.widest = {.rows = sequences, .length = position + 1, .single = true};
    LayerContext ctx = {
        .pool = pool_, .workspace = workspace_, .experts = *worlds_.front(), .step = position};
    const auto logits = model.Forward(ctx, batch);
    EXPECT_TRUE(logits.ok()) << logits.status();
    std::vector<float> values;
    for (int64_t r = 0; r < logits->rows; ++r) {
      values.insert(values.end(), logits->Row(r), logits->Row(r) + logits->cols);
    }
    return values;
  }

  ModelConfig config_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<WeightLoader> loader_;
  ExpertPlacement placement_ = ExpertPlacement::Contiguous(0, 1);
  std::vector<std::unique_ptr<Communicator>> worlds_ = MakeThreadCommunicators(1);
  ThreadPool pool_{1};
  Workspace workspace_;
};

TEST_F(GpuDecoderTest, ReplaysDecodeSteps) {
  const auto recorded = Load("qwen3_moe-classic", true);
  const auto started = Load("qwen3_moe-classic", false);
  for (int32_t position = 0; position < 6; ++position) {
    const int sequences =
        position < 3 ? 3 : 2;  // buckets of 4 and 2, whose first steps are started
    const std::vector<float> a = Decode(*recorded, sequences, position);
    const std::vector<float> b = Decode(*started, sequences, position);
    ASSERT_EQ(a.size(), static_cast<size_t>(sequences * config_.vocab));
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << position;
  }
  EXPECT_EQ(recorded->recorded_steps(), 4);
  EXPECT_EQ(recorded->recorded_graphs(), 2);
  EXPECT_EQ(started->recorded_steps(), 0);
}

// Whether a step is started, recorded or replayed: all memory of the device was there before.
TEST_F(GpuDecoderTest, StepsTakeNoDeviceMemory) {
  for (const bool record : {true, false}) {
    const auto model = Load("qwen3_moe-classic", record);
    PlanPointFaults({{.point = FaultPoint::kGpuAllocate, .nth = 0}});
    EXPECT_FALSE(cuda::Memory::Allocate(16, "a test").ok());
    for (int32_t position = 0; position < 9; ++position) {
      EXPECT_FALSE(Decode(*model, position < 5 ? 3 : 2, position).empty());
    }
    PlanPointFaults({});
  }
}

// The budget of a layer: qkv, rotate and store, attention, output product, norm to grouped choices,
// experts up and down, combine. Embedding, first norm, gather and head come once.
TEST_F(GpuDecoderTest, EightKernelsPerLayer) {
  for (const char* name : {"qwen3_moe-classic", "mixtral-classic"}) {
    const auto model = Load(name, true);
    for (int32_t position = 0; position < 2; ++position) Decode(*model, 1, position);
    const auto layers = static_cast<double>(config_.layers.size());
    EXPECT_LE(model->kernels_per_layer() * layers, 8 * layers + 4) << name;
    EXPECT_GE(model->kernels_per_layer(), 1) << name;
  }
}

TEST(MoeBench, MeasuresEveryNumberOfTokens) {
  if (!cuda::ListDevices().ok()) GTEST_SKIP() << "SKIPPED: no GPU";
  MoeBenchOptions options;
  options.shape = {.name = "tiny", .hidden = 64, .intermediate = 32, .shared_intermediate = 16};
  options.shape.gate.num_experts = 8;
  options.shape.gate.top_k = 2;
  options.shape.gate.shared = true;
  options.tokens = {1, 16, 5};
  options.seconds = 1e-6;
  double bytes = 0;  // of 16 tokens
  for (const bool fp8 : {false, true}) {
    options.fp8_experts = fp8;
    const auto report = RunMoeBench(options);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->points.size(), 3U);
    for (size_t i = 0; i < 3; ++i) {
      const MoeBenchPoint& point = report->points[i];
      EXPECT_EQ(point.tokens, options.tokens[i]);
      EXPECT_GT(point.seconds, 0);
      EXPECT_GE(point.touched, 2);  // a token's experts differ
      EXPECT_LE(point.touched, 8);
      EXPECT_GE(point.kernels, 4);
    }
    EXPECT_GT(report->read_bytes_per_second, 0);
    EXPECT_GT(report->flops_per_second, 0);
    EXPECT_TRUE(!fp8 || report->points[1].bytes < bytes);
    bytes = report->points[1].bytes;
  }
}

}  // namespace
}  // namespace folkmoot
