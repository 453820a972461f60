// SPDX-License-Identifier: Apache-2.0
// Main functions: HeadByte, which watches limits and line ends while the head comes in; ParseHead,
// where Beast takes the complete head apart and CheckHeaders refuses what Beast would let pass; and
// FeedChunked.
#include "launch/http/request_parser.h"

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>

#include <fmt/format.h>

#include "launch/http/request_target.h"

namespace folkmoot {
namespace {

namespace http = boost::beast::http;

constexpr int kMaxSizeDigits = 16;          // of a chunk: 64 bits
constexpr size_t kMaxExtensionBytes = 256;  // of a chunk
constexpr size_t kMaxLengthDigits = 19;     // of Content-Length

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

bool IsHostByte(char c) {
  return c > 0x20 && c < 0x7f && std::string_view("/\\@?#\"<>").find(c) == std::string_view::npos;
}

// Of what may stand in a head, in a trailer or after a chunk's size.
bool IsTextByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

RequestParser::RequestParser(const HttpLimits& limits) : limits_(limits) {}

void RequestParser::Refuse(int status, std::string_view message) {
  state_ = State::kRefused;
  refusal_ = ErrorResponse(status, message);
  std::string().swap(head_);
  std::string().swap(request_.body);
}

size_t RequestParser::Feed(std::string_view bytes) {
  switch (state_) {
    case State::kHead:
      return FeedHead(bytes);
    case State::kBody:
      return chunked_ ? FeedChunked(bytes) : FeedBody(bytes);
    default:
      return 0;
  }
}

HttpRequest RequestParser::TakeRequest() {
  HttpRequest request = std::move(request_);
  *this = RequestParser(limits_);
  return request;
}

// ---- Head

size_t RequestParser::FeedHead(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!HeadByte(bytes[i])) return i + 1;
    if (state_ != State::kHead) return i + 1;
  }
  return bytes.size();
}

bool RequestParser::HeadByte(char c) {
  if ((c == '\n') != (last_ == '\r') || (c != '\r' && c != '\n' && !IsTextByte(c))) {
    Refuse(400, "the request's head has a control character or a line not ended by CR LF");
    return false;
  }
  if (line_bytes_ == 0 && lines_ > 0 && (c == ' ' || c == '\t')) {
    Refuse(400, "a header is folded over several lines");
    return false;
  }
  head_.push_back(c);
  last_ = c;
  if (head_.size() > limits_.header_bytes) {
    Refuse(431, fmt::format("the request's head is longer than {} bytes", limits_.header_bytes));
    return false;
  }
  if (c == '\r') return true;
  if (c != '\n') {
    ++line_bytes_;
    return true;
  }
  const bool blank = line_bytes_ == 0;
  line_bytes_ = 0;
  if (!blank) {
    // The first line is the request's.
    if (++lines_ > limits_.header_count + 1) {
      Refuse(431, fmt::format("the request has more than {} headers", limits_.header_count));
    }
    return state_ == State::kHead;
  }
  if (lines_ > 0) {
    ParseHead();
  } else if (trailer_bytes_++ == 0) {
    head_.clear();  // one empty line before the request (RFC 9112, 2.2)
  } else {
    Refuse(400, "empty lines before the request");
  }
  return state_ != State::kRefused;
}

void RequestParser::ParseHead() {
  trailer_bytes_ = 0;
  http::request_parser<http::empty_body> parser;
  parser.header_limit(std::numeric_limits<uint32_t>::max());
  parser.skip(true);  // the body is ours
  boost::system::error_code error;
  parser.put(boost::asio::buffer(head_), error);
  std::string().swap(head_);
  if (error || !parser.is_done()) {
    Refuse(400, error == http::error::bad_version
                    ? "the request is not HTTP/1.1 or HTTP/1.0"
                    : "the request line or a header is not as RFC 9112 has it");
    return;
  }
  const auto& message = parser.get();
  request_.method = std::string(View(message.method_string()));
  for (const auto& field : message) {
    request_.headers.emplace_back(Lower(View(field.name_string())), View(field.value()));
  }
  http_1_0_ = message.version() < 11;
  keep_alive_ = !http_1_0_ && parser.keep_alive();
  auto target = ParseTarget(View(message.target()));
  if (!target.ok()) {
    Refuse(400, Message(target.status()));
    return;
  }
  request_.path = std::move(target->path);
  request_.query = std::move(target->query);
  state_ = State::kHeadDone;
  CheckHeaders();
}

void RequestParser::CheckHeaders() {
  // Headers of which a second one would leave open which of the two counts.
  for (const std::string_view single :
       {"content-length", "transfer-encoding", "host", "authorization", "expect"}) {
    const auto count = std::count_if(request_.headers.begin(), request_.headers.end(),
                                     [&](const auto& header) { return header.first == single; });
    if (count > 1) return Refuse(400, fmt::format("there are {} headers '{}'", count, single));
    if (count == 0 && single == "host" && !http_1_0_) {
      return Refuse(400, "there is no header 'host'");
    }
  }
  const std::string_view host = request_.Header("host");
  if (!std::all_of(host.begin(), host.end(), IsHostByte)) {
    return Refuse(400, "the header 'host' has a character that no host has");
  }
  const std::string expect = Lower(request_.Header("expect"));
  if (!expect.empty() && expect != "100-continue") {
    return Refuse(417, "the header 'expect' asks for something else than 100-continue");
  }
  const auto find = [&](std::string_view name) {
    return std::find_if(request_.headers.begin(), request_.headers.end(),
                        [&](const auto& header) { return header.first == name; });
  };
  const auto length = find("content-length");
  const auto coding = find("transfer-encoding");
  const auto end = request_.headers.end();
  if (length != end && coding != end) {
    return Refuse(400, "there is a Content-Length and a Transfer-Encoding");
  }
  if (coding != end) {
    if (http_1_0_ || Lower(coding->second) != "chunked") {
      return Refuse(400, "the only Transfer-Encoding known here is 'chunked', in HTTP/1.1");
    }
    chunked_ = true;
  } else if (length != end) {
    CheckBodyLength(length->second);
  }
  expects_continue_ = !expect.empty() && !http_1_0_ && has_body();
}

void RequestParser::CheckBodyLength(std::string_view length) {
  if (length.empty() || length.size() > kMaxLengthDigits ||
      !std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return Refuse(400, "the Content-Length is not a number");
  }
  for (const char c : length) remaining_ = remaining_ * 10 + static_cast<uint64_t>(c - '0');
  if (remaining_ > limits_.body_bytes) {
    Refuse(413, fmt::format("the body is longer than {} bytes", limits_.body_bytes));
  }
}

// ---- Body

void RequestParser::AcceptBody() { state_ = has_body() ? State::kBody : State::kDone; }

size_t RequestParser::FeedBody(std::string_view bytes) {
  const size_t taken = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
  request_.body.append(bytes.substr(0, taken));
  remaining_ -= taken;
  if (remaining_ == 0) state_ = State::kDone;
  return taken;
}

size_t RequestParser::FeedChunked(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size() && state_ == State::kBody) {
    if (chunk_ == Chunk::kData) {
      const size_t taken = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size() - at));
      request_.body.append(bytes.substr(at, taken));
      remaining_ -= taken;
      at += taken;
      if (remaining_ == 0) chunk_ = Chunk::kDataCr;
      continue;
    }
    const char c = bytes[at++];
    if (chunk_ == Chunk::kDataCr || chunk_ == Chunk::kDataLf) {
      if (c != (chunk_ == Chunk::kDataCr ? '\r' : '\n')) {
        Refuse(400, "a chunk is longer or shorter than its size says");
      }
      chunk_ = chunk_ == Chunk::kDataCr ? Chunk::kDataLf : Chunk::kSize;
    } else if (chunk_ == Chunk::kTrailer) {
      TrailerByte(c);
    } else {
      ChunkSizeByte(c);
    }
  }
  return at;
}

// 1 to 16 hexadecimal digits, at once followed by CR LF or by ";" and an extension, which is
// skipped.
void RequestParser::ChunkSizeByte(char c) {
  if (chunk_ == Chunk::kSizeEnd) {
    if (c != '\n') return Refuse(400, "a chunk's size does not end with CR LF");
    return ChunkSizeEnds();
  }
  if (chunk_ == Chunk::kExtension) {
    if (c == '\r') {
      chunk_ = Chunk::kSizeEnd;
    } else if (!IsTextByte(c)) {
      Refuse(400, "a chunk's extension has a control character");
    } else if (++extension_bytes_ > kMaxExtensionBytes) {
      Refuse(400, fmt::format("a chunk's extension is longer than {} bytes", kMaxExtensionBytes));
    }
    return;
  }
  const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c + ('a' - 'A')) : c;
  const bool digit = lower >= '0' && lower <= '9';
  if (digit || (lower >= 'a' && lower <= 'f')) {
    if (++size_digits_ > kMaxSizeDigits) return Refuse(400, "a chunk's size has too many digits");
    remaining_ = remaining_ * 16 + static_cast<uint64_t>(digit ? lower - '0' : lower - 'a' + 10);
  } else if (size_digits_ > 0 && (c == '\r' || c == ';')) {
    chunk_ = c == ';' ? Chunk::kExtension : Chunk::kSizeEnd;
  } else {
    Refuse(400, "a chunk's size is not a hexadecimal number");
  }
}

void RequestParser::ChunkSizeEnds() {
  size_digits_ = 0;
  extension_bytes_ = 0;
  if (remaining_ == 0) {
    chunk_ = Chunk::kTrailer;
    line_bytes_ = 0;
    last_ = '\n';
    return;
  }
  if (++chunks_ > limits_.chunk_count) {
    return Refuse(413, fmt::format("the body has more than {} chunks", limits_.chunk_count));
  }
  // Written so that no size can overflow the sum.
  if (remaining_ > limits_.body_bytes - request_.body.size()) {
    return Refuse(413, fmt::format("the body is longer than {} bytes", limits_.body_bytes));
  }
  chunk_ = Chunk::kData;
}

// Trailers are read over: a header that comes after the checks must not count.
void RequestParser::TrailerByte(char c) {
  if (++trailer_bytes_ > limits_.header_bytes) {
    return Refuse(431, fmt::format("the trailers are longer than {} bytes", limits_.header_bytes));
  }
  const bool line_end = c == '\r' || c == '\n';
  if ((c == '\n') != (last_ == '\r') || (!line_end && !IsTextByte(c)) ||
      (line_bytes_ == 0 && (c == ' ' || c == '\t'))) {
    return Refuse(400, "the chunked body ends with a malformed trailer");
  }
  last_ = c;
  if (c == '\r') return;
  if (c != '\n') {
    ++line_bytes_;
  } else if (line_bytes_ == 0) {
    state_ = State::kDone;
  } else {
    line_bytes_ = 0;
  }
}

}  // namespace folkmoot
