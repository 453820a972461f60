// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/handoff.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace folkmoot {
namespace {

// One byte, which goes with the descriptor: a message must not be empty.
struct DescriptorMessage {
  char byte = 0;
  iovec data = {.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};

  DescriptorMessage() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }
  DescriptorMessage(const DescriptorMessage&) = delete;
  DescriptorMessage& operator=(const DescriptorMessage&) = delete;
};

bool Listens(int fd) {
  int listens = 0;
  socklen_t size = sizeof(listens);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

}  // namespace

absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> MakeHandoff() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return Unavailable("socketpair: {}", std::strerror(errno));
  }
  return std::pair(FileDescriptor(pair[0]), FileDescriptor(pair[1]));
}

absl::Status HandOff(int handoff, int connection) {
  DescriptorMessage message;
  cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &connection, sizeof(int));
  if (sendmsg(handoff, &message.header, MSG_NOSIGNAL) == 1) return absl::OkStatus();
  return Unavailable("the front end takes no connection: {}", std::strerror(errno));
}

absl::StatusOr<FileDescriptor> NextConnection(int source) {
  if (Listens(source)) return AcceptFrom(source);
  DescriptorMessage message;
  if (recvmsg(source, &message.header, MSG_CMSG_CLOEXEC) != 1) {
    return NotFound("no connection has come: {}", std::strerror(errno));
  }
  const cmsghdr* const part = CMSG_FIRSTHDR(&message.header);
  if (part == nullptr || part->cmsg_type != SCM_RIGHTS) {
    return NotFound("a message without a connection");
  }
  int connection = -1;
  std::memcpy(&connection, CMSG_DATA(part), sizeof(int));
  return FileDescriptor(connection);
}

}  // namespace folkmoot
