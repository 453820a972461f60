// SPDX-License-Identifier: Apache-2.0
#include "tests/launch/http/raw_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "tests/support/sanitized.h"

namespace folkmoot {

RawClient::RawClient(uint16_t port, int receive_buffer) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval timeout{.tv_sec = 10, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (receive_buffer > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(std::exchange(fd_, -1));
  }
}

RawClient::~RawClient() {
  if (fd_ >= 0) close(fd_);
}

RawClient::RawClient(RawClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawClient::FinishSending() { shutdown(fd_, SHUT_WR); }

void RawClient::Reset() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(std::exchange(fd_, -1));
}

bool RawClient::Fill() {
  char bytes[16384];
  const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
  if (count <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(count));
  return true;
}

std::string RawClient::ReadUntil(std::string_view text) {
  for (;;) {
    const size_t at = buffer_.find(text);
    if (at != std::string::npos) {
      std::string found = buffer_.substr(0, at + text.size());
      buffer_.erase(0, found.size());
      return found;
    }
    if (!Fill()) return "";
  }
}

bool RawClient::AtEnd() {
  if (!buffer_.empty()) return false;
  char byte;
  return recv(fd_, &byte, 1, 0) == 0 || errno == ECONNRESET;
}

std::optional<RawResponse> RawClient::ReadHead() {
  const std::string head = ReadUntil("\r\n\r\n");
  if (!head.starts_with("HTTP/1.1 ")) return std::nullopt;
  RawResponse response;
  response.status = std::stoi(head.substr(9, 3));
  for (size_t line = head.find("\r\n") + 2; line + 2 < head.size();) {
    const size_t end = head.find("\r\n", line);
    const size_t colon = head.find(": ", line);
    std::string name = head.substr(line, colon - line);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    response.headers[name] = head.substr(colon + 2, end - colon - 2);
    line = end + 2;
  }
  if (response.status / 100 == 1) return ReadHead();
  return response;
}

std::optional<RawResponse> RawClient::Read(bool head_only) {
  std::optional<RawResponse> response = ReadHead();
  if (!response || head_only || response->status == 204) return response;
  if (response->headers.contains("content-length")) {
    const size_t length = std::stoul(response->headers["content-length"]);
    while (buffer_.size() < length) {
      if (!Fill()) return std::nullopt;
    }
    response->body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return response;
  }
  if (!response->headers.contains("transfer-encoding")) {
    while (Fill()) {
    }
    response->body = std::exchange(buffer_, "");
    return response;
  }
  for (;;) {
    const std::string size_line = ReadUntil("\r\n");
    if (size_line.empty()) return std::nullopt;
    const size_t size = std::stoul(size_line, nullptr, 16);
    while (buffer_.size() < size + 2) {
      if (!Fill()) return std::nullopt;
    }
    response->body += buffer_.substr(0, size);
    buffer_.erase(0, size + 2);
    if (size == 0) return response;
  }
}

std::optional<RawResponse> Roundtrip(uint16_t port, std::string_view bytes) {
  RawClient client(port);
  client.Send(bytes);
  return client.Read();
}

std::string Get(std::string_view path, std::string_view headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, headers);
}

std::string Post(std::string_view path, std::string_view body, std::string_view headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{}\r\n{}", path,
                     body.size(), headers, body);
}

size_t ResidentBytes() {
  if (kSanitized) return 0;
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace folkmoot
