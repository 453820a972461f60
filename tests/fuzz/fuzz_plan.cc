// SPDX-License-Identifier: Apache-2.0
// Input: a plan's frame, or a rank's results. Whatever arrives is what was meant or an error, and
// results that are read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "launch/plan_codec.h"
#include "runtime/check.h"

namespace {

void Decode(std::string_view bytes) {
  for (const int ranks : {1, 2}) {
    const auto plan = folkmoot::DecodePlan(
        bytes, {.epoch = 1, .step = 7, .ranks = ranks, .placement_version = 0});
    if (plan.ok()) FM_CHECK(std::ssize(plan->ranks) == ranks && plan->step == 7);
  }
  const auto result = folkmoot::DecodeResult(bytes);
  if (!result.ok()) return;
  const std::string encoded = folkmoot::EncodeResult(*result);
  const auto again = folkmoot::DecodeResult(encoded);
  FM_CHECK(again.ok() && folkmoot::EncodeResult(*again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Decode({reinterpret_cast<const char*>(data), size});
  return 0;
}
