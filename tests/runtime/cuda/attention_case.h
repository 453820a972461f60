// SPDX-License-Identifier: Apache-2.0
// A batch of sequences with random queries, keys and values, of which tests compute any part in any
// step, and the answer in float64.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "runtime/cuda/attention.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {

inline float RoundTo(DType dtype, float x) {
  if (dtype == DType::kBF16) return BF16ToFloat(FloatToBF16(x));
  return dtype == DType::kF16 ? F16ToFloat(FloatToF16(x)) : x;
}
// Elements of `dtype` as bytes.
inline std::vector<unsigned char> Encode(DType dtype, const std::vector<float>& values) {
  const auto bytes = static_cast<size_t>(DTypeBytes(dtype));
  std::vector<unsigned char> out(values.size() * bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = dtype == DType::kBF16  ? FloatToBF16(values[i])
                          : dtype == DType::kF16 ? FloatToF16(values[i])
                                                 : std::bit_cast<uint32_t>(values[i]);
    for (size_t b = 0; b < bytes; ++b) {
      out[i * bytes + b] = static_cast<unsigned char>(bits >> (8 * b));
    }
  }
  return out;
}
inline std::vector<float> Decode(DType dtype, const std::vector<unsigned char>& data) {
  const auto bytes = static_cast<size_t>(DTypeBytes(dtype));
  std::vector<float> out(data.size() / bytes);
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t bits = 0;
    for (size_t b = 0; b < bytes; ++b)
      bits |= static_cast<uint32_t>(data[i * bytes + b]) << (8 * b);
    out[i] = dtype == DType::kBF16  ? BF16ToFloat(static_cast<uint16_t>(bits))
             : dtype == DType::kF16 ? F16ToFloat(static_cast<uint16_t>(bits))
                                    : std::bit_cast<float>(bits);
  }
  return out;
}

// Rows start .. start + rows of a sequence.
struct StepPart {
  int sequence = 0;
  int start = 0;
  int rows = 0;
};

class AttentionCase {
 public:
  AttentionCase(AttentionShape shape, DType dtype, std::vector<int> lengths, int block_size = 16)
      : shape_(shape), dtype_(dtype), lengths_(std::move(lengths)), block_size_(block_size) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (const int length : lengths_) {
      const auto draw = [&](int heads, float scale) {
        std::vector<float> values(static_cast<size_t>(length * heads * shape_.head_dim));
        for (float& value : values) value = RoundTo(dtype_, scale * normal(random));
        return values;
      };
      q_.push_back(draw(shape_.heads, 2.0f));
      keys_.push_back(draw(shape_.kv_heads, 1.0f));
      values_.push_back(draw(shape_.kv_heads, 1.0f));
      longest_ = std::max(longest_, length);
    }
    block_stride_ = (longest_ + block_size_ - 1) / block_size_;
    pages_.resize(lengths_.size() * static_cast<size_t>(block_stride_));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), random);
  }

  const AttentionShape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int longest() const { return longest_; }
  int block_stride() const { return block_stride_; }
  int block_size() const { return block_size_; }
  size_t row_floats() const { return static_cast<size_t>(shape_.heads * shape_.head_dim); }

  // Pages with the keys (or values) that are there after the step; all else is NaN.
  std::vector<float> Pages(bool keys, const std::vector<StepPart>& parts) const {
    std::vector<float> out(
        pages_.size() * static_cast<size_t>(shape_.kv_heads * block_size_ * shape_.head_dim),
        std::numeric_limits<float>::quiet_NaN());
    for (const StepPart& part : parts) {
      const auto& from = (keys ? keys_ : values_)[static_cast<size_t>(part.sequence)];
      for (int p = FirstSeen(part.start); p < part.start + part.rows; ++p) {
        const int page = PageOf(part.sequence, p);
        for (int h = 0; h < shape_.kv_heads; ++h) {
          const int to = (page * shape_.kv_heads + h) * block_size_ + p % block_size_;
          std::copy_n(from.begin() + (p * shape_.kv_heads + h) * shape_.head_dim, shape_.head_dim,
                      out.begin() + to * shape_.head_dim);
        }
      }
    }
    return out;
  }
  // The block table of a step; pages that nothing may look at are far outside.
  std::vector<int32_t> Table(const std::vector<StepPart>& parts, size_t sequences) const {
    std::vector<int32_t> table(sequences * static_cast<size_t>(block_stride_), 1 << 28);
    for (size_t s = 0; s < parts.size(); ++s) {
      const int end = parts[s].start + parts[s].rows;
      for (int b = FirstSeen(parts[s].start) / block_size_; b * block_size_ < end; ++b) {
        table[s * static_cast<size_t>(block_stride_) + static_cast<size_t>(b)] =
            PageOf(parts[s].sequence, b * block_size_);
      }
    }
    return table;
  }
  std::vector<float> Queries(const StepPart& part) const {
    const auto& q = q_[static_cast<size_t>(part.sequence)];
    const size_t row = row_floats();
    return {q.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(part.start) * row),
            q.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(part.start + part.rows) * row)};
  }

  // The answer for one query and head.
  std::vector<double> Reference(int sequence, int position, int head) const {
    const auto s = static_cast<size_t>(sequence);
    const int dim = shape_.head_dim;
    const int kv_head = head / (shape_.heads / shape_.kv_heads);
    const float* q = &q_[s][static_cast<size_t>((position * shape_.heads + head) * dim)];
    std::vector<double> scores;
    double top = -1e300;
    for (int p = FirstSeen(position); p <= position; ++p) {
      const float* k = &keys_[s][static_cast<size_t>((p * shape_.kv_heads + kv_head) * dim)];
      double dot = 0;
      for (int i = 0; i < dim; ++i) dot += static_cast<double>(q[i]) * static_cast<double>(k[i]);
      scores.push_back(dot * static_cast<double>(shape_.scale));
      top = std::max(top, scores.back());
    }
    double total = 0;
    std::vector<double> out(static_cast<size_t>(dim), 0.0);
    for (int p = FirstSeen(position); p <= position; ++p) {
      const double weight = std::exp(scores[static_cast<size_t>(p - FirstSeen(position))] - top);
      const float* v = &values_[s][static_cast<size_t>((p * shape_.kv_heads + kv_head) * dim)];
      for (int i = 0; i < dim; ++i)
        out[static_cast<size_t>(i)] += weight * static_cast<double>(v[i]);
      total += weight;
    }
    for (double& x : out) x /= total;
    return out;
  }

  int FirstSeen(int position) const {
    return shape_.window > 0 ? std::max(0, position - shape_.window + 1) : 0;
  }

 private:
  int PageOf(int sequence, int position) const {
    return pages_[static_cast<size_t>(sequence * block_stride_ + position / block_size_)];
  }

  AttentionShape shape_;
  DType dtype_;
  std::vector<int> lengths_;
  int block_size_;
  int longest_ = 0;
  int block_stride_ = 0;
  std::vector<int32_t> pages_;
  std::vector<std::vector<float>> q_;     // by sequence, [length, heads, head_dim]
  std::vector<std::vector<float>> keys_;  // [length, kv_heads, head_dim]
  std::vector<std::vector<float>> values_;
};

// What a step needs on the device, with room for `padding` more rows and sequences than are real.
class DeviceStep {
 public:
  DeviceStep(Stream& stream, const AttentionCase& attention, const std::vector<StepPart>& parts,
             int padding = 0)
      : stream_(stream), attention_(attention) {
    rows_.rows = padding;
    for (const StepPart& part : parts) rows_.rows += part.rows;
    sequences_.sequences = static_cast<int>(parts.size()) + padding;
    Fill(parts);
    rows_.valid = counts_.As<int32_t>();
    sequences_.valid = counts_.As<int32_t>() + 1;
    sequences_.first_row = first_row_.As<int32_t>();
    sequences_.rows = rows_list_.As<int32_t>();
    sequences_.start = start_.As<int32_t>();
    sequences_.blocks = table_.As<int32_t>();
    sequences_.block_stride = attention.block_stride();
    for (const StepPart& part : parts) {
      sequences_.max_rows = std::max(sequences_.max_rows, part.rows);
    }
    sequences_.max_length = attention.longest();
    cache_ = {keys_.data(),
              values_.data(),
              attention.dtype(),
              attention.shape().kv_heads,
              attention.shape().head_dim,
              attention.block_size()};
  }

  // Puts another step of at most as many rows and sequences into the same memory.
  void Fill(const std::vector<StepPart>& parts) {
    std::vector<float> q;
    std::vector<int32_t> first_row, rows, start;
    total_rows_ = 0;
    for (const StepPart& part : parts) {
      first_row.push_back(total_rows_);
      rows.push_back(part.rows);
      start.push_back(part.start);
      total_rows_ += part.rows;
      const auto more = attention_.Queries(part);
      q.insert(q.end(), more.begin(), more.end());
    }
    const auto sequences = static_cast<size_t>(sequences_.sequences);
    for (auto* list : {&first_row, &rows, &start}) list->resize(sequences, 1 << 28);
    q.resize(static_cast<size_t>(rows_.rows) * attention_.row_floats());
    const DType dtype = attention_.dtype();
    Copy(Encode(dtype, q), &q_);
    Copy(std::vector<unsigned char>(static_cast<size_t>(q_.bytes()), 0xee), &out_);
    Copy(Encode(dtype, attention_.Pages(true, parts)), &keys_);
    Copy(Encode(dtype, attention_.Pages(false, parts)), &values_);
    Copy(std::vector<int32_t>{total_rows_, static_cast<int32_t>(parts.size())}, &counts_);
    Copy(first_row, &first_row_);
    Copy(rows, &rows_list_);
    Copy(start, &start_);
    Copy(attention_.Table(parts, sequences), &table_);
  }

  MatrixRef Rows(const Memory& memory) const {
    const int64_t cols = memory.bytes() / DTypeBytes(cache_.dtype) / rows_.rows;
    return {memory.data(), cache_.dtype, rows_.rows, cols, cols};
  }
  MatrixRef q() const { return Rows(q_); }
  MatrixRef out() const { return Rows(out_); }
  // The real rows of the result.
  std::vector<float> Result(size_t row_floats) {
    std::vector<unsigned char> bytes(static_cast<size_t>(out_.bytes()));
    CopyToHost(stream_, bytes.data(), out_.data(), out_.bytes());
    EXPECT_TRUE(stream_.Synchronize().ok()) << stream_.status();
    std::vector<float> values = Decode(cache_.dtype, bytes);
    for (size_t i = static_cast<size_t>(total_rows_) * row_floats; i < values.size(); ++i) {
      EXPECT_EQ(Encode(cache_.dtype, {values[i]})[0], 0xee) << "padding was written";
    }
    values.resize(static_cast<size_t>(total_rows_) * row_floats);
    return values;
  }

  StepRows rows_;
  StepSequences sequences_;
  KvLayer cache_;

 private:
  template <typename T>
  void Copy(const std::vector<T>& values, Memory* to) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    if (to->data() == nullptr) {
      auto memory = Memory::Allocate(bytes, "a test");
      EXPECT_TRUE(memory.ok()) << memory.status();
      *to = std::move(*memory);
    }
    ASSERT_EQ(bytes, to->bytes());
    CopyToDevice(stream_, to->data(), values.data(), bytes);
    EXPECT_TRUE(stream_.Synchronize().ok());
  }

  Stream& stream_;
  const AttentionCase& attention_;
  int total_rows_ = 0;
  Memory q_, out_, keys_, values_, counts_, first_row_, rows_list_, start_, table_;
};

}  // namespace folkmoot::cuda
