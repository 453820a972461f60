// SPDX-License-Identifier: Apache-2.0
// The convolution within heads and the means of ZAYA1's attention against plain loops in double,
// and the same bits however a sequence comes.
#include "runtime/ops/convolved_heads.h"

#include "tests/runtime/ops/stateful_layer.h"

namespace folkmoot {
namespace {

struct HeadsCase {
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t rows = 0;  // of the kernel
};

// Windows, and their products with a kernel of each head, [head_dim, head_dim, rows], plus bias.
struct HeadConvolution {
  HeadsCase shape;
  std::vector<float> before, bias;
  std::vector<RandomWeight> kernels;
  std::vector<PackedMatrix> packed;
  HeadWindows windows;
  StatefulLayer layer;

  HeadConvolution(const HeadsCase& dims, int64_t rows) : shape(dims) {
    const int64_t columns = shape.heads * shape.head_dim;
    before = RandomFloats(columns, 1);
    bias = RandomFloats(columns, 2);
    ThreadPool pool(1);
    for (int64_t h = 0; h < shape.heads; ++h) {
      kernels.emplace_back(DType::kF32, shape.head_dim, shape.head_dim * shape.rows,
                           static_cast<uint32_t>(10 + h));
      packed.push_back(PackedMatrix::Pack(pool, kernels.back().view()));
    }
    windows = {.rows = shape.rows, .columns = columns, .before = before};
    layer = {.state = {.inputs = 3, .memory = windows.memory()},
             .width = columns,
             .columns = columns,
             .inputs = RandomFloats(rows * columns, 3),
             .run = [this](ThreadPool& threads, std::span<const AttentionSequence> sequences,
                           ConstMatrix inputs, RecurrentState& state, Workspace& workspace,
                           Matrix out) { Run(threads, sequences, inputs, state, workspace, out); }};
  }
  HeadConvolution(const HeadConvolution&) = delete;

  void Run(ThreadPool& pool, std::span<const AttentionSequence> sequences, ConstMatrix inputs,
           RecurrentState& state, Workspace& workspace, Matrix out) const {
    const Matrix all = workspace.GetMatrix(inputs.rows, windows.columns * windows.rows);
    MakeHeadWindows(pool, windows, sequences, inputs, state, all);
    const int64_t width = shape.head_dim * shape.rows;
    for (int64_t h = 0; h < shape.heads; ++h) {
      const std::span<const float> own = std::span<const float>(bias).subspan(
          static_cast<size_t>(h * shape.head_dim), static_cast<size_t>(shape.head_dim));
      Gemm(pool, all.Columns(h * width, width), packed[static_cast<size_t>(h)], own, workspace,
           out.Columns(h * shape.head_dim, shape.head_dim));
    }
  }

  double Input(int64_t row, int64_t column) const {
    return row < 0 ? double{before[static_cast<size_t>(column)]}
                   : double{layer.Inputs().Row(row)[column]};
  }
  double Expected(int64_t row, int64_t column) const {
    const int64_t head = column / shape.head_dim;
    double sum = bias[static_cast<size_t>(column)];
    for (int64_t c = 0; c < shape.head_dim; ++c) {
      for (int64_t j = 0; j < shape.rows; ++j) {
        sum += double{kernels[static_cast<size_t>(head)].at(column % shape.head_dim,
                                                            c * shape.rows + j)} *
               Input(row - shape.rows + 1 + j, head * shape.head_dim + c);
      }
    }
    return sum;
  }
};

constexpr HeadsCase kCases[] = {{3, 8, 2}, {2, 19, 1}, {1, 33, 3}, {5, 6, 4}};

TEST(HeadConvolution, MatchesDoubles) {
  ThreadPool pool(2);
  for (const HeadsCase& shape : kCases) {
    const HeadConvolution c(shape, 11);
    const std::vector<float> out = InPieces(c.layer, pool, {11});
    for (int64_t t = 0; t < 11; ++t) {
      for (int64_t j = 0; j < c.layer.columns; ++j) {
        ASSERT_NEAR(out[static_cast<size_t>(t * c.layer.columns + j)], c.Expected(t, j), 2e-5)
            << shape.head_dim << " row " << t << " column " << j;
      }
    }
  }
}

TEST(HeadConvolution, SameBitsForAnyPiecesThreadsTargetsAndCompany) {
  for (const HeadsCase& shape : kCases) ExpectSameBits(HeadConvolution(shape, 11).layer);
}

TEST(HeadMeans, MatchDoubles) {
  constexpr int64_t kRows = 7, kKeys = 3, kDim = 5;
  for (const int64_t queries : {1, 2, 4}) {
    const int64_t columns = kKeys * (queries + 1) * kDim;
    const std::vector<float> projected = RandomFloats(kRows * columns, 4);
    const std::vector<float> start = RandomFloats(kRows * columns, 5);
    std::vector<double> expected(start.begin(), start.end());
    for (int64_t t = 0; t < kRows; ++t) {
      const auto at = [&](int64_t head, int64_t c) {
        return static_cast<size_t>(t * columns + head * kDim + c);
      };
      for (int64_t query = 0; query < kKeys * queries; ++query) {
        const int64_t key = kKeys * queries + query / queries;
        for (int64_t c = 0; c < kDim; ++c) {
          const double mean = (double{projected[at(query, c)]} + projected[at(key, c)]) / 2;
          expected[at(query, c)] += mean;
          expected[at(key, c)] += mean / static_cast<double>(queries);
        }
      }
    }
    std::vector<float> first;
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      std::vector<float> out = start;
      AddHeadMeans(pool, kDim, queries, AsMatrix(projected, kRows, columns),
                   AsMatrix(out, kRows, columns));
      if (first.empty()) first = out;
      EXPECT_EQ(Bits(out), Bits(first));
    }
    for (size_t i = 0; i < first.size(); ++i) ASSERT_NEAR(first[i], expected[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace folkmoot
