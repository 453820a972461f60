// SPDX-License-Identifier: Apache-2.0
// A form of the output that begins behind the model's reasoning.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/token_constraint.h"

namespace folkmoot {

// One thread at a time, as every constraint.
class LateConstraint final : public TokenConstraint {
 public:
  struct Marks {
    int32_t begin = -1;            // the token that begins reasoning, and
    int32_t end = -1;              // the one that ends it
    bool inside = false;           // the output begins inside of it; else it may begin with `begin`
    int64_t vocab = 0;             // ids that the model scores
    std::vector<int32_t> end_ids;  // of a text: they do not come inside of reasoning
  };

  // `form` is in its first state.
  LateConstraint(std::unique_ptr<TokenConstraint> form, Marks marks);

  bool FillMask(std::span<uint32_t> mask) override;
  void Accept(int32_t token) override;
  std::unique_ptr<TokenConstraint> Clone() const override;

 private:
  enum class State : uint8_t { kStart, kReasoning, kForm };

  std::unique_ptr<TokenConstraint> form_;
  Marks marks_;
  State state_;
};

}  // namespace folkmoot
