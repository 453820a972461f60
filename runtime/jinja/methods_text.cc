// SPDX-License-Identifier: Apache-2.0
// The methods of str. Each keeps the provenance of the characters that it keeps.
#include <algorithm>
#include <array>

#include "runtime/jinja/methods.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/jinja/value_text.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

using Method = absl::StatusOr<Value> (*)(const Value& self, std::string_view name,
                                         const Arguments& arguments, Budget* budget);

Value Like(const Value& self, Text text) {
  return Value::String(std::move(text), self.is_markup());
}

absl::StatusOr<Value> Strip(const Value& self, std::string_view name, const Arguments& arguments,
                            Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::Bind(name, arguments, {"chars"}));
  FM_RETURN_IF_ERROR(budget->TextBytes(self.view().size()));
  const Side side = name == "strip" ? Side::kBoth : name == "lstrip" ? Side::kLeft : Side::kRight;
  FM_ASSIGN_OR_RETURN(const Text characters, bound.String(0, Text()));
  const bool given = bound.Has(0) && !bound.Get(0)->Is(Kind::kNone);
  if (given && characters.empty()) return self;  // strip("") strips nothing
  return Like(self, StripText(self.text(), characters.view(), side));
}

absl::StatusOr<Value> Cased(const Value& self, std::string_view name, const Arguments& arguments,
                            Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind(name, arguments, {}));
  FM_RETURN_IF_ERROR(budget->TextBytes(2 * self.view().size()));
  const Text& text = self.text();
  if (name == "capitalize") return Like(self, Capitalize(text));
  if (name == "upper") return Like(self, ChangeCase(text, CaseChange::kUpper));
  if (name == "lower") return Like(self, ChangeCase(text, CaseChange::kLower));
  if (name == "swapcase") return Like(self, ChangeCase(text, CaseChange::kSwap));
  if (name == "casefold") return Like(self, ChangeCase(text, CaseChange::kLower));
  Text out;  // title: each run of letters anew
  size_t hint = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text.view(), at);
    AppendCased(text, at, c.length, in_word ? CaseChange::kLower : CaseChange::kTitle, &hint, &out);
    in_word = IsLetter(c.code);
    at += c.length;
  }
  return Like(self, std::move(out));
}

// The pieces of split() and rsplit() without a separator.
std::vector<Text> SplitOnSpace(const Text& text, int64_t most) {
  std::vector<Text> parts;
  size_t at = SkipSpaces(text.view(), 0);
  while (at < text.size()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(text.Part(at, TrimSpacesRight(text.view(), at, text.size())));
      return parts;
    }
    size_t end = at;
    while (end < text.size()) {
      const Utf8Char c = ReadUtf8(text.view(), end);
      if (IsPythonSpace(c.code)) break;
      end += c.length;
    }
    parts.push_back(text.Part(at, end));
    at = SkipSpaces(text.view(), end);
  }
  return parts;
}

std::vector<Text> SplitOn(const Text& text, std::string_view separator, int64_t most) {
  std::vector<Text> parts;
  size_t at = 0;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t found = text.view().find(separator, at);
    if (found == std::string_view::npos) break;
    parts.push_back(text.Part(at, found));
    at = found + separator.size();
  }
  parts.push_back(text.Part(at, text.size()));
  return parts;
}

std::vector<Text> SplitOnFromRight(const Text& text, std::string_view separator, int64_t most) {
  std::vector<Text> parts;
  size_t end = text.size();
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    if (end < separator.size()) break;
    const size_t found = text.view().rfind(separator, end - separator.size());
    if (found == std::string_view::npos) break;
    parts.push_back(text.Part(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.Part(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

absl::StatusOr<Value> ListOfTexts(const Value& self, std::vector<Text> texts, SequenceType type,
                                  Budget* budget) {
  FM_RETURN_IF_ERROR(budget->Steps(texts.size()));
  std::vector<Value> items;
  items.reserve(texts.size());
  for (Text& text : texts) items.push_back(Like(self, std::move(text)));
  return Value::Sequence(type, std::move(items));
}

absl::StatusOr<Value> Split(const Value& self, std::string_view name, const Arguments& arguments,
                            Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"sep", "maxsplit"}));
  FM_RETURN_IF_ERROR(budget->TextBytes(self.view().size()));
  FM_ASSIGN_OR_RETURN(const Text separator, bound.String(0, Text()));
  FM_ASSIGN_OR_RETURN(const int64_t most, bound.Int(1, -1));
  std::vector<Text> parts;
  if (!bound.Has(0) || bound.Get(0)->Is(Kind::kNone)) {
    if (name == "rsplit" && most >= 0) {
      return InvalidArgument("rsplit() with maxsplit wants a separator here");
    }
    parts = SplitOnSpace(self.text(), most);
  } else if (separator.empty()) {
    return InvalidArgument("empty separator");
  } else {
    parts = name == "split" ? SplitOn(self.text(), separator.view(), most)
                            : SplitOnFromRight(self.text(), separator.view(), most);
  }
  return ListOfTexts(self, std::move(parts), SequenceType::kList, budget);
}

absl::StatusOr<Value> Lines(const Value& self, std::string_view name, const Arguments& arguments,
                            Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind(name, arguments, {}));
  FM_RETURN_IF_ERROR(budget->TextBytes(self.view().size()));
  return ListOfTexts(self, SplitLines(self.text()), SequenceType::kList, budget);
}

absl::StatusOr<Value> Partition(const Value& self, std::string_view name,
                                const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"sep"}, 1));
  FM_ASSIGN_OR_RETURN(const Text separator, bound.String(0, Text()));
  if (separator.empty()) return InvalidArgument("empty separator");
  const Text& text = self.text();
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  const bool right = name == "rpartition";
  const size_t found =
      right ? text.view().rfind(separator.view()) : text.view().find(separator.view());
  std::vector<Text> parts(3);
  if (found == std::string_view::npos) {
    parts[right ? 2 : 0] = text;
  } else {
    const size_t after = found + separator.size();
    parts = {text.Part(0, found), text.Part(found, after), text.Part(after, text.size())};
  }
  return ListOfTexts(self, std::move(parts), SequenceType::kTuple, budget);
}

// startswith and endswith; the argument may be a tuple.
absl::StatusOr<Value> Affix(const Value& self, std::string_view name, const Arguments& arguments,
                            Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"affix"}, 1));
  const Value& affix = *bound.Get(0);
  std::vector<Value> choices = {affix};
  if (affix.IsSequence(SequenceType::kTuple)) choices = affix.sequence().items;
  for (const Value& choice : choices) {
    if (!choice.Is(Kind::kString)) {
      return InvalidArgument("{}() wants a string or a tuple of strings, not {}", name,
                             TypeName(choice));
    }
    const bool matches = name == "startswith" ? self.view().starts_with(choice.view())
                                              : self.view().ends_with(choice.view());
    if (matches) return Value::Bool(true);
  }
  return Value::Bool(false);
}

absl::StatusOr<Value> RemoveAffix(const Value& self, std::string_view name,
                                  const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"affix"}, 1));
  FM_ASSIGN_OR_RETURN(const Text affix, bound.String(0, Text()));
  const Text& text = self.text();
  if (name == "removeprefix" && text.view().starts_with(affix.view())) {
    return Like(self, text.Part(affix.size(), text.size()));
  }
  if (name == "removesuffix" && text.view().ends_with(affix.view())) {
    return Like(self, text.Part(0, text.size() - affix.size()));
  }
  return self;
}

absl::StatusOr<Value> Replace(const Value& self, std::string_view name, const Arguments& arguments,
                              Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"old", "new", "count"}, 2));
  FM_ASSIGN_OR_RETURN(const Text from, bound.String(0, Text()));
  FM_ASSIGN_OR_RETURN(const Text to, bound.String(1, Text()));
  if (bound.Get(0)->Is(Kind::kNone) || bound.Get(1)->Is(Kind::kNone)) {
    return InvalidArgument("replace() wants strings, not None");
  }
  FM_ASSIGN_OR_RETURN(const int64_t count, bound.Int(2, -1));
  FM_ASSIGN_OR_RETURN(Text text, ReplaceText(self.text(), from.view(), to, count, budget));
  return Like(self, std::move(text));
}

absl::StatusOr<Value> Join(const Value& self, std::string_view name, const Arguments& arguments,
                           Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"iterable"}, 1));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(*bound.Get(0), budget));
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].Is(Kind::kString)) {
      return InvalidArgument("join() wants strings, not {}", TypeName(items[i]));
    }
    FM_RETURN_IF_ERROR(budget->TextBytes(self.view().size() + items[i].view().size()));
    if (i > 0) out.Append(self.text());
    out.Append(self.is_markup() ? EscapeHtml(items[i]) : items[i].text());
  }
  FM_RETURN_IF_ERROR(budget->TextBytes(out.size()));
  return Like(self, std::move(out));
}

// find, rfind, index, rindex, count: positions in characters.
absl::StatusOr<Value> Find(const Value& self, std::string_view name, const Arguments& arguments,
                           Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"sub"}, 1));
  if (!bound.Get(0)->Is(Kind::kString)) return InvalidArgument("{}() wants a string", name);
  const std::string_view text = self.view();
  const std::string_view part = bound.Get(0)->view();
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  if (name == "count") {
    if (part.empty()) {
      FM_ASSIGN_OR_RETURN(const size_t length, Length(self));
      return Value::Int(static_cast<int64_t>(length) + 1);
    }
    int64_t count = 0;
    for (size_t at = text.find(part); at != std::string_view::npos;
         at = text.find(part, at + part.size())) {
      ++count;
    }
    return Value::Int(count);
  }
  const size_t found = name[0] == 'r' ? text.rfind(part) : text.find(part);
  if (found == std::string_view::npos) {
    if (name.ends_with("index")) return InvalidArgument("substring not found");
    return Value::Int(-1);
  }
  FM_ASSIGN_OR_RETURN(const size_t before, Length(Value::String(self.text().Part(0, found))));
  return Value::Int(static_cast<int64_t>(before));
}

absl::StatusOr<Value> Pad(const Value& self, std::string_view name, const Arguments& arguments,
                          Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"width", "fillchar"}, 1));
  FM_ASSIGN_OR_RETURN(const int64_t width, bound.Int(0, 0));
  const Text blank = Text::Trusted(name == "zfill" ? "0" : " ");
  FM_ASSIGN_OR_RETURN(const Text fill, bound.String(1, blank));
  FM_ASSIGN_OR_RETURN(const size_t length, Length(self));
  const int64_t missing = width - static_cast<int64_t>(length);
  if (missing <= 0) return self;
  FM_RETURN_IF_ERROR(
      budget->TextBytes(static_cast<size_t>(missing) * fill.size() + self.view().size()));
  // Python puts the odd blank of center() on the left when width is odd.
  const int64_t left = name == "ljust"    ? 0
                       : name == "center" ? missing / 2 + (missing & width & 1)
                                          : missing;
  Text out;
  size_t begin = 0;
  const bool sign =
      name == "zfill" && !self.text().empty() && (self.view()[0] == '-' || self.view()[0] == '+');
  if (sign) out.AppendPart(self.text(), 0, begin = 1);
  for (int64_t i = 0; i < left; ++i) out.Append(fill);
  out.AppendPart(self.text(), begin, self.view().size());
  for (int64_t i = left; i < missing; ++i) out.Append(fill);
  return Like(self, std::move(out));
}

// isdigit, isalpha, ...: every character has the property, and there is at least one; for isupper
// and islower, every letter with a case.
absl::StatusOr<Value> Is(const Value& self, std::string_view name, const Arguments& arguments,
                         Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind(name, arguments, {}));
  const std::string_view text = self.view();
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text, at);
    at += c.length;
    if (name == "isupper" || name == "islower") {
      const bool upper = IsUpperCase(c.code);
      const bool lower = IsLowerCase(c.code);
      if (name == "isupper" ? lower : upper) return Value::Bool(false);
      any = any || upper || lower;
      continue;
    }
    const bool right = name == "isspace"   ? IsPythonSpace(c.code)
                       : name == "isalpha" ? IsLetter(c.code)
                       : name == "isalnum" ? IsLetter(c.code) || IsDecimal(c.code)
                       : name == "isascii" ? c.code < 0x80
                                           : IsDecimal(c.code);
    if (!right) return Value::Bool(false);
    any = true;
  }
  return Value::Bool(any || name == "isascii");
}

absl::StatusOr<Value> Format(const Value& self, std::string_view /*name*/,
                             const Arguments& arguments, Budget* budget) {
  return BraceFormat(self, arguments, budget);
}

struct MethodEntry {
  std::string_view name;
  Method method;
};
constexpr std::array<MethodEntry, 39> kMethods = {{
    {"split", Split},
    {"strip", Strip},
    {"lstrip", Strip},
    {"rstrip", Strip},
    {"startswith", Affix},
    {"endswith", Affix},
    {"replace", Replace},
    {"format", Format},
    {"upper", Cased},
    {"lower", Cased},
    {"capitalize", Cased},
    {"title", Cased},
    {"swapcase", Cased},
    {"casefold", Cased},
    {"rsplit", Split},
    {"splitlines", Lines},
    {"join", Join},
    {"find", Find},
    {"rfind", Find},
    {"index", Find},
    {"rindex", Find},
    {"count", Find},
    {"partition", Partition},
    {"rpartition", Partition},
    {"removeprefix", RemoveAffix},
    {"removesuffix", RemoveAffix},
    {"zfill", Pad},
    {"ljust", Pad},
    {"rjust", Pad},
    {"center", Pad},
    {"isdigit", Is},
    {"isdecimal", Is},
    {"isnumeric", Is},
    {"isalpha", Is},
    {"isalnum", Is},
    {"isspace", Is},
    {"isupper", Is},
    {"islower", Is},
    {"isascii", Is},
}};

const MethodEntry* FindTextMethod(std::string_view name) {
  const auto found = std::find_if(kMethods.begin(), kMethods.end(),
                                  [name](const MethodEntry& entry) { return entry.name == name; });
  return found == kMethods.end() ? nullptr : &*found;
}

}  // namespace

bool HasTextMethod(std::string_view name) { return FindTextMethod(name) != nullptr; }

absl::StatusOr<Value> CallTextMethod(const Value& object, std::string_view name,
                                     const Arguments& arguments, Budget* budget) {
  return FindTextMethod(name)->method(object, name, arguments, budget);
}

}  // namespace folkmoot::jinja
