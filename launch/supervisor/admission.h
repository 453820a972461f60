// SPDX-License-Identifier: Apache-2.0
// Who may speak with the supervisor over TCP: processes that know the token of the engine's life
// under way. Both sides prove that they know it, and it never crosses the connection:
//
//   supervisor -> rank   Challenge  a number used once
//   rank -> supervisor   Greeting   what for, in which life, a number used once, and
//                                   HMAC-SHA256(token, "rank" and all of these)
//   supervisor -> rank   Welcome    HMAC-SHA256(token, "supervisor" and the same)
//
// So a stranger gets a random number and the end of the connection. What follows is neither signed
// nor secret: whoever can change packets between the hosts can take a connection over.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/http/sha256.h"
#include "launch/supervisor/frame_channel.h"
#include "launch/supervisor/refusal_log.h"
#include "runtime/status.h"

namespace folkmoot {

using Token = Digest256;  // 256 random bits, of one life of the engine

Token RandomToken();
std::string TokenText(const Token& token);  // 64 hexadecimal digits
absl::StatusOr<Token> ParseToken(std::string_view text);

// kBeats: a rank's signs of life. kPlans: rank 0 and the front end.
enum class Purpose : uint8_t { kBeats, kPlans };

struct Greeting {
  Purpose purpose = Purpose::kBeats;
  int64_t epoch = 0;
  Digest256 nonce = {};  // of the rank
  Digest256 proof = {};
};

// The most bytes of a message from somebody who has not proved anything.
constexpr size_t kGreetingBytes = 256;

std::string Encode(const Greeting& message);
absl::Status Decode(std::string_view bytes, Greeting* message);

// The rank's side: connects, and again when it is turned away, for at most `patience`. The socket
// is non-blocking.
absl::StatusOr<FileDescriptor> EnterAt(const std::string& address, const Token& token,
                                       Purpose purpose, int64_t epoch,
                                       std::chrono::milliseconds patience);

// The supervisor's side: a listening socket and the strangers before it. Never waits; used by one
// thread. Strangers are few: when more come, the one that has been here longest must leave, so that
// those who do not speak cannot keep out those who do.
class Admission {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr size_t kMostStrangers = 128;
  static constexpr std::chrono::milliseconds kGreetingTime{5'000};

  explicit Admission(FileDescriptor listening);

  // From here on only processes of this life come in.
  void Expect(const Token& token, int64_t epoch);
  // What to poll.
  void AppendTo(std::vector<pollfd>* fds) const;

  struct Guest {
    FileDescriptor socket;
    Purpose purpose;
  };
  // Those who have proved themselves since the last call.
  std::vector<Guest> Admit(Time now);

  size_t strangers() const { return strangers_.size(); }
  int64_t refused() const { return refusals_.refused(); }

 private:
  struct Stranger {
    FrameChannel channel;
    Digest256 nonce;
    Time since;
  };
  void AcceptStrangers(Time now);
  absl::StatusOr<std::optional<Guest>> Hear(Stranger& stranger) const;
  void Refuse(const Stranger& stranger, std::string_view why, Time now);

  FileDescriptor listening_;
  Token token_;
  int64_t epoch_ = 0;
  std::vector<Stranger> strangers_;  // in the order in which they came
  RefusalLog refusals_;
};

}  // namespace folkmoot
