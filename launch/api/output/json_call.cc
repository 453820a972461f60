// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/json_call.h"

#include <algorithm>
#include <initializer_list>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

Reading ExpectAll(std::string_view text, std::initializer_list<std::string_view> literals,
                  size_t* at) {
  Reading reading = Reading::Done(*at);
  for (const std::string_view literal : literals) {
    if (reading.is == Reading::Is::kDone) reading = Expect(text, literal, at);
  }
  return reading;
}

// The rest of a JSON string that is not empty, behind its quote.
Reading ReadString(std::string_view text, size_t* at, std::string* value) {
  const size_t begin = *at - 1;
  for (bool escaped = false; *at < text.size(); ++*at) {
    if (!escaped && text[*at] == '"') break;
    escaped = !escaped && text[*at] == '\\';
  }
  if (*at == text.size()) return Reading::More();
  ++*at;
  const Json json = Json::parse(text.substr(begin, *at - begin), nullptr, false);
  *value = json.is_string() ? json.get<std::string>() : "";
  return value->empty() ? Reading::No() : Reading::Done(*at);
}

std::string Quoted(std::string_view key) { return "\"" + std::string(key) + "\""; }

// A member with a string, and the comma behind it, if it is what comes next.
Reading SkipMember(std::string_view text, std::string_view key, size_t* at) {
  size_t behind = *at;
  std::string value;
  Reading part = Expect(text, Quoted(key), &behind);
  if (part.is == Reading::Is::kNo) return Reading::Done(*at);
  if (part.is == Reading::Is::kDone) part = ExpectAll(text, {":", "\""}, &behind);
  if (part.is == Reading::Is::kDone) part = ReadString(text, &behind, &value);
  if (part.is == Reading::Is::kDone) part = Expect(text, ",", &behind);
  if (part.is == Reading::Is::kDone) *at = behind;
  return part;
}

// {"name": "f", "arguments": and then the opening brace, which is left where it is.
Reading ReadShortHead(std::string_view text, const JsonCallKeys& keys, std::string* name) {
  using Is = Reading::Is;
  const std::string name_key = Quoted(keys.name);
  size_t at = 0;
  Reading part = Expect(text, "{", &at);
  if (part.is == Is::kDone && !keys.id.empty()) part = SkipMember(text, keys.id, &at);
  if (part.is == Is::kDone) part = ExpectAll(text, {name_key, ":", "\""}, &at);
  if (part.is == Is::kDone) part = ReadString(text, &at, name);
  if (part.is == Is::kDone) part = Expect(text, ",", &at);
  if (part.is != Is::kDone) return part;
  part = Expect(text, Quoted(keys.arguments), &at);
  if (part.is == Is::kNo) part = Expect(text, "\"parameters\"", &at);
  if (part.is == Is::kDone) part = ExpectAll(text, {":", "{"}, &at);
  return part.is == Is::kDone ? Reading::Done(at - 1) : part;
}

// Longer heads are read as a whole: else every piece would read all of a long one again.
constexpr size_t kMaxHead = 1024;

// False: no call.
bool ParseCall(std::string_view object, const JsonCallKeys& keys, std::string* name,
               std::string* arguments) {
  const absl::StatusOr<Json> call = ParseBody(object);
  if (!call.ok()) return false;
  const auto found = call->find(std::string(keys.name));
  if (found == call->end() || !found->is_string() || found->get<std::string>().empty()) {
    return false;
  }
  *name = found->get<std::string>();
  auto value = call->find(std::string(keys.arguments));
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
    // The limit counts bytes of the head, not those that happen to be here.
    const Reading head = ReadShortHead(text.substr(0, kMaxHead), keys_, name);
    if (head.is == Reading::Is::kDone) {
      closed_ = false;
      return head;
    }
    if (head.is == Reading::Is::kMore && text.size() < kMaxHead && !last) return head;
    whole_ = true;
  }
  const Reading reading = ReadWhole(text, last, name, arguments);
  if (reading.is != Reading::Is::kMore) {
    *this = JsonCall(keys_);
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
    const bool call = ParseCall(text.substr(begin, i + 1 - begin), keys_, name, arguments);
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
