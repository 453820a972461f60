// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/json_call.h"

#include <algorithm>
#include <array>
#include <utility>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

enum class Match : uint8_t { kYes, kNo, kMore };

// A place in a text of which more may come.
class Place {
 public:
  explicit Place(std::string_view text) : text_(text) {}

  Match Literal(std::string_view literal) {
    at_ = SkipSpace(text_, at_);
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with(literal)) {
      at_ += literal.size();
      return Match::kYes;
    }
    return literal.starts_with(rest) ? Match::kMore : Match::kNo;
  }

  // A JSON string that is not empty.
  Match String(std::string* value) {
    if (const Match quote = Literal("\""); quote != Match::kYes) return quote;
    const size_t begin = at_ - 1;
    for (bool escaped = false; at_ < text_.size(); ++at_) {
      if (!escaped && text_[at_] == '"') break;
      escaped = !escaped && text_[at_] == '\\';
    }
    if (at_ == text_.size()) return Match::kMore;
    ++at_;
    const Json json = Json::parse(text_.substr(begin, at_ - begin), nullptr, false);
    if (!json.is_string()) return Match::kNo;
    *value = json.get<std::string>();
    return value->empty() ? Match::kNo : Match::kYes;
  }

  size_t at() const { return at_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// {"name": "f", "arguments": and then the opening brace, which is left where it is.
Match MatchHead(std::string_view text, std::string* name, size_t* length) {
  Place place(text);
  for (const std::string_view literal : {"{", "\"name\"", ":"}) {
    if (const Match match = place.Literal(literal); match != Match::kYes) return match;
  }
  if (const Match match = place.String(name); match != Match::kYes) return match;
  if (const Match match = place.Literal(","); match != Match::kYes) return match;
  Match key = place.Literal("\"arguments\"");
  if (key == Match::kNo) key = place.Literal("\"parameters\"");
  if (key != Match::kYes) return key;
  for (const std::string_view literal : {":", "{"}) {
    if (const Match match = place.Literal(literal); match != Match::kYes) return match;
  }
  *length = place.at() - 1;
  return Match::kYes;
}

// Longer heads are read as a whole: else every piece would read all of a long one again.
constexpr size_t kMaxHead = 1024;

// False: no call.
bool ParseCall(std::string_view object, std::string* name, std::string* arguments) {
  const absl::StatusOr<Json> call = ParseBody(object);
  if (!call.ok()) return false;
  const auto found = call->find("name");
  if (found == call->end() || !found->is_string() || found->get<std::string>().empty()) {
    return false;
  }
  *name = found->get<std::string>();
  auto value = call->find("arguments");
  if (value == call->end()) value = call->find("parameters");
  if (value == call->end() || value->is_null()) {
    *arguments = "{}";
  } else if (value->is_object()) {
    *arguments = Dump(*value);
  } else if (value->is_string() && ParseBody(value->get_ref<const std::string&>()).ok()) {
    *arguments = value->get<std::string>();
  } else {
    return false;
  }
  return true;
}

}  // namespace

Reading JsonCall::ReadHead(std::string_view text, bool last, std::string* name,
                           std::string* arguments) {
  if (!whole_) {
    size_t length = 0;
    // The limit counts bytes of the head, not those that happen to be here.
    const Match match = MatchHead(text.substr(0, kMaxHead), name, &length);
    if (match == Match::kYes) {
      closed_ = false;
      return Reading::Done(length);
    }
    if (match == Match::kMore && text.size() < kMaxHead && !last) return Reading::More();
    whole_ = true;
  }
  const Reading reading = ReadWhole(text, last, name, arguments);
  if (reading.is != Reading::Is::kMore) {
    *this = JsonCall();
    closed_ = true;
  }
  return reading;
}

Reading JsonCall::ReadWhole(std::string_view text, bool last, std::string* name,
                            std::string* arguments) {
  const size_t begin = SkipSpace(text, 0);
  for (size_t i = std::max(begin, scanned_); i < text.size(); ++i) {
    const JsonExtent::State state =
        i == begin && text[i] != '{' ? JsonExtent::State::kBad : extent_.Advance(text[i]);
    if (state == JsonExtent::State::kBad) return Reading::No();
    if (state == JsonExtent::State::kInside) continue;
    const bool call = ParseCall(text.substr(begin, i + 1 - begin), name, arguments);
    return call ? Reading::Done(i + 1) : Reading::No();
  }
  scanned_ = text.size();
  return last ? Reading::No() : Reading::More();
}

Reading JsonCall::ReadEnd(std::string_view text, bool last) const {
  if (closed_) return Reading::Done(0);
  const size_t begin = SkipSpace(text, 0);
  if (begin == text.size()) return last ? Reading::Done(0) : Reading::More();
  if (text[begin] == '}') return Reading::Done(begin + 1);
  if (text[begin] != ',') return Reading::Done(0);
  // As an object of its own it would be "{" and what follows the comma.
  JsonExtent extent;
  extent.Advance('{');
  for (size_t i = begin + 1; i < text.size(); ++i) {
    const JsonExtent::State state = extent.Advance(text[i]);
    if (state == JsonExtent::State::kInside && i - begin < kMaxHead) continue;
    const std::string object = "{" + std::string(text.substr(begin + 1, i - begin));
    const bool members = state == JsonExtent::State::kEnd && Json::accept(object);
    return Reading::Done(members ? i + 1 : 0);
  }
  return last ? Reading::Done(0) : Reading::More();
}

Reading JsonCall::ReadListEnd(std::string_view text, bool last) const {
  const Reading object = ReadEnd(text, last);
  if (object.is == Reading::Is::kMore) return object;
  const size_t next = SkipSpace(text, object.length);
  if (next == text.size()) return last ? object : Reading::More();
  if (text[next] == ',') return Reading::Next(next + 1);
  return Reading::Done(text[next] == ']' ? next + 1 : object.length);
}

}  // namespace folkmoot
