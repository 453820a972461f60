// SPDX-License-Identifier: Apache-2.0
#include "launch/api/request/late_constraint.h"

#include <algorithm>
#include <utility>

namespace folkmoot {
namespace {

uint32_t BitOf(int64_t id) { return uint32_t{1} << (id % 32); }
size_t WordOf(int64_t id) { return static_cast<size_t>(id / 32); }

}  // namespace

LateConstraint::LateConstraint(std::unique_ptr<TokenConstraint> form, Marks marks)
    : form_(std::move(form)),
      marks_(std::move(marks)),
      state_(marks_.inside ? State::kReasoning : State::kStart) {
  std::erase_if(marks_.end_ids, [&](int32_t id) { return id < 0 || id >= marks_.vocab; });
}

bool LateConstraint::FillMask(std::span<uint32_t> mask) {
  if (state_ == State::kForm) return form_->FillMask(mask);
  if (state_ == State::kStart) {
    form_->FillMask(mask);
    mask[WordOf(marks_.begin)] |= BitOf(marks_.begin);
    return true;
  }
  std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  if (marks_.vocab % 32 != 0) mask.back() = BitOf(marks_.vocab) - 1;
  for (const int32_t id : marks_.end_ids) mask[WordOf(id)] &= ~BitOf(id);
  return true;
}

void LateConstraint::Accept(int32_t token) {
  if (state_ == State::kReasoning) {
    if (token == marks_.end) state_ = State::kForm;
  } else if (state_ == State::kStart && token == marks_.begin) {
    state_ = State::kReasoning;
  } else {
    state_ = State::kForm;
    form_->Accept(token);
  }
}

std::unique_ptr<TokenConstraint> LateConstraint::Clone() const {
  auto copy = std::make_unique<LateConstraint>(form_->Clone(), marks_);
  copy->state_ = state_;
  return copy;
}

}  // namespace folkmoot
