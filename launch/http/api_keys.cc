// SPDX-License-Identifier: Apache-2.0
#include "launch/http/api_keys.h"

#include <random>

namespace folkmoot {
namespace {

constexpr std::string_view kScheme = "bearer ";

// The scheme's name may be in any case (RFC 9110, 11.1).
bool HasScheme(std::string_view value) {
  if (value.size() < kScheme.size()) return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = value[i];
    if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != kScheme[i]) return false;
  }
  return true;
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  std::random_device random;
  for (uint8_t& byte : secret_) byte = static_cast<uint8_t>(random());
  for (const std::string& key : keys) digests_.push_back(HmacSha256(secret_, key));
}

bool ApiKeys::Allows(std::string_view authorization) const {
  if (digests_.empty()) return true;
  if (!HasScheme(authorization)) return false;
  authorization.remove_prefix(kScheme.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  const Digest256 sent = HmacSha256(secret_, authorization);
  unsigned matches = 0;
  for (const Digest256& digest : digests_) {
    matches |= static_cast<unsigned>(SameDigest(digest, sent));
  }
  return matches != 0;
}

}  // namespace folkmoot
