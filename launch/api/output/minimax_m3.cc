// SPDX-License-Identifier: Apache-2.0
// MiniMax-M3. A token of its own stands in front of every tag, which is left out here; arguments
// are elements with their names, objects and lists in them are elements again:
//   <tool_call>
//   <invoke name="get_weather"><city>Paris</city><where><lat>47.4</lat></where>
//   <days><item>1</item><item>2</item></days></invoke>
//   </tool_call>
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "launch/api/common/json_body.h"
#include "launch/api/output/call_syntax.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {
namespace {

constexpr std::string_view kMark = "]<]minimax[>[";
constexpr std::string_view kM3Begins[] = {"]<]minimax[>[<tool_call>"};
constexpr std::string_view kInvoke = "<invoke name=\"";
constexpr std::string_view kInvokeEnd = "</invoke>";
constexpr std::string_view kCallEnd = "</tool_call>";
constexpr std::string_view kItem = "item";

// The token and a tag behind it.
Reading ExpectTag(std::string_view text, std::string_view tag, size_t* at) {
  size_t behind = *at;
  Reading reading = Expect(text, kMark, &behind);
  if (reading.is == Reading::Is::kDone) reading = Expect(text, tag, &behind);
  if (reading.is == Reading::Is::kDone) *at = behind;
  return reading;
}

// A tag of an element, with its token.
struct Tag {
  std::string_view name;
  bool closes = false;
  size_t end = 0;  // behind it
};

// The tag whose token begins at `at`. kNo: there is none.
Reading ReadTag(std::string_view text, size_t at, Tag* tag) {
  const Reading open = ExpectTag(text, "<", &at);
  if (open.is != Reading::Is::kDone) return open;
  if (at == text.size()) return Reading::More();
  tag->closes = text[at] == '/';
  if (tag->closes) ++at;
  const size_t end = text.find_first_of("<>", at);
  const size_t length = std::min(end, text.size()) - at;
  if (length > kMaxToolName) return Reading::No();
  if (end == std::string_view::npos) return Reading::More();
  tag->name = text.substr(at, length);
  tag->end = end + 1;
  return text[end] == '>' && length > 0 ? Reading::Done(tag->end) : Reading::No();
}

// Elements that are all there, to JSON.
class Elements {
 public:
  explicit Elements(std::string_view text) : text_(text) {}

  // The member that the element is: "name": value, appended. False: it is not of this form.
  bool Member(const ValueSchema& arguments, std::string* json) {
    Tag tag;
    if (ReadTag(text_, 0, &tag).is != Reading::Is::kDone || tag.closes) return false;
    at_ = tag.end;
    AppendQuoted(tag.name, json);
    json->append(": ");
    return Value(tag.name, arguments.Member(tag.name), 0, json) && at_ == text_.size();
  }

 private:
  using Child = std::pair<std::string_view, std::string>;  // name and value

  // Behind the tag that opened it, up to and with the one that closes.
  bool Value(std::string_view name, const ValueSchema& schema, int depth, std::string* json) {
    if (depth == kMaxNesting) return false;
    const size_t begin = at_;
    Tag tag;
    if (!NextTag(&tag)) return false;
    const std::string_view text = text_.substr(begin, at_ - begin);
    if (tag.closes) {
      at_ = tag.end;
      json->append(LeafJson(text, schema));
      return tag.name == name;
    }
    if (text.find_first_not_of(" \n\t\r") != std::string_view::npos) return false;
    return Children(name, schema, depth, json);
  }

  // They are a list where one is declared, and where all are called "item" and nothing says no.
  bool Children(std::string_view name, const ValueSchema& schema, int depth, std::string* json) {
    const bool declared = schema.Has("array") && !schema.Has("object");
    bool list = declared || !schema.Has("object") || schema.Has("array");
    std::vector<Child> children;
    while (true) {
      const size_t begin = at_;
      Tag tag;
      if (!NextTag(&tag) || SkipSpace(text_, begin) < at_) return false;
      at_ = tag.end;
      if (tag.closes) {
        if (tag.name != name) return false;
        break;
      }
      list = list && (declared || tag.name == kItem);
      const ValueSchema of_child = list ? schema.Element() : schema.Member(tag.name);
      children.emplace_back(tag.name, "");
      if (!Value(tag.name, of_child, depth + 1, &children.back().second)) return false;
    }
    if (list) {
      AppendList(children, json);
    } else {
      AppendObject(children, json);
    }
    return true;
  }

  // Moves to the token of the next tag. False: there is none.
  bool NextTag(Tag* tag) {
    for (; (at_ = text_.find(kMark, at_)) != std::string_view::npos; at_ += kMark.size()) {
      if (ReadTag(text_, at_, tag).is == Reading::Is::kDone) return true;
    }
    return false;
  }

  // An empty list and an empty object have no elements, and look like an empty text.
  static std::string LeafJson(std::string_view text, const ValueSchema& schema) {
    if (text.empty() && !schema.Has("string")) {
      if (schema.Has("array")) return "[]";
      if (schema.Has("object")) return "{}";
    }
    return schema.TextJson(text);
  }

  static void AppendList(const std::vector<Child>& children, std::string* json) {
    json->append("[");
    for (const Child& child : children) {
      if (json->back() != '[') json->append(", ");
      json->append(child.second);
    }
    json->append("]");
  }
  // Several members of the same name are a list.
  static void AppendObject(const std::vector<Child>& children, std::string* json) {
    std::vector<std::vector<Child>> members;
    std::map<std::string_view, size_t> places;
    for (const Child& child : children) {
      const auto [place, is_new] = places.emplace(child.first, members.size());
      if (is_new) members.emplace_back();
      members[place->second].push_back(child);
    }
    json->append("{");
    for (const std::vector<Child>& member : members) {
      if (json->back() != '{') json->append(", ");
      AppendQuoted(member.front().first, json);
      json->append(": ");
      if (member.size() == 1) {
        json->append(member.front().second);
      } else {
        AppendList(member, json);
      }
    }
    json->append("}");
  }

  const std::string_view text_;
  size_t at_ = 0;
};

class MiniMaxM3Syntax : public CallSyntax {
 public:
  explicit MiniMaxM3Syntax(const OutputRules& rules) : schemas_(rules.schemas) {}

  std::span<const std::string_view> begins() const override { return kM3Begins; }
  std::string_view end() const override { return "]<]minimax[>[</tool_call>"; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = 0;
    const Reading invoke = ExpectTag(text, kInvoke, &at);
    if (invoke.is != Reading::Is::kDone) return invoke;
    if (!ReadName(text, &at, name) || (name->empty() && at < text.size())) return Reading::No();
    const Reading head = Expect(text, "\">", &at);
    tool_ = *name;
    members_ = 0;
    return head.is == Reading::Is::kDone ? Reading::Done(at) : head;
  }

  // Elements become members as soon as each is complete. kDone leaves the end for the tail.
  Reading ReadArguments(std::string_view text, bool /*last*/, std::string* json) override {
    size_t used = 0;
    while (true) {
      size_t at = used;
      const Reading end = ExpectTag(text, kInvokeEnd, &at);
      if (end.is == Reading::Is::kDone) {
        json->append(members_ == 0 ? "{}" : "}");
        return Reading::Done(used);
      }
      Reading element = end;  // what is a part of the end may be one of an element
      if (end.is == Reading::Is::kNo) element = ReadElement(text.substr(used), json);
      if (element.is == Reading::Is::kMore) return Reading::More(used);
      // What was read stays read; the reader comes back for the rest.
      if (element.is == Reading::Is::kNo) return used > 0 ? Reading::More(used) : Reading::No();
      used += element.length;
    }
  }

  Reading ReadTail(std::string_view text, bool last) override {
    size_t at = 0;
    Reading part = ExpectTag(text, kInvokeEnd, &at);
    if (part.is == Reading::Is::kMore && !last) return part;
    const size_t behind = at;
    part = ExpectTag(text, kInvoke, &at);
    if (part.is == Reading::Is::kDone) return Reading::Next(behind);
    if (part.is == Reading::Is::kMore && !last) return part;
    part = ExpectTag(text, kCallEnd, &at);
    return part.is == Reading::Is::kMore && !last ? part : Reading::Done(at);
  }

 private:
  Reading ReadElement(std::string_view text, std::string* json) {
    const Reading extent = FindEnd(text);
    if (extent.is == Reading::Is::kMore) return extent;
    scanned_ = 0;
    depth_ = 0;
    if (extent.is == Reading::Is::kNo) return extent;
    std::string member = members_ == 0 ? "{" : ", ";
    const size_t begin = SkipSpace(text, 0);
    Elements element(text.substr(begin, extent.length - begin));
    if (!element.Member(schemas_->Arguments(tool_), &member)) return Reading::No();
    ++members_;
    json->append(member);
    return extent;
  }

  // Behind the tag that closes the first one.
  Reading FindEnd(std::string_view text) {
    if (scanned_ == 0) scanned_ = SkipSpace(text, 0);
    if (depth_ == 0 && !text.substr(scanned_).starts_with(kMark)) {
      return kMark.starts_with(text.substr(scanned_)) ? Reading::More() : Reading::No();
    }
    for (size_t at; (at = text.find(kMark, scanned_)) != std::string_view::npos;) {
      Tag tag;
      const Reading reading = ReadTag(text, at, &tag);
      scanned_ = at;
      if (reading.is == Reading::Is::kMore) return reading;
      scanned_ = reading.is == Reading::Is::kDone ? tag.end : at + kMark.size();
      if (reading.is == Reading::Is::kDone) depth_ += tag.closes ? -1 : 1;
      if (depth_ <= 0) return depth_ == 0 && tag.closes ? Reading::Done(tag.end) : Reading::No();
    }
    scanned_ = std::max(scanned_, text.size() - PartialMarker(text, kMark));
    return Reading::More();
  }

  const std::shared_ptr<const ToolSchemas> schemas_;
  std::string tool_;
  int members_ = 0;
  size_t scanned_ = 0;  // bytes of an element that have been looked at
  int depth_ = 0;       // of elements there
};

}  // namespace

std::unique_ptr<CallSyntax> MakeMiniMaxM3Syntax(const OutputRules& rules) {
  return std::make_unique<MiniMaxM3Syntax>(rules);
}

}  // namespace folkmoot
