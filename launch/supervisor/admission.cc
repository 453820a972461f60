// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/admission.h"

#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "launch/supervisor/tcp_socket.h"
#include "proto/control.pb.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kHandshakeStep{3'000};
constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{500};
constexpr int kMostAccepted = 64;  // in one round, so that ranks are heard in between

Digest256 RandomDigest() {
  Digest256 random;
  // Up to 256 bytes come whole once the kernel's generator has started.
  FM_CHECK(getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  return random;
}

std::string_view BytesOf(const Digest256& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

absl::Status ReadDigest(const char* field, const std::string& bytes, Digest256* digest) {
  if (bytes.size() != digest->size()) {
    return DataLoss("{} has {} bytes: it must have {}", field, bytes.size(), digest->size());
  }
  std::memcpy(digest->data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

// Of `who`, "rank" or "supervisor". Every part but `who` has a fixed length.
Digest256 ProofOf(const Token& token, std::string_view who, const Digest256& challenge,
                  const Greeting& greeting) {
  std::string text;
  text.append(BytesOf(challenge)).append(BytesOf(greeting.nonce));
  text.push_back(static_cast<char>(greeting.purpose));
  for (int shift = 0; shift < 64; shift += 8) {
    text.push_back(static_cast<char>(greeting.epoch >> shift));
  }
  text.append("folkmoot ").append(who);
  return HmacSha256(token, text);
}

template <typename Wire>
absl::Status ParseWire(std::string_view bytes, const char* name, Wire* wire) {
  if (wire->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return DataLoss("a {} of {} bytes cannot be read", name, bytes.size());
}

absl::StatusOr<FileDescriptor> EnterOnce(const std::string& address, const Token& token,
                                         Greeting greeting) {
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, ConnectToTcp(address, kHandshakeStep));
  FrameChannel channel(std::move(socket), kGreetingBytes);
  FM_ASSIGN_OR_RETURN(const std::string asked, channel.Receive(kHandshakeStep));
  wire::Challenge challenge;
  FM_RETURN_IF_ERROR(ParseWire(asked, "Challenge", &challenge));
  Digest256 challenged;
  FM_RETURN_IF_ERROR(ReadDigest("nonce", challenge.nonce(), &challenged));
  greeting.nonce = RandomDigest();
  greeting.proof = ProofOf(token, "rank", challenged, greeting);
  FM_RETURN_IF_ERROR(channel.Send(Encode(greeting), kHandshakeStep));
  FM_ASSIGN_OR_RETURN(const std::string answer, channel.Receive(kHandshakeStep));
  wire::Welcome welcome;
  FM_RETURN_IF_ERROR(ParseWire(answer, "Welcome", &welcome));
  Digest256 proof;
  FM_RETURN_IF_ERROR(ReadDigest("proof", welcome.proof(), &proof));
  if (!SameDigest(proof, ProofOf(token, "supervisor", challenged, greeting))) {
    return FailedPrecondition("what listens there is not the supervisor of this engine");
  }
  return channel.Release();
}

}  // namespace

Token RandomToken() { return RandomDigest(); }

std::string TokenText(const Token& token) { return HexText(token); }

absl::StatusOr<Token> ParseToken(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  Token token = {};
  if (text.size() != 2 * token.size() || text.find_first_not_of(kDigits) != text.npos) {
    return InvalidArgument("a token is {} hexadecimal digits", 2 * token.size());
  }
  for (size_t i = 0; i < token.size(); ++i) {
    token[i] = static_cast<uint8_t>(kDigits.find(text[2 * i]) * 16 + kDigits.find(text[2 * i + 1]));
  }
  return token;
}

std::string Encode(const Greeting& message) {
  wire::Greeting out;
  out.set_purpose(static_cast<uint32_t>(message.purpose));
  out.set_epoch(message.epoch);
  out.set_nonce(message.nonce.data(), message.nonce.size());
  out.set_proof(message.proof.data(), message.proof.size());
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, Greeting* message) {
  wire::Greeting in;
  FM_RETURN_IF_ERROR(ParseWire(bytes, "Greeting", &in));
  if (in.purpose() > static_cast<uint32_t>(Purpose::kPlans)) {
    return DataLoss("purpose is {}: it must be 0 or 1", in.purpose());
  }
  message->purpose = static_cast<Purpose>(in.purpose());
  message->epoch = in.epoch();
  FM_RETURN_IF_ERROR(ReadDigest("nonce", in.nonce(), &message->nonce));
  return ReadDigest("proof", in.proof(), &message->proof);
}

absl::StatusOr<FileDescriptor> EnterAt(const std::string& address, const Token& token,
                                       Purpose purpose, int64_t epoch, milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  milliseconds pause = kFirstPause;
  while (true) {
    absl::StatusOr<FileDescriptor> socket =
        EnterOnce(address, token, {.purpose = purpose, .epoch = epoch, .nonce = {}, .proof = {}});
    if (socket.ok()) return socket;
    if (Clock::now() + pause > end) {
      return Annotate(socket.status(), "the supervisor at " + address + " cannot be entered");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

Admission::Admission(FileDescriptor listening)
    : listening_(std::move(listening)), token_(RandomToken()) {}

void Admission::Expect(const Token& token, int64_t epoch) {
  token_ = token;
  epoch_ = epoch;
}

void Admission::AppendTo(std::vector<pollfd>* fds) const {
  fds->push_back({.fd = listening_.get(), .events = POLLIN, .revents = 0});
  for (const Stranger& stranger : strangers_) {
    fds->push_back({.fd = stranger.channel.fd(), .events = POLLIN, .revents = 0});
  }
}

void Admission::Refuse(const Stranger& stranger, std::string_view why, Time now) {
  std::string who = PeerAddress(stranger.channel.fd());
  if (who.empty()) who = "somebody who has left";
  refusals_.Say(fmt::format("{} at the control port", who), why, now);
}

void Admission::AcceptStrangers(Time now) {
  for (int i = 0; i < kMostAccepted; ++i) {
    absl::StatusOr<FileDescriptor> socket = AcceptTcp(listening_.get());
    const bool exhausted = socket.status().code() == absl::StatusCode::kResourceExhausted;
    if (!strangers_.empty() &&
        (exhausted || (socket.ok() && strangers_.size() == kMostStrangers))) {
      Refuse(strangers_.front(), "others wait, and it has not spoken", now);
      strangers_.erase(strangers_.begin());
    }
    if (!socket.ok()) return;
    Stranger stranger = {.channel = FrameChannel(*std::move(socket), kGreetingBytes),
                         .nonce = RandomDigest(),
                         .since = now};
    wire::Challenge challenge;
    challenge.set_nonce(stranger.nonce.data(), stranger.nonce.size());
    // The buffer of a new connection has room: nobody is waited for.
    if (!stranger.channel.Send(challenge.SerializeAsString(), milliseconds(0)).ok()) continue;
    strangers_.push_back(std::move(stranger));
  }
}

// nullopt: it has not said enough yet. An error: why it must leave.
absl::StatusOr<std::optional<Admission::Guest>> Admission::Hear(Stranger& stranger) const {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> message, stranger.channel.Poll());
  if (!message) return std::nullopt;
  Greeting greeting;
  FM_RETURN_IF_ERROR(Decode(*message, &greeting));
  // One answer for everything that is wrong: it does not tell a wrong token from an old one.
  const bool known =
      SameDigest(greeting.proof, ProofOf(token_, "rank", stranger.nonce, greeting)) &&
      greeting.epoch == epoch_;
  if (!known) return FailedPrecondition("it does not know the token of engine {}", epoch_);
  wire::Welcome welcome;
  const Digest256 proof = ProofOf(token_, "supervisor", stranger.nonce, greeting);
  welcome.set_proof(proof.data(), proof.size());
  FM_RETURN_IF_ERROR(stranger.channel.Send(welcome.SerializeAsString(), milliseconds(0)));
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, stranger.channel.Release());
  return Guest{.socket = std::move(socket), .purpose = greeting.purpose};
}

std::vector<Admission::Guest> Admission::Admit(Time now) {
  AcceptStrangers(now);
  std::vector<Guest> guests;
  std::vector<Stranger> staying;
  for (Stranger& stranger : strangers_) {
    absl::StatusOr<std::optional<Guest>> guest = Hear(stranger);
    if (!guest.ok()) {
      Refuse(stranger, Message(guest.status()), now);
    } else if (guest->has_value()) {
      guests.push_back(**std::move(guest));
    } else if (now - stranger.since >= kGreetingTime) {
      Refuse(stranger, fmt::format("no greeting within {} s", kGreetingTime.count() / 1000), now);
    } else {
      staying.push_back(std::move(stranger));
    }
  }
  strangers_ = std::move(staying);
  return guests;
}

}  // namespace folkmoot
