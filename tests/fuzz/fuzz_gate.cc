// SPDX-License-Identifier: Apache-2.0
// Input: a gate as JSON, as overrides ("top_k=1,capacity=ceil_k"), or a plan of faults. A gate that
// is accepted can be written and read again; overrides that are refused change nothing.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "layers/gates/gate_config.h"
#include "parallel/fault_plan.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = folkmoot::ParseGateConfig(text, 8);
  if (config.ok()) {
    (void)config->Validate();
    const auto again = folkmoot::ParseGateConfig(folkmoot::ToJson(*config), 8);
    FM_CHECK(again.ok() && *again == *config);
  }
  folkmoot::GateConfig gate;
  gate.num_experts = 8;
  const folkmoot::GateConfig before = gate;
  const absl::Status overridden = folkmoot::ApplyOverrides(text, &gate);
  if (!overridden.ok()) FM_CHECK(gate == before);
  if (overridden.ok()) (void)gate.Validate();
  const auto faults = folkmoot::ParseFaultPlan(text);
  if (!faults.ok()) return 0;
  for (const folkmoot::Fault& fault : *faults) {
    FM_CHECK((fault.rank >= 0 || fault.at) && fault.step >= 0 && fault.nth >= 0);
  }
  return 0;
}
