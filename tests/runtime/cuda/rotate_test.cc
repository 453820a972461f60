// SPDX-License-Identifier: Apache-2.0
// A decoder's attention step on the device against that on the CPU.
#include <random>

#include "runtime/ops/attention.h"
#include "runtime/ops/norm.h"
#include "tests/runtime/cuda/attention_case.h"

namespace folkmoot::cuda {
namespace {

constexpr float kEps = 1e-6f;
constexpr int kBlockSize = 16;
constexpr int kBlocks = 12;

// Two sequences of 5 and 3 rows that start at positions 14 and 30, and a row of padding.
struct Step {
  explicit Step(const AttentionShape& shape_in) : shape(shape_in) {
    std::mt19937 random(21);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::vector<float>& to, int count) {
      to.resize(static_cast<size_t>(count));
      for (float& x : to) x = normal(random);
    };
    draw(qkv, 9 * Columns());
    draw(cos, 9 * shape.rotary_dim / 2);
    draw(sin, 9 * shape.rotary_dim / 2);
    draw(weight_q, shape.head_dim);
    draw(weight_k, shape.head_dim);
  }
  int Columns() const { return (shape.heads + 2 * shape.kv_heads) * shape.head_dim; }
  // Columns begin .. begin + count of the real rows.
  std::vector<float> Cut(int begin, int count) const {
    std::vector<float> out;
    for (int t = 0; t < 8; ++t) {
      const auto row = qkv.begin() + t * Columns() + begin;
      out.insert(out.end(), row, row + count);
    }
    return out;
  }

  AttentionShape shape;
  std::vector<float> qkv, cos, sin, weight_q, weight_k;
  std::vector<int32_t> positions = {14, 15, 16, 17, 18, 30, 31, 32, 1 << 28};
  std::vector<int32_t> sequence = {0, 0, 0, 0, 0, 1, 1, 1, -1};
  std::vector<int32_t> blocks = {7, 2, 0, 9, 4, 11};  // three each
};

AttentionShape Shape(int heads, int kv_heads, int dim, int rotary) {
  AttentionShape shape;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_dim = dim;
  shape.rotary_dim = rotary;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(dim));
  return shape;
}

// What the CPU makes of the step.
struct CpuStep {
  CpuStep(const Step& step, bool norm) {
    const AttentionShape& s = step.shape;
    const int64_t dim = s.head_dim;
    q = step.Cut(0, s.heads * s.head_dim);
    k = step.Cut(s.heads * s.head_dim, s.kv_heads * s.head_dim);
    v = step.Cut((s.heads + s.kv_heads) * s.head_dim, s.kv_heads * s.head_dim);
    ThreadPool pool(1);
    const Matrix mq(q.data(), 8, s.heads * dim);
    const Matrix mk(k.data(), 8, s.kv_heads * dim);
    if (norm) {
      HeadRmsNorm(pool, dim, step.weight_q, kEps, mq);
      HeadRmsNorm(pool, dim, step.weight_k, kEps, mk);
    }
    const ConstMatrix cos(step.cos.data(), 8, s.rotary_dim / 2);
    const ConstMatrix sin(step.sin.data(), 8, s.rotary_dim / 2);
    ApplyRope(pool, cos, sin, {.head_dim = dim}, mq);
    ApplyRope(pool, cos, sin, {.head_dim = dim}, mk);
  }
  std::vector<float> q, k, v;
};

class CudaRotate : public CudaTest {
 protected:
  // Fills q_, keys_ and values_.
  void Rotate(const Step& step, DType in, DType type, bool norm) {
    const AttentionShape& s = step.shape;
    qkv_ = ToDevice(Encode(in, step.qkv));
    const auto bytes = static_cast<size_t>(DTypeBytes(type));
    const auto page = static_cast<size_t>(s.kv_heads * kBlockSize * s.head_dim);
    keys_ = ToDevice(std::vector<unsigned char>(kBlocks * page * bytes, 0xee));
    values_ = ToDevice(std::vector<unsigned char>(kBlocks * page * bytes, 0xee));
    q_ = ToDevice(
        std::vector<unsigned char>(static_cast<size_t>(9 * s.heads * s.head_dim) * bytes, 0xee));
    lists_ = ToDevice(step.positions);
    sequence_ = ToDevice(step.sequence);
    blocks_ = ToDevice(step.blocks);
    cos_ = ToDevice(step.cos);
    sin_ = ToDevice(step.sin);
    valid_ = ToDevice(std::vector<int32_t>{8, 2});
    weight_q_ = ToDevice(step.weight_q);
    weight_k_ = ToDevice(step.weight_k);
    rows_.rows = 9;
    rows_.valid = valid_.As<int32_t>();
    rows_.positions = lists_.As<int32_t>();
    rows_.sequence = sequence_.As<int32_t>();
    rows_.cos = cos_.As<float>();
    rows_.sin = sin_.As<float>();
    sequences_.sequences = 2;
    sequences_.valid = valid_.As<int32_t>() + 1;
    sequences_.blocks = blocks_.As<int32_t>();
    sequences_.block_stride = 3;
    cache_ = {keys_.data(), values_.data(), type, s.kv_heads, s.head_dim, kBlockSize};
    const QkNorm qk_norm =
        norm ? QkNorm{weight_q_.As<float>(), weight_k_.As<float>(), kEps} : QkNorm{};
    RotateAndStore(stream(), s, rows_, sequences_,
                   {qkv_.data(), in, 9, step.Columns(), step.Columns()}, qk_norm, Q(step), cache_);
  }
  MatrixRef Q(const Step& step) const {
    const int64_t cols = step.shape.heads * step.shape.head_dim;
    return {q_.data(), cache_.dtype, 9, cols, cols};
  }
  std::vector<float> Read(const Memory& memory) {
    return Decode(cache_.dtype, ToHost<unsigned char>(memory));
  }
  // The stored row of a head at a row of the step.
  static std::vector<float> Stored(const Step& step, const std::vector<float>& pages, int row,
                                   int head) {
    const int position = step.positions[static_cast<size_t>(row)];
    const int s = step.sequence[static_cast<size_t>(row)];
    const int page = step.blocks[static_cast<size_t>(3 * s + position / kBlockSize)];
    const int line = (page * step.shape.kv_heads + head) * kBlockSize + position % kBlockSize;
    const auto begin = pages.begin() + line * step.shape.head_dim;
    return {begin, begin + step.shape.head_dim};
  }

  Memory qkv_, keys_, values_, q_, lists_, sequence_, blocks_, cos_, sin_, valid_, weight_q_,
      weight_k_;
  StepRows rows_;
  StepSequences sequences_;
  KvLayer cache_;
};

std::vector<float> Rounded(DType dtype, std::vector<float> values) {
  for (float& x : values) x = RoundTo(dtype, x);
  return values;
}

TEST_F(CudaRotate, HasTheBitsOfTheCpu) {
  const AttentionShape shapes[] = {
      Shape(4, 2, 128, 128), Shape(5, 1, 128, 128), Shape(3, 1, 64, 64), Shape(2, 2, 128, 64),
      Shape(2, 1, 80, 32),   Shape(3, 3, 12, 6),    Shape(2, 1, 6, 4),   Shape(1, 1, 256, 256)};
  for (const AttentionShape& shape : shapes) {
    for (const bool norm : {false, true}) {
      for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
        const Step step(shape);
        Rotate(step, DType::kF32, type, norm);
        const CpuStep cpu(step, norm);
        auto q = Read(q_);
        const auto padding = static_cast<size_t>(8 * shape.heads * shape.head_dim);
        for (size_t i = padding; i < q.size(); ++i) {
          ASSERT_EQ(Encode(type, {q[i]})[0], 0xee) << "padding was written";
        }
        q.resize(padding);
        EXPECT_EQ(q, Rounded(type, cpu.q)) << shape.head_dim << norm;
        const auto keys = Read(keys_);
        const auto values = Read(values_);
        for (int t = 0; t < 8; ++t) {
          for (int h = 0; h < shape.kv_heads; ++h) {
            const int at = (t * shape.kv_heads + h) * shape.head_dim;
            const auto part = [&](const std::vector<float>& rows) {
              return Rounded(type, {rows.begin() + at, rows.begin() + at + shape.head_dim});
            };
            ASSERT_EQ(Stored(step, keys, t, h), part(cpu.k)) << t << " " << h;
            ASSERT_EQ(Stored(step, values, t, h), part(cpu.v)) << t << " " << h;
          }
        }
      }
    }
  }
}

TEST_F(CudaRotate, TakesSixteenBits) {
  for (const AttentionShape& shape :
       {Shape(2, 1, 64, 64), Shape(3, 1, 128, 128), Shape(2, 1, 80, 32)}) {
    Step step(shape);
    step.qkv = Rounded(DType::kBF16, step.qkv);
    Rotate(step, DType::kBF16, DType::kBF16, true);
    auto q = Read(q_);
    q.resize(static_cast<size_t>(8 * shape.heads * shape.head_dim));
    EXPECT_EQ(q, Rounded(DType::kBF16, CpuStep(step, true).q)) << shape.head_dim;
  }
}

// Rotation, storage and attention, against the CPU's.
TEST_F(CudaRotate, AttentionAfterItMatchesTheCpu) {
  const AttentionShape shape = Shape(4, 2, 64, 64);
  Step step(shape);
  step.positions = {0, 1, 2, 3, 4, 0, 1, 2, 1 << 28};
  Rotate(step, DType::kF32, DType::kF32, true);
  const Memory first_row = ToDevice(std::vector<int32_t>{0, 5});
  const Memory counts = ToDevice(std::vector<int32_t>{5, 3});
  const Memory start = ToDevice(std::vector<int32_t>{0, 0});
  sequences_.first_row = first_row.As<int32_t>();
  sequences_.rows = counts.As<int32_t>();
  sequences_.start = start.As<int32_t>();
  sequences_.max_rows = 5;
  sequences_.max_length = 5;
  const Memory scratch =
      Zeros<unsigned char>(static_cast<size_t>(AttentionScratchBytes(shape, 9, 5)));
  const Memory out = Zeros<float>(static_cast<size_t>(9 * shape.heads * shape.head_dim));
  const int64_t cols = shape.heads * shape.head_dim;
  PagedAttention(stream(), shape, rows_, sequences_, Q(step), cache_, scratch.data(),
                 {out.data(), DType::kF32, 9, cols, cols});
  const auto result = ToHost<float>(out);

  CpuStep cpu(step, true);
  ThreadPool pool(1);
  Workspace workspace;
  KvCache cache({.layers = 1, .blocks = 2, .block_size = 16, .kv_heads = 2, .head_dim = 64});
  const std::vector<int32_t> pages = {1, 0};
  const AttentionSequence sequences[] = {{0, 5, 0, {&pages[0], 1}}, {5, 3, 0, {&pages[1], 1}}};
  const int64_t kv_cols = shape.kv_heads * shape.head_dim;
  StoreKv(pool, 0, sequences, {cpu.k.data(), 8, kv_cols}, {cpu.v.data(), 8, kv_cols}, cache);
  std::vector<float> expected(static_cast<size_t>(8 * cols));
  folkmoot::PagedAttention(pool, {.layer = 0, .heads = shape.heads, .scale = shape.scale},
                           sequences, {cpu.q.data(), 8, cols}, cache, workspace,
                           {expected.data(), 8, cols});
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(result[i], expected[i], 2e-6) << i;
}

}  // namespace
}  // namespace folkmoot::cuda
