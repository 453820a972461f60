// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/tcp_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

constexpr int kTcpBacklog = 1024;

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool wildcard() const {
    if (storage.ss_family == AF_INET) return v4().sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&v6().sin6_addr) != 0;
  }
  bool loopback() const {
    if (storage.ss_family == AF_INET) return ntohl(v4().sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6().sin6_addr) != 0;
  }
  // Without the port.
  std::string Host() const {
    std::array<char, NI_MAXHOST> text{};
    const int error =
        getnameinfo(get(), size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
    return error == 0 ? text.data() : "";
  }
  std::string Text() const {
    const bool six = storage.ss_family == AF_INET6;
    const int port = ntohs(six ? v6().sin6_port : v4().sin_port);
    return six ? fmt::format("[{}]:{}", Host(), port) : fmt::format("{}:{}", Host(), port);
  }

 private:
  const sockaddr_in& v4() const { return reinterpret_cast<const sockaddr_in&>(storage); }
  const sockaddr_in6& v6() const { return reinterpret_cast<const sockaddr_in6&>(storage); }
};

absl::StatusOr<SocketAddress> Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  if (error != 0) return NotFound("{} is no address: {}", host, gai_strerror(error));
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  return address;
}

FileDescriptor MakeTcpSocket(const SocketAddress& address, int type = SOCK_STREAM) {
  return FileDescriptor(
      ::socket(address.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

void SetOption(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

// Small messages leave at once, and silence has an end.
void SetDeadlines(int fd) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(kLinkDead.count()));
}

SocketAddress EndOf(int fd, decltype(&getsockname) which) {
  SocketAddress address;
  if (which(fd, address.get(), &address.size) != 0) address.storage.ss_family = AF_UNSPEC;
  return address;
}

bool Known(const SocketAddress& address) { return address.storage.ss_family != AF_UNSPEC; }

}  // namespace

absl::StatusOr<FileDescriptor> ListenOnTcp(const std::string& host, int port) {
  FM_ASSIGN_OR_RETURN(const SocketAddress address, Resolve(host, std::to_string(port), AI_PASSIVE));
  if (address.wildcard()) {
    return InvalidArgument(
        "{} means every address of this host; name the one by which the others reach it", host);
  }
  FileDescriptor socket = MakeTcpSocket(address);
  // A port of a server that has just ended may be taken again.
  SetOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (!socket.open() || bind(socket.get(), address.get(), address.size) != 0 ||
      listen(socket.get(), kTcpBacklog) != 0) {
    return Unavailable("cannot listen at {}: {}", address.Text(), std::strerror(errno));
  }
  return socket;
}

absl::StatusOr<FileDescriptor> AcceptTcp(int listening) {
  FileDescriptor socket(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.open() && FaultAt(FaultPoint::kChannelAccept)) socket.Reset();
  if (!socket.open() && (errno == EMFILE || errno == ENFILE)) {
    return ResourceExhausted("accept: {}", std::strerror(errno));
  }
  if (!socket.open()) return NotFound("accept: {}", std::strerror(errno));
  SetDeadlines(socket.get());
  return socket;
}

absl::StatusOr<FileDescriptor> ConnectToTcp(const std::string& address,
                                            std::chrono::milliseconds timeout) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("{} is not ADDRESS:PORT", address);
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  FM_ASSIGN_OR_RETURN(const SocketAddress to,
                      Resolve(host, address.substr(colon + 1), AI_NUMERICHOST));
  FileDescriptor socket = MakeTcpSocket(to);
  SetDeadlines(socket.get());
  int error = connect(socket.get(), to.get(), to.size) == 0 ? 0 : errno;
  if (FaultAt(FaultPoint::kChannelConnect)) error = ECONNREFUSED;
  if (error == EINPROGRESS) {
    pollfd wait = {.fd = socket.get(), .events = POLLOUT, .revents = 0};
    if (poll(&wait, 1, static_cast<int>(timeout.count())) == 0) {
      return DeadlineExceeded("{} does not answer within {} ms", address, timeout.count());
    }
    socklen_t size = sizeof(error);
    getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error != 0) return Unavailable("cannot reach {}: {}", address, std::strerror(error));
  return socket;
}

std::string LocalAddress(int fd) {
  const SocketAddress address = EndOf(fd, &getsockname);
  return Known(address) ? address.Text() : "";
}

std::string PeerAddress(int fd) {
  const SocketAddress address = EndOf(fd, &getpeername);
  return Known(address) ? address.Text() : "";
}

bool SameAddress(int fd) {
  const SocketAddress here = EndOf(fd, &getsockname);
  const SocketAddress there = EndOf(fd, &getpeername);
  return Known(here) && Known(there) && here.Host() == there.Host();
}

absl::StatusOr<std::string> AddressTowards(const std::vector<std::string>& hosts) {
  std::string why = "no other host is named";
  for (const std::string& host : hosts) {
    if (SameHost(host, HostName())) continue;
    const absl::StatusOr<SocketAddress> there = Resolve(host, "9", 0);
    if (!there.ok()) {
      why = Message(there.status());
      continue;
    }
    // Sends nothing: the kernel chooses the interface.
    const FileDescriptor probe = MakeTcpSocket(*there, SOCK_DGRAM);
    if (connect(probe.get(), there->get(), there->size) != 0) {
      why = fmt::format("{}: {}", host, std::strerror(errno));
      continue;
    }
    const SocketAddress here = EndOf(probe.get(), &getsockname);
    if (Known(here) && !here.loopback() && !here.wildcard()) return here.Host();
    why = fmt::format("{} is reached over the loopback interface", host);
  }
  return FailedPrecondition("cannot tell by which address the hosts reach this one: {}", why);
}

std::string HostName() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

bool SameHost(std::string_view a, std::string_view b) {
  const std::string_view short_a = a.substr(0, a.find('.'));
  const std::string_view short_b = b.substr(0, b.find('.'));
  return a == b || (short_a == short_b && (a == short_a || b == short_b));
}

}  // namespace folkmoot
