// SPDX-License-Identifier: Apache-2.0
// Row-wise kernels. A row is a run of blocks of 16; sums over a row go by lane and end in one tree,
// so they do not depend on the target. Rows are shared out over the threads, never split.
#include "runtime/cpu/norm.h"

#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/simd-inl.h"
#include "runtime/exact_math.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = kLanes;

void AddRow(const float* delta, float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] += factor * delta[i];
}

float SumOfSquares(const float* x, int64_t n) {
  Block sum = ZeroBlock();
  for (int64_t i = 0; i < n; i += kStep) {
    const Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(block.v[v], block.v[v], sum.v[v]);
  }
  return SumLanes(sum);
}

// x and out may be the same row.
void NormRow(const float* x, const float* weight, int64_t n, float eps, float* out) {
  const DF d;
  const float mean = SumOfSquares(x, n) / static_cast<float>(n);
  const VF scale = hn::Set(d, 1.0f / std::sqrt(mean + eps));
  for (int64_t i = 0; i < n; i += kStep) {
    Block block = LoadBlockN(x + i, n - i);
    const Block w = LoadBlockN(weight + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = hn::Mul(hn::Mul(block.v[v], scale), w.v[v]);
    }
    StoreBlockN(block, out + i, n - i);
  }
}

// x and out may be the same row.
void LayerNormRow(const float* x, std::span<const float> weight, std::span<const float> bias,
                  float eps, float* out) {
  const auto n = static_cast<int64_t>(weight.size());
  const auto count = static_cast<float>(n);
  Block sum = ZeroBlock();
  for (int64_t i = 0; i < n; i += kStep) {
    const Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = hn::Add(sum.v[v], block.v[v]);
  }
  const float mean = SumLanes(sum) / count;
  Block squares = ZeroBlock();
  for (int64_t i = 0; i < n; i += kStep) {
    HWY_ALIGN float apart[kStep] = {};
    for (int64_t c = 0; c < std::min(kStep, n - i); ++c) apart[c] = x[i + c] - mean;
    const Block block = LoadBlock(apart);
    for (size_t v = 0; v < kVectors; ++v) {
      squares.v[v] = Fma(block.v[v], block.v[v], squares.v[v]);
    }
  }
  const float scale = 1.0f / std::sqrt(SumLanes(squares) / count + eps);
  for (size_t i = 0; i < weight.size(); ++i) {
    const float normal = (x[i] - mean) * scale * weight[i];
    out[i] = bias.empty() ? normal : normal + bias[i];
  }
}

void RotatePair(float cos, float sin, float* first, float* second) {
  const float a = *first;
  const float b = *second;
  *first = a * cos - b * sin;
  *second = b * cos + a * sin;
}

// One head: the pairs (i, i + half), or of neighbours, turn by the angle of their row of cos and
// sin.
void RotateHead(const float* cos, const float* sin, int64_t half, bool neighbours, float* x) {
  if (neighbours) {
    for (int64_t i = 0; i < half; ++i) RotatePair(cos[i], sin[i], x + 2 * i, x + 2 * i + 1);
    return;
  }
  float* second = x + half;
  for (int64_t i = 0; i < half; ++i) RotatePair(cos[i], sin[i], x + i, second + i);
}

void SigmoidGatedRow(const float* x, std::span<const float> weight, const float* y, int64_t n,
                     float* out) {
  const DF d;
  Block sum = ZeroBlock();
  const auto inputs = static_cast<int64_t>(weight.size());
  for (int64_t i = 0; i < inputs; i += kStep) {
    const Block a = LoadBlockN(x + i, inputs - i);
    const Block b = LoadBlockN(weight.data() + i, inputs - i);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(a.v[v], b.v[v], sum.v[v]);
  }
  const VF one = hn::Set(d, 1.0f);
  const VF gate = hn::Div(one, hn::Add(one, Exp(hn::Neg(hn::Set(d, SumLanes(sum))))));
  for (int64_t i = 0; i < n; i += kStep) {
    const Block value = LoadBlockN(y + i, n - i);
    Block total = LoadBlockN(out + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) total.v[v] = Fma(gate, value.v[v], total.v[v]);
    StoreBlockN(total, out + i, n - i);
  }
}

void SigmoidRow(const float* gates, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kStep) {
    const Block gate = LoadBlockN(gates + i, n - i);
    Block value = LoadBlockN(out + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) value.v[v] = TimesSigmoid(value.v[v], gate.v[v]);
    StoreBlockN(value, out + i, n - i);
  }
}

void WidenRow(const WeightView& table, int64_t row, float* out) {
  const int64_t n = table.k;
  if (table.dtype == DType::kF32) {
    std::memcpy(out, static_cast<const float*>(table.data) + row * n,
                static_cast<size_t>(n) * sizeof(float));
    return;
  }
  const auto* bits = static_cast<const uint16_t*>(table.data) + row * n;
  if (table.dtype == DType::kBF16) {
    for (int64_t i = 0; i < n; ++i) out[i] = BF16ToFloat(bits[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = F16ToFloat(bits[i]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(AddRow);
HWY_EXPORT(LayerNormRow);
HWY_EXPORT(NormRow);
HWY_EXPORT(RotateHead);
HWY_EXPORT(SigmoidGatedRow);
HWY_EXPORT(SigmoidRow);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(WidenRow);

// Rows that make up enough elements to be worth another thread.
int64_t GrainOf(int64_t cols) { return 32768 / std::max<int64_t>(cols, 1) + 1; }

template <typename F>
void ForRows(ThreadPool& pool, int64_t rows, int64_t cols, F row) {
  pool.ParallelFor(rows, GrainOf(cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) row(r);
  });
}

// Parts of rows, so that a single long one (logits) is shared out too.
template <typename F>
void ForElements(ThreadPool& pool, Matrix x, F change) {
  constexpr int64_t kPart = 4096;
  const int64_t parts = (x.cols + kPart - 1) / kPart;
  pool.ParallelFor(x.rows * parts, GrainOf(kPart), [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p % parts * kPart;
      const std::span<float> row = x.RowSpan(p / parts);
      for (float& value : row.subspan(static_cast<size_t>(first))
                              .first(static_cast<size_t>(std::min(kPart, x.cols - first)))) {
        change(value);
      }
    }
  });
}
}  // namespace

void RmsNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, float eps,
             Matrix out) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(NormRow)(x.Row(r), weight.data(), x.cols, eps, out.Row(r));
  });
}

void AddRmsNorm(ThreadPool& pool, ConstMatrix delta, float factor, std::span<const float> weight,
                float eps, Matrix residual, Matrix out) {
  ForRows(pool, delta.rows, delta.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(AddRow)(delta.Row(r), factor, delta.cols, residual.Row(r));
    HWY_DYNAMIC_DISPATCH(NormRow)(residual.Row(r), weight.data(), delta.cols, eps, out.Row(r));
  });
}

void LayerNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight,
               std::span<const float> bias, float eps, Matrix out) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(LayerNormRow)(x.Row(r), weight, bias, eps, out.Row(r));
  });
}

void Add(ThreadPool& pool, ConstMatrix delta, Matrix x) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(AddRow)(delta.Row(r), 1.0f, x.cols, x.Row(r));
  });
}

void Multiply(ThreadPool& pool, ConstMatrix factors, Matrix x) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    for (int64_t c = 0; c < x.cols; ++c) x.Row(r)[c] *= factors.Row(r)[c];
  });
}

void Scale(ThreadPool& pool, float factor, Matrix x) {
  ForElements(pool, x, [&](float& value) { value *= factor; });
}

void ScaleRows(ThreadPool& pool, std::span<const float> factors, Matrix x) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    for (float& value : x.RowSpan(r)) value *= factors[static_cast<size_t>(r)];
  });
}

void ScaleHeads(ThreadPool& pool, std::span<const float> factors, std::span<const float> scale,
                std::span<const float> bias, Matrix x) {
  const int64_t head_dim = x.cols / std::ssize(scale);
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    float* head = x.Row(r);
    for (size_t h = 0; h < scale.size(); ++h, head += head_dim) {
      const float factor = scale[h] * factors[static_cast<size_t>(r)] + bias[h];
      for (int64_t c = 0; c < head_dim; ++c) head[c] *= factor;
    }
  });
}

void ShiftScale(ThreadPool& pool, ConstMatrix x, std::span<const float> shift,
                std::span<const float> scale, Matrix out) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    const float* from = x.Row(r);
    float* to = out.Row(r);
    for (size_t c = 0; c < scale.size(); ++c) {
      to[c] = (shift.empty() ? from[c] : from[c] + shift[c]) * scale[c];
    }
  });
}

void SoftCap(ThreadPool& pool, float limit, Matrix x) {
  ForElements(pool, x, [&](float& value) { value = std::tanh(value / limit) * limit; });
}

void Clamp(ThreadPool& pool, float limit, Matrix x) {
  ForElements(pool, x, [&](float& value) { value = std::clamp(value, -limit, limit); });
}

void HeadRmsNorm(ThreadPool& pool, int64_t head_dim, std::span<const float> weight, float eps,
                 Matrix x) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    for (float* head = x.Row(r); head < x.Row(r) + x.cols; head += head_dim) {
      HWY_DYNAMIC_DISPATCH(NormRow)(head, weight.data(), head_dim, eps, head);
    }
  });
}

void ClipHeads(ThreadPool& pool, int64_t head_dim, std::span<const float> scale, float limit,
               Matrix x) {
  constexpr float kShortest = 1e-6f;  // as the authors have it
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    float* const row = x.Row(r);
    for (size_t c = 0; c < scale.size(); ++c) row[c] *= scale[c];
    for (float* head = row; head < row + x.cols; head += head_dim) {
      const float squares = HWY_DYNAMIC_DISPATCH(SumOfSquares)(head, head_dim);
      const float factor = std::min(1.0f, limit / (std::sqrt(squares) + kShortest));
      for (int64_t c = 0; c < head_dim; ++c) head[c] *= factor;
    }
  });
}

void SplitHeads(ThreadPool& pool, int64_t head_dim, ConstMatrix x, Matrix first, Matrix second) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    for (int64_t column = 0; column < first.cols; column += head_dim) {
      const float* head = x.Row(r) + 2 * column;
      std::copy_n(head, head_dim, first.Row(r) + column);
      std::copy_n(head + head_dim, head_dim, second.Row(r) + column);
    }
  });
}

void EmbeddingLookup(ThreadPool& pool, const WeightView& table, std::span<const int32_t> ids,
                     Matrix out) {
  ForRows(pool, out.rows, out.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(WidenRow)(table, ids[static_cast<size_t>(r)], out.Row(r));
  });
}

void EmbeddingLookup(ThreadPool& pool, std::span<const WeightView> parts,
                     std::span<const int64_t> ids, Matrix out) {
  const int64_t rows = parts.front().n;
  ForRows(pool, out.rows, out.cols, [&](int64_t r) {
    const int64_t id = ids[static_cast<size_t>(r)];
    HWY_DYNAMIC_DISPATCH(WidenRow)
    (parts[static_cast<size_t>(id / rows)], id % rows, out.Row(r));
  });
}

void ApplyRope(ThreadPool& pool, ConstMatrix cos, ConstMatrix sin, const RotaryPart& part,
               Matrix x) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    for (int64_t head = part.first; head < x.cols; head += part.head_dim) {
      HWY_DYNAMIC_DISPATCH(RotateHead)
      (cos.Row(r), sin.Row(r), cos.cols, part.neighbours, x.Row(r) + head);
    }
  });
}

void AddSigmoidGated(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, ConstMatrix y,
                     Matrix out) {
  ForRows(pool, x.rows, x.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(SigmoidGatedRow)(x.Row(r), weight, y.Row(r), y.cols, out.Row(r));
  });
}

void MultiplySigmoid(ThreadPool& pool, ConstMatrix gates, Matrix out) {
  ForRows(pool, out.rows, out.cols, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(SigmoidRow)(gates.Row(r), out.cols, out.Row(r));
  });
}

void MultiplyGates(ThreadPool& pool, GateFunction f, ConstMatrix gates, Matrix out) {
  const int64_t neighbours = out.cols / gates.cols;
  ForRows(pool, out.rows, out.cols, [&](int64_t r) {
    float* value = out.Row(r);
    for (int64_t g = 0; g < gates.cols; ++g) {
      const double gate = gates.Row(r)[g];
      const auto factor = static_cast<float>(f == GateFunction::kSoftplus ? exact::Softplus(gate)
                                                                          : exact::Sigmoid(gate));
      for (int64_t i = 0; i < neighbours; ++i) *value++ *= factor;
    }
  });
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
