// SPDX-License-Identifier: Apache-2.0
// TCP between the hosts of one server. An address is written ADDRESS:PORT, with a numeric ADDRESS,
// an IPv6 one in brackets. Whoever is at the other end is a stranger until it has proved otherwise
// (admission.h).
//
// A connection whose peer acknowledges nothing for kLinkDead is closed by the kernel, whether data
// or probes are under way: a cut cable or a dead host is an error like the end of a process.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "launch/supervisor/frame_channel.h"
#include "runtime/status.h"

namespace folkmoot {

constexpr std::chrono::milliseconds kLinkDead{3'000};

// Listens at the one address that `host` (a name or a number) has; port 0: any free one.
absl::StatusOr<FileDescriptor> ListenOnTcp(const std::string& host, int port);
// A connection that waits at the listening socket. kNotFound: none; kResourceExhausted: no
// descriptor is free for it.
absl::StatusOr<FileDescriptor> AcceptTcp(int listening);
// Once, within `timeout`; errors name the address.
absl::StatusOr<FileDescriptor> ConnectToTcp(const std::string& address,
                                            std::chrono::milliseconds timeout);

// The two ends of a connection; of a listening socket the local one. Empty: it cannot be told.
std::string LocalAddress(int fd);
std::string PeerAddress(int fd);
// Do both ends have the same address, apart from the port? Then the peer is on this host.
bool SameAddress(int fd);

// The numeric address by which `hosts` reach this one: that of the interface by which the first of
// them that is not this host is reached.
absl::StatusOr<std::string> AddressTowards(const std::vector<std::string>& hosts);

// The name of this host.
std::string HostName();
// Do the names mean the same host, one of them perhaps without its domain?
bool SameHost(std::string_view a, std::string_view b);

}  // namespace folkmoot
