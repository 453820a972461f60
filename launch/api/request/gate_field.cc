// SPDX-License-Identifier: Apache-2.0
// "gate": another gate for one request, as far as the operator lets a client choose.
#include <algorithm>
#include <map>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using Knobs = std::map<std::string, std::string>;  // by name: equal overrides are equal texts

constexpr char kParam[] = "gate";
constexpr size_t kMaxGateBytes = 1024;

absl::Status FromText(std::string_view text, Knobs* knobs) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view item = text.substr(0, end);
    const size_t equals = item.find('=');
    if (equals == 0 || equals == std::string_view::npos || equals + 1 == item.size()) {
      return BadField(kParam, "gate: expected KNOB=VALUE[,KNOB=VALUE...]");
    }
    (*knobs)[std::string(item.substr(0, equals))] = item.substr(equals + 1);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return absl::OkStatus();
}

absl::Status FromObject(const Json& json, Knobs* knobs) {
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) {
      (*knobs)[name] = value.get<std::string>();
    } else if (value.is_number() || value.is_boolean()) {
      (*knobs)[name] = value.dump();
    } else {
      return BadField(kParam, "gate: '{}' must be a number, a string, true or false", name);
    }
  }
  return absl::OkStatus();
}

bool IsPlain(std::string_view text) {
  return !text.empty() && text.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789_.+-") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::string> ReadGate(const Fields& fields, const ServedModel& model) {
  const Json* json = fields.Get("gate");
  if (json == nullptr) return std::string();
  Knobs knobs;
  if (json->is_string()) {
    FM_RETURN_IF_ERROR(FromText(json->get_ref<const std::string&>(), &knobs));
  } else if (json->is_object()) {
    FM_RETURN_IF_ERROR(FromObject(*json, &knobs));
  } else {
    return BadField(kParam, "gate: expected an object or a string");
  }
  const std::vector<std::string>& allowed = model.options().gate_knobs;
  const auto may = [&](const std::string& name) {
    return std::find(allowed.begin(), allowed.end(), name) != allowed.end();
  };
  std::string out;
  for (const auto& [name, value] : knobs) {
    if (!IsPlain(name) || !IsPlain(value)) {
      return BadField(kParam, "gate: a knob or its value has characters that no knob needs");
    }
    if (!may("*") && !may(name)) {
      return BadField(kParam, "gate: '{}' may not be set here; the operator allows {}", name,
                      allowed.empty() ? "no knob (--allow-gate-override)"
                                      : fmt::format("{}", fmt::join(allowed, ", ")));
    }
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", name, value);
  }
  if (out.size() > kMaxGateBytes) return BadField(kParam, "gate: too long");
  if (!out.empty() && model.options().check_gate) {
    const absl::Status good = model.options().check_gate(out);
    if (!good.ok()) return BadField(kParam, "gate: {}", Message(good));
  }
  return out;
}

}  // namespace folkmoot
