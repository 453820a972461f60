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

}  // namespace folkmoot
