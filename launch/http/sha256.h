// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) and HMAC (RFC 2104) over it. Their time depends on the length of the input
// alone. For comparing secrets; nothing here is fast.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace folkmoot {

using Digest256 = std::array<uint8_t, 32>;

Digest256 Sha256(std::string_view message);
Digest256 HmacSha256(const Digest256& key, std::string_view message);
std::string HexText(const Digest256& digest);  // 64 digits
// In a time that does not depend on the bytes, without a branch.
bool SameDigest(const Digest256& a, const Digest256& b);

}  // namespace folkmoot
