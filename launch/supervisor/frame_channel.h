// SPDX-License-Identifier: Apache-2.0
// Messages over a stream socket: four bytes of length, little-endian, then so many bytes. A frame
// longer than the channel's cap is refused before memory is taken for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

// A file descriptor that is closed with its owner.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() { Reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int Release();
  void Reset();

 private:
  int fd_;
};

// Listens at `path`, which only this user may enter; errors name the path.
absl::StatusOr<FileDescriptor> ListenAt(const std::string& path);
// A connection that waits at the listening socket, from a process of this user; kNotFound: none.
absl::StatusOr<FileDescriptor> AcceptFrom(int listening);
// To a process of this user.
absl::StatusOr<FileDescriptor> ConnectTo(const std::string& path);
// The process at the other end; 0 when it cannot be told.
int PeerProcess(int fd);

constexpr size_t kControlFrameBytes = size_t{1} << 20;
constexpr size_t kPlanFrameBytes = size_t{1} << 30;

// Used by one thread. Errors: Unavailable when the other end is gone, DeadlineExceeded, DataLoss
// for a frame beyond the cap.
class FrameChannel {
 public:
  // `cap`: the most bytes of a message that is received.
  FrameChannel(FileDescriptor socket, size_t cap);

  int fd() const { return socket_.get(); }
  // Sends all of it, waiting at most `timeout` while the other end does not read.
  absl::Status Send(std::string_view message, std::chrono::milliseconds timeout);
  // The next message; waits for it at most `timeout`.
  absl::StatusOr<std::string> Receive(std::chrono::milliseconds timeout);
  // A message if one is here; never waits. nullopt: not yet.
  absl::StatusOr<std::optional<std::string>> Poll();
  // Has the other end gone, as far as can be told without reading?
  bool closed() const;
  // Has the other end gone without having read all that was sent?
  bool left_unread() const { return left_unread_; }
  // Ends the connection itself, whoever else has descriptors of it.
  void HangUp();
  // The socket, for another owner. An error when something was received that nobody took.
  absl::StatusOr<FileDescriptor> Release();

 private:
  absl::StatusOr<bool> Read();  // what is there of the frame under way; false: nothing
  absl::StatusOr<std::optional<std::string>> Take();

  FileDescriptor socket_;
  size_t cap_;
  std::string buffer_;  // what has come of the frame under way
  bool left_unread_ = false;
};

}  // namespace folkmoot
