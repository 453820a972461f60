// SPDX-License-Identifier: Apache-2.0
// Cosines and sines of the rotary embedding (Su et al. 2021) and its published stretchings, with
// the formulas and the float32 rounding of Hugging Face Transformers (modeling_rope_utils.py).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/tensor.h"

namespace folkmoot {

// YaRN's scale of scores or of cos and sin: 1 + 0.1 mscale ln(factor), 1 where nothing is
// stretched.
double YarnMscale(double factor, double mscale);

// Immutable once its frequencies are right; any thread.
class Rope {
 public:
  // Of a head_dim of 0 nothing turns, and cos and sin have no columns.
  Rope(const RopeConfig& config, int64_t head_dim, int64_t max_positions);
  // One factor for each pair, of all lengths (ModelConfig::learned_frequencies).
  void MultiplyFrequencies(std::vector<float> factors);

  int64_t rotary_dim() const { return rotary_dim_; }
  // What cos and sin are multiplied by, within the original context.
  float attention_scaling() const { return scaling_; }

  // Allocates nothing. Fills row t of cos and sin [T, rotary_dim / 2] for the token at
  // positions[t]. lengths[t] is the length that the stretchings that depend on one (dynamic NTK,
  // longrope) must use: the prompt's length for prompt tokens and position + 1 after it. It is a
  // property of the sequence and not of the step, so chunked prefill gives the same bits. The
  // attention scaling factor of yarn and longrope is multiplied in.
  void Fill(std::span<const int32_t> positions, std::span<const int32_t> lengths, Matrix cos,
            Matrix sin) const;

 private:
  // Whether sequences of this length leave the original context of a length-dependent stretching.
  bool Stretched(int64_t length) const;
  // The inverse frequency of pair i, and that before the factors.
  float Frequency(int64_t i, int64_t length) const;
  float PlainFrequency(int64_t i, int64_t length) const;

  RopeConfig config_;
  int64_t rotary_dim_;
  int64_t max_positions_;
  float scaling_ = 1.0f;
  float stretched_scaling_ = 1.0f;  // beyond the original context
  std::vector<float> inverse_;      // for lengths up to the original context
  std::vector<float> factors_;      // empty: none
};

}  // namespace folkmoot
