// SPDX-License-Identifier: Apache-2.0
// Errors of the outside world (files, requests, peers): absl::Status and absl::StatusOr.
// A message names the culprit (file, key, rank) and says what to do about it.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace folkmoot {

// The input is wrong: a value, a file's content, an option.
template <typename... Args>
absl::Status InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}
// A file, tensor, key or token that is not there.
template <typename... Args>
absl::Status NotFound(fmt::format_string<Args...> format, Args&&... args) {
  return absl::NotFoundError(fmt::format(format, std::forward<Args>(args)...));
}
// Right in itself, but it cannot be done in this state or with this build.
template <typename... Args>
absl::Status FailedPrecondition(fmt::format_string<Args...> format, Args&&... args) {
  return absl::FailedPreconditionError(fmt::format(format, std::forward<Args>(args)...));
}
// A limit of memory, context or capacity.
template <typename... Args>
absl::Status ResourceExhausted(fmt::format_string<Args...> format, Args&&... args) {
  return absl::ResourceExhaustedError(fmt::format(format, std::forward<Args>(args)...));
}
// A wait that passed its deadline.
template <typename... Args>
absl::Status DeadlineExceeded(fmt::format_string<Args...> format, Args&&... args) {
  return absl::DeadlineExceededError(fmt::format(format, std::forward<Args>(args)...));
}
// A peer or service that is gone.
template <typename... Args>
absl::Status Unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return absl::UnavailableError(fmt::format(format, std::forward<Args>(args)...));
}
// Data that contradicts itself: truncated files, NaN, ranks that disagree.
template <typename... Args>
absl::Status DataLoss(fmt::format_string<Args...> format, Args&&... args) {
  return absl::DataLossError(fmt::format(format, std::forward<Args>(args)...));
}

// Debian builds Abseil with a string_view of its own: this is the way from it to the standard one.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}
// The same error with "context: " in front of its message. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), fmt::format("{}: {}", context, Message(status)));
}

}  // namespace folkmoot

#define FM_CONCAT_INNER(a, b) a##b
#define FM_CONCAT(a, b) FM_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr`, an absl::Status, is not OK.
#define FM_RETURN_IF_ERROR(expr)                            \
  do {                                                      \
    if (absl::Status fm_status = (expr); !fm_status.ok()) { \
      return fm_status;                                     \
    }                                                       \
  } while (false)

// FM_ASSIGN_OR_RETURN(auto x, Load()): assigns the value of an absl::StatusOr or returns its error.
#define FM_ASSIGN_OR_RETURN(lhs, expr) \
  FM_ASSIGN_OR_RETURN_INNER(FM_CONCAT(fm_status_or_, __LINE__), lhs, expr)
#define FM_ASSIGN_OR_RETURN_INNER(temp, lhs, expr) \
  auto temp = (expr);                              \
  if (!temp.ok()) return temp.status();            \
  lhs = std::move(temp).value()
