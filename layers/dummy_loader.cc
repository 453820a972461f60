// SPDX-License-Identifier: Apache-2.0
// Random weights from a seed, for benchmarks of shapes whose weights are not at hand.
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "layers/weight_loader.h"

namespace folkmoot {
namespace {

// The sum of four uniforms, scaled to unit deviation: near enough to normal for a benchmark, and
// cheap.
float NearNormal(uint64_t& state) {
  state ^= state << 13;  // xorshift64
  state ^= state >> 7;
  state ^= state << 17;
  constexpr float kScale = 1.7320508f / 65536.0f;  // sqrt(12 / 4) / 2^16
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>((state >> (16 * i)) & 0xffff);
  return (sum - 2.0f * 65535.0f) * kScale;
}

class DummyLoader : public WeightLoader {
 public:
  DummyLoader(uint64_t seed, DType dtype) : seed_(seed), dtype_(dtype) {}

  // Nothing stands under another name than its first, and no experts in one tensor.
  bool Has(std::string_view) const override { return false; }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override { return Fill(ref, scratch_[0]); }
  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override {
    return Fill(ref, kept_.emplace_back());
  }
  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef&) override { return nullptr; }
  std::optional<DType> Stored(std::string_view) const override { return dtype_; }
  absl::StatusOr<std::vector<float>> Row(const std::string& name, int64_t n, int64_t row,
                                         int64_t rows) override {
    if (name.find("bias") == std::string::npos) return WeightLoader::Row(name, n, row, rows);
    return std::vector<float>(static_cast<size_t>(n));
  }
  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef& b) override {
    return std::make_pair(Fill(a, scratch_[0]), Fill(b, scratch_[1]));
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t n, int64_t) override {
    const bool zero = name.find("bias") != std::string::npos || name.ends_with(".sinks") ||
                      name.ends_with(".learnable_sink_param");
    const float value = zero ? 0.0f : 1.0f;
    std::vector<std::byte>& storage = scratch_[0];
    storage.resize(static_cast<size_t>(n) * sizeof(float));
    std::fill_n(reinterpret_cast<float*>(storage.data()), n, value);
    return WeightView{storage.data(), DType::kF32, 1, n};
  }

  absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows, int64_t n,
                                                int64_t below) override {
    uint64_t first = XXH3_64bits_withSeed(name.data(), name.size(), seed_) >> 32;
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < rows * n; ++i) {  // neighbours differ
      ids.push_back(static_cast<int32_t>(first++ % static_cast<uint64_t>(below)));
    }
    return ids;
  }

  void Release(std::span<const std::byte>) override {}

 private:
  WeightView Fill(const TensorRef& ref, std::vector<std::byte>& storage) {
    const bool embedding = ref.name.find("embed_tokens") != std::string::npos ||
                           ref.name == "embed.weight" || ref.name.ends_with(".wte.weight") ||
                           ref.name.ends_with(".embeddings.weight");
    const float deviation = embedding ? 1.0f : 1.0f / std::sqrt(static_cast<float>(ref.k));
    uint64_t state = XXH3_64bits_withSeed(ref.name.data(), ref.name.size(), seed_) | 1u;
    // One run of values, repeated, so that models of many gigabytes are there in seconds; its
    // length is a prime, so that rows differ.
    constexpr size_t kRun = 65521;
    const auto all = static_cast<size_t>(ref.rows() * ref.k);
    const auto size = static_cast<size_t>(DTypeBytes(dtype_));
    const size_t count = std::min(all, kRun);
    const size_t first = count == 0 ? 0 : static_cast<size_t>(ref.first_row * ref.k) % count;
    const size_t end = first + static_cast<size_t>(ref.n * ref.k);
    storage.resize(std::max(end, count) * size);
    for (size_t i = 0; i < count; ++i) {
      StoreElement(NearNormal(state) * deviation, storage.data(), dtype_, static_cast<int64_t>(i));
    }
    for (size_t done = count; done < end;) {
      const size_t more = std::min(done, end - done);
      std::memcpy(storage.data() + done * size, storage.data(), more * size);
      done += more;
    }
    return WeightView{storage.data() + first * size, dtype_, ref.n, ref.k};
  }

  uint64_t seed_;
  DType dtype_;
  std::array<std::vector<std::byte>, 2> scratch_;
  std::deque<std::vector<std::byte>> kept_;
};

}  // namespace

std::unique_ptr<WeightLoader> MakeDummyLoader(uint64_t seed, DType dtype) {
  return std::make_unique<DummyLoader>(seed, dtype);
}

}  // namespace folkmoot
