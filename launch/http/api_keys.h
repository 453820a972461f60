// SPDX-License-Identifier: Apache-2.0
// Who may come in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/http/sha256.h"

namespace folkmoot {

// Keeps digests only, so a key can be neither logged nor found in a core dump. What a client sends
// goes through HMAC-SHA256 with a random key of this process and is compared with every digest, all
// 32 bytes of it: the time tells the length of what was sent, which the client knows, and nothing
// about the keys. (The random key denies an attacker who watches the time of the comparison the
// choice of the digest that is compared.)
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);

  bool needed() const { return !digests_.empty(); }
  // `authorization`: the header's value, "Bearer <key>". True when no key is needed.
  bool Allows(std::string_view authorization) const;

 private:
  Digest256 secret_;
  std::vector<Digest256> digests_;
};

}  // namespace folkmoot
