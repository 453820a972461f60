// SPDX-License-Identifier: Apache-2.0
// A client that sends what it is told, byte by byte, and reads answers with code of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace folkmoot {

struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // decoded
};

// A blocking socket. Every wait ends after ten seconds, as a failure.
class RawClient {
 public:
  // `receive_buffer` > 0: SO_RCVBUF, for clients that read slowly.
  explicit RawClient(uint16_t port, int receive_buffer = 0);
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the server has closed.
  bool Send(std::string_view bytes);
  void FinishSending();  // half-close
  void Reset();          // closes with RST

  // One answer; nothing when the connection ended before its end. 1xx answers are left out.
  // `head_only`: the request was HEAD.
  std::optional<RawResponse> Read(bool head_only = false);
  std::optional<RawResponse> ReadHead();
  std::string ReadUntil(std::string_view text);
  bool AtEnd();  // waits for the end of the connection; false: bytes came, or time is up
  int fd() const { return fd_; }

 private:
  bool Fill();  // false at the end

  int fd_ = -1;
  std::string buffer_;
};

// One request on a connection of its own.
std::optional<RawResponse> Roundtrip(uint16_t port, std::string_view bytes);

// "GET <path> HTTP/1.1" with a Host and these further lines ("A: b\r\n").
std::string Get(std::string_view path, std::string_view headers = "");
std::string Post(std::string_view path, std::string_view body, std::string_view headers = "");

// Of this process, after what malloc keeps in reserve has been given back. Always 0 under the
// sanitizers, which keep freed memory on purpose.
size_t ResidentBytes();

}  // namespace folkmoot
