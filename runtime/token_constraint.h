// SPDX-License-Identifier: Apache-2.0
// What may come next in an output that has to follow a form (JSON schema, regular expression,
// list of choices). The scheduler asks it for a mask before each token and tells it the token that
// was sampled; runtime/grammar makes constraints.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace folkmoot {

class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // Sets bit t of mask [ceil(V / 32)] (bit t % 32 of word t / 32) for every token that may come
  // next, the model's end tokens included where the form is complete, and clears all others. False
  // when no token may follow at all: the form is complete and has no end token, or it cannot be
  // spelled with this vocabulary.
  virtual bool FillMask(std::span<uint32_t> mask) = 0;
  // Moves on by a token that the last mask allowed.
  virtual void Accept(int32_t token) = 0;
  // A constraint in the same state, for another choice of the same request.
  virtual std::unique_ptr<TokenConstraint> Clone() const = 0;
};

}  // namespace folkmoot
