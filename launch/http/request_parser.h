// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection into requests, by the strict reading of RFC 9112: what two servers in a row
// could understand in two ways is refused, not interpreted. Knows nothing of sockets and time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "launch/http/http.h"
#include "launch/http/http_limits.h"

namespace folkmoot {

class RequestParser {
 public:
  enum class State {
    kHead,      // more bytes of the head are wanted
    kHeadDone,  // request line and headers are known; AcceptBody goes on
    kBody,      // more bytes of the body are wanted
    kDone,      // TakeRequest has it all
    kRefused,   // refusal() says why; the connection is of no further use
  };

  explicit RequestParser(const HttpLimits& limits);

  // Takes bytes from the front, up to the end of the head or of the body, and returns how many.
  size_t Feed(std::string_view bytes);
  // In kHeadDone only: goes to kBody, or to kDone when there is none.
  void AcceptBody();
  // In kDone only. The next request begins.
  HttpRequest TakeRequest();

  State state() const { return state_; }
  bool started() const { return state_ != State::kHead || !head_.empty(); }
  const HttpResponse& refusal() const { return refusal_; }

  // From kHeadDone on.
  const HttpRequest& request() const { return request_; }  // id and client are left to the caller
  bool http_1_0() const { return http_1_0_; }
  bool keep_alive() const { return keep_alive_; }
  bool has_body() const { return chunked_ || remaining_ > 0; }
  bool expects_continue() const { return expects_continue_; }

 private:
  enum class Chunk { kSize, kExtension, kSizeEnd, kData, kDataCr, kDataLf, kTrailer };

  size_t FeedHead(std::string_view bytes);
  bool HeadByte(char c);  // false once refused
  void ParseHead();
  void CheckHeaders();
  void CheckBodyLength(std::string_view length);
  size_t FeedBody(std::string_view bytes);
  size_t FeedChunked(std::string_view bytes);
  void ChunkSizeByte(char c);
  void ChunkSizeEnds();
  void TrailerByte(char c);
  void Refuse(int status, std::string_view message);

  HttpLimits limits_;
  State state_ = State::kHead;
  HttpResponse refusal_;

  std::string head_;
  size_t lines_ = 0;       // complete ones of head_
  size_t line_bytes_ = 0;  // of the line under way, without its end
  char last_ = '\0';

  HttpRequest request_;
  bool http_1_0_ = false;
  bool keep_alive_ = false;
  bool expects_continue_ = false;

  bool chunked_ = false;
  uint64_t remaining_ = 0;  // of the body or of the chunk under way
  Chunk chunk_ = Chunk::kSize;
  size_t chunks_ = 0;
  int size_digits_ = 0;
  size_t extension_bytes_ = 0;  // of this chunk
  size_t trailer_bytes_ = 0;    // of all trailers
};

}  // namespace folkmoot
