// SPDX-License-Identifier: Apache-2.0
#include "launch/command.h"

namespace folkmoot {
namespace {

constexpr char kUsage[] = "folkmoot/usage";  // marks a status as an error of usage

}  // namespace

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(std::string(message));
  status.SetPayload(kUsage, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) { return status.GetPayload(kUsage).has_value(); }

absl::Status AlreadySaid(const absl::Status& status) {
  absl::Status silent(status.code(), "");
  if (IsUsageError(status)) silent.SetPayload(kUsage, absl::Cord());
  return silent;
}

}  // namespace folkmoot
