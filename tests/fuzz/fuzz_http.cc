// SPDX-License-Identifier: Apache-2.0
// Input: the bytes of a connection. However they are cut into pieces, the same requests come out,
// or the same refusal, and no limit is passed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/http/request_parser.h"
#include "runtime/check.h"

namespace {

using State = folkmoot::RequestParser::State;

constexpr folkmoot::HttpLimits Limits() {
  folkmoot::HttpLimits limits;
  limits.header_bytes = 2048;
  limits.header_count = 16;
  limits.body_bytes = 512;
  limits.chunk_count = 32;
  return limits;
}

struct Heard {
  std::vector<std::string> requests;
  int refused = 0;
  bool operator==(const Heard&) const = default;
};

std::string Text(const folkmoot::HttpRequest& request) {
  std::string text = request.method + '\1' + request.path + '\1' + request.query + '\1';
  for (const auto& [name, value] : request.headers) text += name + '\2' + value + '\1';
  return text + request.body;
}

// Feeds pieces of `piece` bytes.
Heard Listen(std::string_view bytes, size_t piece) {
  Heard heard;
  folkmoot::RequestParser parser(Limits());
  while (true) {
    while (parser.state() == State::kHeadDone) parser.AcceptBody();
    if (parser.state() == State::kRefused) {
      heard.refused = parser.refusal().status;
      FM_CHECK(heard.refused >= 400 && heard.refused < 600);
      return heard;
    }
    if (parser.state() == State::kDone) {
      const folkmoot::HttpRequest request = parser.TakeRequest();
      FM_CHECK(request.body.size() <= Limits().body_bytes);
      FM_CHECK(request.headers.size() <= Limits().header_count);
      heard.requests.push_back(Text(request));
      continue;
    }
    if (bytes.empty()) return heard;
    const size_t taken = parser.Feed(bytes.substr(0, std::min(piece, bytes.size())));
    FM_CHECK(taken <= bytes.size());
    FM_CHECK(taken > 0 || parser.state() != State::kBody);
    bytes.remove_prefix(taken);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Heard whole = Listen(bytes, bytes.size() + 1);
  FM_CHECK(Listen(bytes, 1 + size % 7) == whole);
  return 0;
}
