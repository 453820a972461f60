// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/attention.h"

#include "tests/runtime/cuda/attention_case.h"

namespace folkmoot::cuda {
namespace {

AttentionShape Shape(int heads, int kv_heads, int dim, int window = 0,
                     GemmPolicy policy = GemmPolicy::kBatchInvariant) {
  AttentionShape shape;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_dim = dim;
  shape.rotary_dim = dim;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(dim));
  shape.window = window;
  shape.policy = policy;
  return shape;
}

class CudaAttention : public CudaTest {
 protected:
  // Scratch is allocated and cleared once, for all steps of a test.
  void* Scratch(const AttentionShape& shape) {
    if (scratch_.data() == nullptr) {
      auto memory = Memory::Allocate(AttentionScratchBytes(shape, 512, 2048), "scratch");
      EXPECT_TRUE(memory.ok()) << memory.status();
      scratch_ = std::move(*memory);
      FillZero(stream(), scratch_.data(), scratch_.bytes());
    }
    return scratch_.data();
  }
  // Rows of the result, part after part.
  std::vector<float> Run(const AttentionCase& attention, const std::vector<StepPart>& parts,
                         int padding = 0) {
    DeviceStep step(stream(), attention, parts, padding);
    PagedAttention(stream(), attention.shape(), step.rows_, step.sequences_, step.q(), step.cache_,
                   Scratch(attention.shape()), step.out());
    return step.Result(attention.row_floats());
  }
  // A whole sequence, `chunk` rows a step.
  std::vector<float> RunInChunks(const AttentionCase& attention, int sequence, int length,
                                 int chunk) {
    std::vector<float> all;
    for (int start = 0; start < length; start += chunk) {
      const auto rows = Run(attention, {{sequence, start, std::min(chunk, length - start)}});
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }

 private:
  Memory scratch_;
};

double Tolerance(DType dtype) {
  return dtype == DType::kBF16 ? 1.5e-2 : dtype == DType::kF16 ? 2e-3 : 2e-6;
}

void ExpectAnswer(const AttentionCase& attention, const std::vector<StepPart>& parts,
                  const std::vector<float>& rows, int stride = 1) {
  const auto& shape = attention.shape();
  size_t at = 0;
  for (const StepPart& part : parts) {
    for (int r = 0; r < part.rows; ++r) {
      for (int h = 0; h < shape.heads; ++h, at += static_cast<size_t>(shape.head_dim)) {
        if ((r + h) % stride != 0) continue;
        const auto expected = attention.Reference(part.sequence, part.start + r, h);
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(rows[at + i]), expected[i], Tolerance(attention.dtype()))
              << "sequence " << part.sequence << " position " << part.start + r << " head " << h
              << " element " << i;
        }
      }
    }
  }
}

struct Variant {
  DType dtype;
  int heads;
  int kv_heads;
  int dim;
  int window;
};

class CudaAttentionVariants : public CudaAttention, public testing::WithParamInterface<Variant> {};

// Decode of several sequences, of one that is longer than a piece, and a chunk in one step.
TEST_P(CudaAttentionVariants, GivesTheAnswer) {
  const Variant& v = GetParam();
  const AttentionCase attention(Shape(v.heads, v.kv_heads, v.dim, v.window), v.dtype,
                                {600, 90, 17, 256});
  const std::vector<StepPart> decode = {{2, 16, 1}, {0, 599, 1}, {3, 255, 1}, {1, 0, 1}};
  ExpectAnswer(attention, decode, Run(attention, decode, 2));
  const std::vector<StepPart> mixed = {{0, 511, 1}, {1, 20, 70}, {3, 0, 1}, {2, 2, 15}};
  ExpectAnswer(attention, mixed, Run(attention, mixed, 3), 7);
}

TEST_P(CudaAttentionVariants, SameBitsInEveryChunk) {
  const Variant& v = GetParam();
  const int length = 330;  // crosses a piece, ends inside a tile
  const AttentionCase attention(Shape(v.heads, v.kv_heads, v.dim, v.window), v.dtype, {length, 40});
  const std::vector<float> whole = Run(attention, {{0, 0, length}});
  ExpectAnswer(attention, {{0, 0, length}}, whole, 31);
  EXPECT_EQ(whole, RunInChunks(attention, 0, length, 64));
  EXPECT_EQ(whole, RunInChunks(attention, 0, length, 7));
  // One by one where it matters: around tiles, pieces, and at the end.
  const size_t row = attention.row_floats();
  for (const int position : {0, 1, 62, 63, 64, 65, 127, 255, 256, 257, 319, 320, 329}) {
    const auto alone = Run(attention, {{1, 39, 1}, {0, position, 1}});
    const auto* expected = &whole[static_cast<size_t>(position) * row];
    EXPECT_EQ(std::vector<float>(expected, expected + row),
              std::vector<float>(alone.begin() + static_cast<ptrdiff_t>(row), alone.end()))
        << position;
  }
}

// With kernels of the fastest policy, which on Hopper are others.
class CudaAttentionFastest : public CudaAttention, public testing::WithParamInterface<Variant> {
 protected:
  static AttentionCase Case(const std::vector<int>& lengths, int block_size = 16) {
    const Variant& v = GetParam();
    return {Shape(v.heads, v.kv_heads, v.dim, v.window, GemmPolicy::kFastest), v.dtype, lengths,
            block_size};
  }
};

// Whole prompts, chunks, decode, and fewer rows than a block has, in one step.
TEST_P(CudaAttentionFastest, GivesTheAnswer) {
  const AttentionCase attention = Case({330, 90, 17, 200});
  const std::vector<StepPart> prompt = {{0, 0, 330}};
  ExpectAnswer(attention, prompt, Run(attention, prompt), 31);
  const std::vector<StepPart> mixed = {{0, 200, 130}, {1, 89, 1}, {2, 0, 17}, {3, 127, 73}};
  const auto rows = Run(attention, mixed, 2);
  ExpectAnswer(attention, mixed, rows, 11);
  EXPECT_EQ(rows, Run(attention, mixed)) << "a second run";
}

// Of all sequences with many rows, cut as they may be.
TEST_P(CudaAttentionFastest, SameBitsInEveryChunk) {
  const int length = 200;
  const AttentionCase attention = Case({length, 300}, 24);
  const std::vector<float> whole = Run(attention, {{0, 0, length}});
  EXPECT_EQ(whole, RunInChunks(attention, 0, length, 50));
  const auto pair = Run(attention, {{1, 170, 70}, {0, 0, length}});
  EXPECT_EQ(whole, std::vector<float>(pair.end() - std::ssize(whole), pair.end()));
}

// One recorded graph serves steps with other counts, lengths and pages.
TEST_F(CudaAttention, GraphFollowsTheCountsOnTheDevice) {
  const AttentionCase attention(Shape(4, 2, 64), DType::kBF16, {600, 90, 17, 256});
  const std::vector<StepPart> steps[] = {
      {{0, 599, 1}, {1, 50, 1}, {2, 0, 1}, {3, 255, 1}},
      {{3, 100, 1}},
      {{2, 16, 1}, {0, 300, 1}, {1, 89, 1}},
      {},
  };
  DeviceStep step(stream(), attention, steps[0]);
  void* scratch = Scratch(attention.shape());
  ASSERT_TRUE(stream().Synchronize().ok());
  const auto graph = Graph::Record(stream(), [&] {
    PagedAttention(stream(), attention.shape(), step.rows_, step.sequences_, step.q(), step.cache_,
                   scratch, step.out());
  });
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->kernels(), 1);
  for (const auto& parts : steps) {
    step.Fill(parts);
    (*graph)->Launch(stream());
    const auto rows = step.Result(attention.row_floats());
    ExpectAnswer(attention, parts, rows);
    if (parts.empty()) continue;
    EXPECT_EQ(rows, Run(attention, parts));
  }
}

TEST_F(CudaAttention, BlockSizesAndRunsDoNotShow) {
  std::vector<float> first;
  for (const int block_size : {16, 16, 1, 24, 128}) {
    const AttentionCase attention(Shape(2, 1, 64, 90), DType::kF16, {300, 40}, block_size);
    const auto rows = Run(attention, {{0, 270, 30}, {1, 39, 1}});
    if (first.empty()) first = rows;
    EXPECT_EQ(rows, first) << block_size;
  }
}

std::string NameOf(const testing::TestParamInfo<Variant>& variant) {
  const Variant& v = variant.param;
  return std::string(DTypeName(v.dtype)) + "_" + std::to_string(v.heads) + "x" +
         std::to_string(v.kv_heads) + "x" + std::to_string(v.dim) + "_window" +
         std::to_string(v.window);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaAttentionFastest,
    testing::Values(Variant{DType::kBF16, 8, 1, 128, 0}, Variant{DType::kF16, 2, 2, 128, 0},
                    Variant{DType::kBF16, 3, 1, 64, 100}, Variant{DType::kF16, 7, 1, 64, 0},
                    Variant{DType::kF16, 8, 2, 128, 130}, Variant{DType::kBF16, 5, 1, 80, 0},
                    Variant{DType::kBF16, 2, 1, 192, 0}, Variant{DType::kF32, 2, 1, 64, 0}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaAttentionVariants,
    testing::Values(Variant{DType::kBF16, 4, 1, 64, 0}, Variant{DType::kBF16, 2, 2, 64, 100},
                    Variant{DType::kF16, 8, 1, 128, 0}, Variant{DType::kBF16, 2, 1, 80, 70},
                    Variant{DType::kF16, 3, 1, 96, 0}, Variant{DType::kBF16, 2, 2, 192, 0},
                    Variant{DType::kBF16, 2, 1, 256, 33}, Variant{DType::kF32, 4, 2, 64, 0},
                    Variant{DType::kF32, 2, 1, 12, 50}, Variant{DType::kBF16, 2, 1, 12, 0},
                    Variant{DType::kF32, 2, 2, 128, 0}),
    NameOf);

}  // namespace
}  // namespace folkmoot::cuda
