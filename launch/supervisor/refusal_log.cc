// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/refusal_log.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace folkmoot {

void RefusalLog::Say(std::string_view who, std::string_view why, Time now) {
  ++refused_;
  if (last_told_ && now - *last_told_ < kPause) return;
  const int64_t others = refused_ - told_ - 1;
  spdlog::warn("refused {}: {}{}", who, why,
               others > 0 ? fmt::format(" ({} others since the last such line)", others) : "");
  told_ = refused_;
  last_told_ = now;
}

}  // namespace folkmoot
