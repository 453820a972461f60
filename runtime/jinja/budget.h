// SPDX-License-Identifier: Apache-2.0
// What one rendering may still spend.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/status.h"

namespace folkmoot::jinja {

// Charged before the work is done, so that every template ends, in bounded memory. One rendering,
// one thread.
class Budget {
 public:
  Budget(int64_t steps, size_t text_bytes, int depth)
      : max_steps_(steps),
        steps_(steps),
        max_text_(text_bytes),
        text_work_(static_cast<int64_t>(text_bytes) * kTextWorkFactor),
        max_depth_(depth) {}

  // `count` nodes, list items or comparisons.
  absl::Status Steps(size_t count) {
    steps_ -= static_cast<int64_t>(count);
    if (steps_ >= 0) return absl::OkStatus();
    return ResourceExhausted("the template takes more than {} steps", max_steps_);
  }
  // Whether a text may have `bytes` bytes. Costs nothing.
  absl::Status CheckText(size_t bytes) const {
    if (bytes <= max_text_) return absl::OkStatus();
    return ResourceExhausted("the template makes a text of {} bytes; the limit is {}", bytes,
                             max_text_);
  }
  // A text of `bytes` bytes that is about to be made or searched.
  absl::Status TextBytes(size_t bytes) {
    FM_RETURN_IF_ERROR(CheckText(bytes));
    text_work_ -= static_cast<int64_t>(bytes);
    if (text_work_ >= 0) return absl::OkStatus();
    return ResourceExhausted("the template handles more than {} times {} bytes of text",
                             kTextWorkFactor, max_text_);
  }
  absl::Status Enter() {
    if (++depth_ <= max_depth_) return absl::OkStatus();
    return ResourceExhausted("the template nests calls deeper than {} levels", max_depth_);
  }
  void Leave() { --depth_; }

 private:
  static constexpr int64_t kTextWorkFactor = 16;

  int64_t max_steps_;
  int64_t steps_;
  size_t max_text_;
  int64_t text_work_;
  int max_depth_;
  int depth_ = 0;
};

}  // namespace folkmoot::jinja
