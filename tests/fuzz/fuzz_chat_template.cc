// SPDX-License-Identifier: Apache-2.0
// Input: a chat template. Whatever is accepted renders within its limits or fails with a message,
// and marks as its own only parts of what it wrote.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "runtime/check.h"
#include "runtime/jinja/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto context = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "x"},
                 {"role": "assistant", "content": null, "tool_calls": [
                   {"function": {"name": "f", "arguments": {"a": [1, 2.5, "b"]}}}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "documents": null, "add_generation_prompt": true})");
  const auto parsed = folkmoot::ChatTemplate::Parse({reinterpret_cast<const char*>(data), size},
                                                    "fuzz.jinja", {{"bos_token", "<s>"}});
  if (!parsed.ok()) {
    FM_CHECK(folkmoot::Message(parsed.status()).starts_with("fuzz.jinja"));
    return 0;
  }
  folkmoot::RenderLimits limits;
  limits.max_steps = 10'000;
  limits.max_output_bytes = size_t{1} << 16;
  const auto rendered = (*parsed)->Render(context, limits);
  if (!rendered.ok()) return 0;
  FM_CHECK(rendered->text.size() <= limits.max_output_bytes);
  size_t end = 0;
  for (const auto& [from, to] : rendered->trusted) {
    FM_CHECK(from >= end && from < to && to <= rendered->text.size());
    end = to;
  }
  return 0;
}
