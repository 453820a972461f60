// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/tagged_arguments.h"

#include <algorithm>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsJsonSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsJsonSpace(text.back())) text.remove_suffix(1);
  return text;
}

// Without the line breaks that belong to the tags.
std::string_view TrimLines(std::string_view text) {
  if (text.starts_with("\n")) text.remove_prefix(1);
  if (text.ends_with("\n")) text.remove_suffix(1);
  return text;
}

}  // namespace

Reading TaggedSyntax::ReadHead(std::string_view text, bool /*last*/, std::string* name,
                               std::string* /*arguments*/) {
  const Reading head = ReadToolName(text, name);
  tool_ = *name;
  pairs_ = 0;
  searched_ = 0;
  return head;
}

// kDone leaves `end` where it is, for the tail.
Reading TaggedSyntax::ReadArguments(std::string_view text, bool /*last*/, std::string* json) {
  size_t used = 0;
  while (true) {
    const Reading pair = ReadPair(text.substr(used), json);
    if (pair.is == Reading::Is::kDone) {
      used += pair.length;
      continue;
    }
    size_t at = used;
    const Reading end = Expect(text, tags_.end, &at);
    if (end.is == Reading::Is::kDone) {
      json->append(pairs_ == 0 ? "{}" : "}");
      return Reading::Done(at - tags_.end.size());
    }
    if (pair.is == Reading::Is::kMore || end.is == Reading::Is::kMore) return Reading::More(used);
    // What was read stays read; the reader comes back for the rest.
    return used > 0 ? Reading::More(used) : Reading::No();
  }
}

Reading TaggedSyntax::ReadTail(std::string_view text, bool last) {
  if (!tags_.next.empty()) {
    size_t at = 0;
    Reading reading = Expect(text, tags_.end, &at);
    const size_t behind = at;
    if (reading.is == Reading::Is::kDone) reading = Expect(text, tags_.next, &at);
    if (reading.is == Reading::Is::kDone) return Reading::Next(behind);
    if (reading.is == Reading::Is::kMore && !last) return reading;
  }
  return ReadParts(text, last, tags_.tail);
}

// `string`: a typed value is one.
std::string TaggedSyntax::ValueJson(std::string_view name, std::string_view written,
                                    bool string) const {
  switch (tags_.value) {
    case ArgumentTags::Value::kTrimmed:
      return schemas_->ValueJson(tool_, name, Trim(written));
    case ArgumentTags::Value::kLines:
      return schemas_->ValueJson(tool_, name, TrimLines(written));
    case ArgumentTags::Value::kPlain:
      return schemas_->ValueJson(tool_, name, written);
    case ArgumentTags::Value::kTyped:
      break;
  }
  const std::string_view value = Trim(written);
  if (!string && nlohmann::json::accept(value)) return std::string(value);
  std::string json;
  AppendQuoted(written, &json);
  return json;
}

Reading TaggedSyntax::ReadPair(std::string_view text, std::string* json) {
  size_t at = 0;
  Reading tag = Expect(text, tags_.name_begin, &at);
  if (tag.is != Reading::Is::kDone) return tag;
  // A name has no tag in it and is short: else a missing tag would make one of all that follows.
  const char stops[] = {'<', tags_.name_end.front()};
  const std::string_view written_name = text.substr(at, text.find_first_of({stops, 2}, at) - at);
  if (written_name.size() > kMaxToolName) return Reading::No();
  at += written_name.size();
  tag = Expect(text, tags_.name_end, &at);
  if (tag.is == Reading::Is::kDone && !tags_.value_begin.empty()) {
    tag = Expect(text, tags_.value_begin, &at);
  }
  bool string = true;
  if (tag.is == Reading::Is::kDone && tags_.value == ArgumentTags::Value::kTyped) {
    tag = Expect(text, "true\">", &at);
    if (tag.is == Reading::Is::kNo) {
      tag = Expect(text, "false\">", &at);
      string = false;
    }
  }
  if (tag.is != Reading::Is::kDone) return tag;
  const std::optional<Extent> extent = FindValueEnd(text, at);
  if (!extent) return Reading::More();
  const std::string_view written = text.substr(at, extent->end - at);
  json->append(pairs_++ == 0 ? "{" : ", ");
  const std::string_view name = Trim(written_name);
  AppendQuoted(name, json);
  json->append(": ");
  json->append(ValueJson(name, written, string));
  return Reading::Done(extent->used);
}

std::optional<TaggedSyntax::Extent> TaggedSyntax::FindValueEnd(std::string_view text, size_t from) {
  from = std::max(from, searched_);
  size_t end = text.find(tags_.value_end, from);
  size_t used = end + tags_.value_end.size();
  size_t held = PartialMarker(text, tags_.value_end);
  if (tags_.value_end_optional) {
    for (const std::string_view next : {tags_.name_begin, tags_.end}) {
      const size_t found = text.substr(0, end).find(next, from);
      if (found != std::string_view::npos) end = used = found;
      held = std::max(held, PartialMarker(text, next));
    }
  }
  searched_ = 0;  // of the next pair
  if (end != std::string_view::npos) return Extent{.end = end, .used = used};
  searched_ = std::max(from, text.size() - held);
  return std::nullopt;
}

}  // namespace folkmoot
