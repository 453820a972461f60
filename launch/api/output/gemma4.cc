// SPDX-License-Identifier: Apache-2.0
// Gemma 4. Names have no quotes, and strings stand between tokens of their own:
//   <|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3,where:{on:true}}<tool_call|>
// FunctionGemma has the same with other tokens:
//   <start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>
// A call is read as a whole.
#include <algorithm>

#include "launch/api/common/json_body.h"
#include "launch/api/output/literal_cursor.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

struct GemmaMarkers {
  std::string_view begin, end, quote;
};
constexpr GemmaMarkers kGemma4 = {
    .begin = "<|tool_call>", .end = "<tool_call|>", .quote = "<|\"|>"};
constexpr GemmaMarkers kFunctionGemma = {
    .begin = "<start_function_call>", .end = "<end_function_call>", .quote = "<escape>"};

// The arguments as JSON, appended to a string. False: they are not of this form.
class GemmaArguments : LiteralCursor {
 public:
  GemmaArguments(std::string_view whole, std::string_view quote)
      : LiteralCursor{whole}, quote_(quote) {}

  bool Read(std::string* json) { return Take('{') && Object(0, json) && ended(); }

 private:
  // Behind a bracket that opened, up to and with that which closes.
  bool Object(int depth, std::string* json) {
    json->append("{");
    for (bool first = true; !Take('}'); first = false) {
      if (!first && !Comma(json)) return false;
      std::string_view key;
      if (!Quoted(&key)) {
        key = Bare(":,{}[]");
        if (key.empty()) return false;
      }
      AppendQuoted(key, json);
      json->append(": ");
      if (!Take(':') || !Value(depth, json)) return false;
    }
    json->append("}");
    return true;
  }
  bool List(int depth, std::string* json) {
    json->append("[");
    for (bool first = true; !Take(']'); first = false) {
      if (!first && !Comma(json)) return false;
      if (!Value(depth, json)) return false;
    }
    json->append("]");
    return true;
  }
  bool Value(int depth, std::string* json) {
    if (depth == kMaxNesting) return false;
    if (Take('{')) return Object(depth + 1, json);
    if (Take('[')) return List(depth + 1, json);
    std::string_view value;
    if (Quoted(&value)) {
      AppendQuoted(value, json);
      return true;
    }
    value = Bare(",}]");
    if (value.empty()) return false;
    if (nlohmann::json::accept(value)) {
      json->append(value);
    } else {
      AppendQuoted(value, json);  // a string without its quotes
    }
    return true;
  }

  bool Comma(std::string* json) {
    json->append(", ");
    return Take(',');
  }
  bool Quoted(std::string_view* inside) {
    SkipBlanks();
    if (!text.substr(at).starts_with(quote_)) return false;
    const size_t begin = at + quote_.size();
    const size_t end = text.find(quote_, begin);
    if (end == std::string_view::npos) return false;
    *inside = text.substr(begin, end - begin);
    at = end + quote_.size();
    return true;
  }
  // Up to one of `stops`, without the white space around it.
  std::string_view Bare(std::string_view stops) {
    const size_t begin = at;
    at = std::min(text.find_first_of(stops, at), text.size());
    size_t end = at;
    while (end > begin && IsJsonSpace(text[end - 1])) --end;
    return text.substr(begin, end - begin);
  }

  const std::string_view quote_;
};

class GemmaSyntax : public CallSyntax {
 public:
  explicit GemmaSyntax(const GemmaMarkers& markers) : markers_(markers) {}

  std::span<const std::string_view> begins() const override { return {&markers_.begin, 1}; }
  std::string_view end() const override { return markers_.end; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t at = 0;
    if (const Reading call = Expect(text, "call:", &at); call.is != Reading::Is::kDone) return call;
    if (!ReadName(text, &at, name)) return Reading::No();
    if (at == text.size()) return Reading::More();
    if (name->empty() || text[at] != '{') return Reading::No();
    const Reading end = FindEnd(text, at, last);
    if (end.is == Reading::Is::kMore) return end;
    scanned_ = 0;
    depth_ = 0;
    quoted_ = false;
    if (end.is == Reading::Is::kNo) return end;
    GemmaArguments object(text.substr(at, end.length - at), markers_.quote);
    return object.Read(arguments) ? end : Reading::No();
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, {&markers_.end, 1});
  }

 private:
  // Behind the brace that closes the first one.
  Reading FindEnd(std::string_view text, size_t begin, bool last) {
    size_t i = std::max(begin, scanned_);
    while (i < text.size()) {
      const std::string_view rest = text.substr(i);
      if (rest.starts_with(markers_.quote)) {
        quoted_ = !quoted_;
        i += markers_.quote.size();
        continue;
      }
      if (markers_.quote.starts_with(rest)) break;  // it may become one
      const char c = rest.front();
      ++i;
      if (quoted_) continue;
      if (c == '{' || c == '[') ++depth_;
      if ((c == '}' || c == ']') && --depth_ == 0) return Reading::Done(i);
    }
    scanned_ = i;
    return last ? Reading::No() : Reading::More();
  }

  const GemmaMarkers markers_;
  size_t scanned_ = 0;  // bytes of the text that have been looked at
  int depth_ = 0;       // of brackets there
  bool quoted_ = false;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeGemma4Syntax(const OutputRules& /*rules*/) {
  return std::make_unique<GemmaSyntax>(kGemma4);
}

std::unique_ptr<CallSyntax> MakeFunctionGemmaSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<GemmaSyntax>(kFunctionGemma);
}

}  // namespace folkmoot
