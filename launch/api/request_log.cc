// SPDX-License-Identifier: Apache-2.0
#include "launch/api/request_log.h"

#include <spdlog/spdlog.h>

namespace folkmoot {
namespace {

constexpr size_t kMaxNames = 256;  // remembered; clients could invent more

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
             std::string::npos;
}

}  // namespace

void RequestLog::Unknown(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!IsName(name) || said_.size() >= kMaxNames || !said_.insert(name).second) continue;
    spdlog::warn("a field was present in the request but ignored: {}", name);
  }
}

void RequestLog::Accepted(const ApiRequest& request) const {
  size_t tokens = 0;
  for (const ApiPrompt& prompt : request.prompts) tokens += prompt.ids.size();
  spdlog::info("request id={} prompts={} prompt_tokens={} max_tokens={} n={} stream={}", request.id,
               request.prompts.size(), tokens, request.prompts.front().max_tokens,
               request.request.n, request.stream);
}

}  // namespace folkmoot
