// SPDX-License-Identifier: Apache-2.0
// The attention kernels one by one: however a step is cut into blocks, a query has one set of bits.
#include "tests/runtime/cuda/attention_case.h"
//
#include "runtime/cuda/attention_work.cuh"

namespace folkmoot::cuda {
namespace {

AttentionShape Shape(int heads, int kv_heads, int dim, int window) {
  AttentionShape shape;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_dim = dim;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(dim));
  shape.window = window;
  return shape;
}

// How to run a kernel.
struct Manner {
  void (*launch)(Stream&, const attention::AttentionArgs&, DType, int);
  int few_rows;
  int slots;
  int chunk;
  int blocks;
  int merge_pieces = 32;
  int direct_pieces = 0;  // if not 0, blocks is not used
};

class CudaAttentionKernels : public CudaTest {
 protected:
  std::vector<float> Run(const AttentionCase& attention, const std::vector<StepPart>& parts,
                         const Manner& manner) {
    if (scratch_.data() == nullptr) {
      auto memory =
          Memory::Allocate(AttentionScratchBytes(attention.shape(), 512, 4096), "scratch");
      EXPECT_TRUE(memory.ok()) << memory.status();
      scratch_ = std::move(*memory);
      FillZero(stream(), scratch_.data(), scratch_.bytes());
    }
    DeviceStep step(stream(), attention, parts, 1);
    attention::AttentionArgs args = attention::MakeArgs(
        attention.shape(), step.sequences_, step.q(), step.cache_, scratch_.data(), step.out());
    args.few_rows = manner.few_rows;
    args.slots = manner.slots;
    args.chunk = manner.chunk;
    args.merge_pieces = manner.merge_pieces;
    args.direct_pieces = manner.direct_pieces;
    args.direct_tiles = 0;
    for (const StepPart& part : parts) {
      args.direct_tiles = std::max(args.direct_tiles, (part.rows * args.group + 15) / 16);
    }
    const int places =
        args.direct_pieces * args.direct_tiles * args.kv_heads * step.sequences_.sequences;
    manner.launch(stream(), args, attention.dtype(), places > 0 ? places : manner.blocks);
    return step.Result(attention.row_floats());
  }

 private:
  Memory scratch_;
};

constexpr int kAll = 1 << 20;

TEST_F(CudaAttentionKernels, EveryCutHasTheSameBits) {
  // Eleven bits of a half show a difference in the last bit of a float32 now and then, eight
  // hardly.
  for (const int window : {0, 150}) {
    const DType dtype = window == 0 ? DType::kF16 : DType::kBF16;
    const AttentionCase attention(Shape(12, 2, 64, window), dtype, {700, 30, 320});
    const std::vector<StepPart> parts = {{0, 640, 60}, {1, 0, 30}, {2, 300, 7}};
    const auto expected = Run(attention, parts, {attention::LaunchRows, 0, 0, 1, 20});
    const Manner manners[] = {
        {attention::LaunchSplit, kAll, 0, 2, 4},  // walks over all pieces
        {attention::LaunchSplit, kAll, 0, 4, 3},
        {attention::LaunchSplit, kAll, 1000, 2, 9},  // splits all
        {attention::LaunchSplit, kAll, 60, 4, 1},    // splits the longest sequence only
        {attention::LaunchSplit, kAll, 1000, 4, 200},
        {attention::LaunchSplit, kAll, 1000, 4, 7, 2},  // merges in segments
        {attention::LaunchSplit, kAll, 1000, 4, 0, 32, 3},
        {attention::LaunchSplit, kAll, 1000, 2, 0, 1, 5},
    };
    for (const Manner& manner : manners) {
      EXPECT_EQ(Run(attention, parts, manner), expected)
          << "window " << window << " slots " << manner.slots << " chunk " << manner.chunk
          << " segments " << manner.merge_pieces << " direct " << manner.direct_pieces;
    }
  }
}

TEST_F(CudaAttentionKernels, PlainKernelToo) {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    const AttentionCase attention(Shape(3, 1, 20, 300), dtype, {600, 30});
    const std::vector<StepPart> parts = {{0, 520, 40}, {1, 29, 1}};
    const auto walked = Run(attention, parts, {attention::LaunchPlain, kAll, 0, 1, 3});
    EXPECT_EQ(Run(attention, parts, {attention::LaunchPlain, kAll, 1000, 1, 7}), walked);
    EXPECT_EQ(Run(attention, parts, {attention::LaunchPlain, kAll, 1000, 1, 7, 1}), walked);
  }
}

// All head sizes and chunks, decode and several rows; more pieces than are merged at a time.
TEST_F(CudaAttentionKernels, LongSequences) {
  for (const int dim : {64, 96, 128, 160, 256}) {
    const AttentionCase attention(Shape(4, 2, dim, dim == 96 ? 2000 : 0), DType::kF16,
                                  {dim == 64 ? 9000 : 2700, 700});
    const std::vector<StepPart> parts = {{0, attention.longest() - 3, 3}, {1, 699, 1}};
    const auto expected = Run(attention, parts, {attention::LaunchRows, 0, 0, 1, 20});
    for (const int chunk : attention::SplitChunks(dim)) {
      for (const int segment : {3, 32}) {
        EXPECT_EQ(Run(attention, parts, {attention::LaunchSplit, 8, 1000, chunk, 3, segment}),
                  expected)
            << dim << " " << chunk << " " << segment;
        EXPECT_EQ(Run(attention, parts, {attention::LaunchSplit, 8, 1000, chunk, 0, segment, 36}),
                  expected)
            << dim << " " << chunk << " " << segment;
      }
    }
  }
}

// Groups, head sizes, windows, pages and chunks of many kinds: the kernel of wgmma says about what
// the other one says, and has one set of bits however many blocks share the work.
TEST_F(CudaAttentionKernels, WgmmaAgrees) {
  if (!attention::TakesWgmma(stream().device(), 128, 3)) GTEST_SKIP() << "not on this GPU";
  struct Kind {
    int group, kv_heads, dim, window, block_size;
  };
  for (const Kind& k : {Kind{1, 2, 128, 0, 16}, Kind{2, 1, 64, 100, 1}, Kind{3, 1, 8, 0, 24},
                        Kind{4, 2, 120, 128, 16}, Kind{5, 1, 72, 1, 128}, Kind{6, 1, 128, 129, 7},
                        Kind{7, 1, 40, 0, 16}, Kind{8, 1, 128, 0, 16}}) {
    const DType dtype = k.group % 2 == 0 ? DType::kF16 : DType::kBF16;
    const AttentionCase attention(Shape(k.group * k.kv_heads, k.kv_heads, k.dim, k.window), dtype,
                                  {400, 1, 129}, k.block_size);
    const std::vector<StepPart> parts = {{0, 255, 145}, {1, 0, 1}, {2, 0, 129}};
    const auto expected = Run(attention, parts, {attention::LaunchRows, 0, 0, 1, 60});
    const auto rows = Run(attention, parts, {attention::LaunchRowsWgmma, 0, 0, 1, 60});
    const float tolerance = dtype == DType::kF16 ? 2e-3f : 1.5e-2f;
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_NEAR(rows[i], expected[i], tolerance) << "group " << k.group << " element " << i;
    }
    EXPECT_EQ(Run(attention, parts, {attention::LaunchRowsWgmma, 0, 0, 1, 1}), rows) << k.group;
  }
}

TEST_F(CudaAttentionKernels, WgmmaLeavesFewRowsAlone) {
  if (!attention::TakesWgmma(stream().device(), 128, 3)) GTEST_SKIP() << "not on this GPU";
  const AttentionCase attention(Shape(4, 1, 128, 0), DType::kF16, {300, 30});
  const std::vector<StepPart> parts = {{0, 290, 3}, {1, 20, 10}};
  const auto many = Run(attention, parts, {attention::LaunchRowsWgmma, 4, 0, 1, 8});
  const auto all = Run(attention, parts, {attention::LaunchRowsWgmma, 0, 0, 1, 8});
  const auto untouched = Decode(DType::kF16, {0xee, 0xee})[0];
  const auto middle = static_cast<ptrdiff_t>(3 * attention.row_floats());
  EXPECT_TRUE(std::equal(many.begin() + middle, many.end(), all.begin() + middle));
  EXPECT_TRUE(
      std::all_of(many.begin(), many.begin() + middle, [&](float x) { return x == untouched; }));
}

// Each kernel leaves the other's sequences alone.
TEST_F(CudaAttentionKernels, EachTakesItsSequences) {
  const AttentionCase attention(Shape(4, 1, 64, 0), DType::kF16, {300, 30});
  const std::vector<StepPart> parts = {{0, 290, 3}, {1, 20, 10}};
  const auto few = Run(attention, parts, {attention::LaunchSplit, 4, 100, 2, 8});
  const auto many = Run(attention, parts, {attention::LaunchRows, 4, 0, 1, 8});
  const auto all = Run(attention, parts, {attention::LaunchRows, 0, 0, 1, 8});
  const auto untouched = Decode(DType::kF16, {0xee, 0xee})[0];
  const auto middle = static_cast<ptrdiff_t>(3 * attention.row_floats());
  EXPECT_TRUE(std::equal(few.begin(), few.begin() + middle, all.begin()));
  EXPECT_TRUE(std::equal(many.begin() + middle, many.end(), all.begin() + middle));
  EXPECT_TRUE(
      std::all_of(few.begin() + middle, few.end(), [&](float x) { return x == untouched; }));
  EXPECT_TRUE(
      std::all_of(many.begin(), many.begin() + middle, [&](float x) { return x == untouched; }));
}

}  // namespace
}  // namespace folkmoot::cuda
