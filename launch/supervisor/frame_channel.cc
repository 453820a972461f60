// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/frame_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kBacklog = 1024;

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return InvalidArgument(
        "{}: too long for a socket, at most {} bytes: set TMPDIR to a shorter one", path,
        sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<FileDescriptor> MakeSocket() {
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) return Unavailable("socket: {}", std::strerror(errno));
  return socket;
}

static_assert(std::endian::native == std::endian::little, "a frame begins with its length");
using Length = uint32_t;

Length LengthIn(const char* header) {
  Length length = 0;
  std::memcpy(&length, header, sizeof(length));
  return length;
}

// The process at the other end, which must be one of this user.
absl::StatusOr<ucred> PeerOf(int fd) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) {
    return FailedPrecondition("refused a connection with user {}", peer.uid);
  }
  return peer;
}

// Milliseconds until `end`, for poll: at least 0.
int Left(Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

absl::Status Gone() { return Unavailable("the other process has closed the connection"); }

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = other.Release();
  }
  return *this;
}

int FileDescriptor::Release() { return std::exchange(fd_, -1); }

void FileDescriptor::Reset() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

absl::StatusOr<FileDescriptor> ListenAt(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, MakeSocket());
  fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0 || listen(socket.get(), kBacklog) != 0) {
    return Unavailable("cannot listen at {}: {}", path, std::strerror(errno));
  }
  return socket;
}

absl::StatusOr<FileDescriptor> AcceptFrom(int listening) {
  FileDescriptor socket(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.open() && FaultAt(FaultPoint::kChannelAccept)) socket.Reset();
  if (!socket.open()) return NotFound("accept: {}", std::strerror(errno));
  FM_RETURN_IF_ERROR(PeerOf(socket.get()).status());
  return socket;
}

absl::StatusOr<FileDescriptor> ConnectTo(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, MakeSocket());
  if (FaultAt(FaultPoint::kChannelConnect) ||
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Unavailable("cannot reach {}: {}", path, std::strerror(errno));
  }
  FM_RETURN_IF_ERROR(Annotate(PeerOf(socket.get()).status(), path));
  return socket;
}

int PeerProcess(int fd) {
  const absl::StatusOr<ucred> peer = PeerOf(fd);
  return peer.ok() ? peer->pid : 0;
}

FrameChannel::FrameChannel(FileDescriptor socket, size_t cap)
    : socket_(std::move(socket)), cap_(cap) {
  fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
}

absl::Status FrameChannel::Send(std::string_view message, std::chrono::milliseconds timeout) {
  const auto length = static_cast<Length>(message.size());
  const std::string_view header(reinterpret_cast<const char*>(&length), sizeof(length));
  std::array<std::string_view, 2> parts = {header, message};
  if (FaultAt(FaultPoint::kChannelSend)) return Gone();
  const Clock::time_point end = Clock::now() + timeout;
  for (std::string_view part : parts) {
    while (!part.empty()) {
      // The header goes out with the message that follows it.
      const int more = part.data() == header.data() ? MSG_MORE : 0;
      const ssize_t sent = send(fd(), part.data(), part.size(), MSG_NOSIGNAL | more);
      if (sent >= 0) {
        part.remove_prefix(static_cast<size_t>(sent));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return Gone();
      pollfd wait = {.fd = fd(), .events = POLLOUT, .revents = 0};
      if (poll(&wait, 1, Left(end)) == 0) {
        return DeadlineExceeded("the other process has not read for {} ms", timeout.count());
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> FrameChannel::Read() {
  const size_t before = buffer_.size();
  // No more than the frame under way needs: what follows it stays unread until it is asked for.
  size_t whole = sizeof(Length);
  if (before >= whole) whole += LengthIn(buffer_.data());
  const size_t want = whole - before;
  buffer_.resize(whole);
  ssize_t got = 0;
  do {
    got = recv(fd(), buffer_.data() + before, want, 0);
  } while (got < 0 && errno == EINTR);
  const int error = errno;
  buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(0, got)));
  if (got > 0 && FaultAt(FaultPoint::kChannelReceive)) return Gone();
  if (got > 0) return true;
  if (got < 0 && error == EAGAIN) return false;
  left_unread_ = got < 0 && error == ECONNRESET;  // what the kernel makes of it, in both families
  return Gone();
}

absl::StatusOr<std::optional<std::string>> FrameChannel::Take() {
  if (buffer_.size() < sizeof(Length)) return std::nullopt;
  const size_t length = LengthIn(buffer_.data());
  if (length > cap_) {
    return DataLoss("a message of {} bytes was announced; at most {} are taken", length, cap_);
  }
  if (buffer_.size() < sizeof(Length) + length) return std::nullopt;
  std::string message = buffer_.substr(sizeof(Length));
  buffer_.clear();
  return std::optional<std::string>(std::move(message));
}

absl::StatusOr<std::optional<std::string>> FrameChannel::Poll() {
  while (true) {
    absl::StatusOr<std::optional<std::string>> message = Take();
    if (!message.ok() || message->has_value()) return message;
    FM_ASSIGN_OR_RETURN(const bool more, Read());
    if (!more) return std::nullopt;
  }
}

absl::StatusOr<std::string> FrameChannel::Receive(std::chrono::milliseconds timeout) {
  const Clock::time_point end = Clock::now() + timeout;
  while (true) {
    FM_ASSIGN_OR_RETURN(std::optional<std::string> message, Poll());
    if (message) return *std::move(message);
    pollfd wait = {.fd = fd(), .events = POLLIN, .revents = 0};
    const int left = Left(end);
    if (left == 0 || (poll(&wait, 1, left) == 0 && Left(end) == 0)) {
      return DeadlineExceeded("no message within {} ms", timeout.count());
    }
  }
}

void FrameChannel::HangUp() { shutdown(fd(), SHUT_RDWR); }

absl::StatusOr<FileDescriptor> FrameChannel::Release() {
  if (!buffer_.empty()) return DataLoss("more was sent than was asked for");
  return std::move(socket_);
}

bool FrameChannel::closed() const {
  pollfd wait = {.fd = fd(), .events = POLLRDHUP, .revents = 0};
  return poll(&wait, 1, 0) != 0 && (wait.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace folkmoot
