// SPDX-License-Identifier: Apache-2.0
// OnigurumaToPcre2 is a single pass over the pattern: Translator::Run writes the PCRE2 form and
// remembers where the last atom began (for repetitions of repetitions) and which groups are open.
#include "runtime/tokenizer/regex_syntax.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

#include "runtime/tokenizer/regex_property.h"
#include "runtime/tokenizer/unicode_additions.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

// Contents of classes. Each ends with a range or a property, so that a literal '-' that follows in
// the user's class cannot become a range.
constexpr std::string_view kSpaceItems =
    R"( \x{85}\x{a0}\x{1680}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{2000}-\x{200a}\x{09}-\x{0d})";
constexpr std::string_view kWordItems = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside classes, Oniguruma reads \w below U+0100 from a table of Latin-1, which has these too.
constexpr std::string_view kLatinWordItems = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHexItems = R"(0-9A-Fa-f)";
constexpr std::string_view kAnyCharacter = "(?s:.)";

std::string PropertyItems(std::string_view property) {
  return fmt::format("\\p{{{}}}{}", property, UnicodeAdditions(property));
}

// All characters of these general categories (one letter each).
std::string AssignedItems(std::string_view categories) {
  std::string items;
  for (const char category : categories) items += PropertyItems(std::string_view(&category, 1));
  return items;
}

std::string WordItems() {
  std::string items(kWordItems);
  for (const std::string_view property : {"L", "M", "Nd", "Pc"})
    items += UnicodeAdditions(property);
  return items;
}

// The contents of a PCRE2 class, or all that is not in it.
struct CharacterSet {
  std::string items;
  bool negated;

  std::string AsClass() const { return fmt::format("[{}{}]", negated ? "^" : "", items); }
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run();

 private:
  bool AtEnd() const { return position_ == pattern_.size(); }
  char Peek() const { return pattern_[position_]; }
  bool Looks(std::string_view text) const {
    return pattern_.substr(position_, text.size()) == text;
  }
  bool Accept(std::string_view text) {
    if (!Looks(text)) return false;
    position_ += text.size();
    return true;
  }
  absl::Status Refuse(std::string_view what) const {
    return InvalidArgument("regular expression \"{}\": {} is not supported (at byte {})",
                           ForMessage(pattern_), what, position_);
  }
  void Atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }
  std::string TakeCharacter() {
    const size_t length = ReadUtf8(pattern_, position_).length;
    position_ += length;
    return std::string(pattern_.substr(position_ - length, length));
  }

  absl::Status Step();
  absl::Status OpenGroup();
  absl::Status Options();
  absl::Status CloseGroup();
  absl::Status Escape();
  bool Interval();
  void Quantifier();
  // After "\p" or "\P".
  absl::StatusOr<CharacterSet> Property(bool negated);
  // An escape that stands for one character, inside or outside classes. nullopt: another escape.
  absl::StatusOr<std::optional<std::string>> CharacterEscape();
  // After '[': a PCRE2 expression that matches one character.
  absl::StatusOr<std::string> Class();
  absl::Status ClassEscape(std::string* items, std::string* unions);
  absl::StatusOr<std::optional<CharacterSet>> SetEscape();

  struct Group {
    size_t begin;       // in out_
    int extra_closers;  // isolated options opened inside
  };

  std::string_view pattern_;
  size_t position_ = 0;
  std::string out_;
  size_t atom_ = 0;
  std::vector<Group> groups_{{0, 0}};
  int class_depth_ = 0;
};

absl::StatusOr<std::string> Translator::Run() {
  while (!AtEnd()) FM_RETURN_IF_ERROR(Step());
  if (groups_.size() != 1) return Refuse("a group without its \")\"");
  out_.append(static_cast<size_t>(groups_[0].extra_closers), ')');
  return std::move(out_);
}

absl::Status Translator::Step() {
  switch (Peek()) {
    case '\\':
      return Escape();
    case '[': {
      ++position_;
      FM_ASSIGN_OR_RETURN(const std::string one_of, Class());
      Atom(one_of);
      return absl::OkStatus();
    }
    case '(':
      return OpenGroup();
    case ')':
      return CloseGroup();
    case '*':
    case '+':
    case '?':
      Quantifier();
      return absl::OkStatus();
    case '{':
      if (Interval()) return absl::OkStatus();
      ++position_;
      Atom("\\{");
      return absl::OkStatus();
    default:
      Atom(TakeCharacter());
      return absl::OkStatus();
  }
}

// '*', '+' and '?' take the same '?' (lazy) and '+' (possessive) after them in both syntaxes.
void Translator::Quantifier() {
  out_ += pattern_[position_++];
  if (!AtEnd() && (Peek() == '?' || Peek() == '+')) out_ += pattern_[position_++];
}

bool Translator::Interval() {
  size_t at = position_ + 1;
  std::string low, high;
  const auto digits = [&](std::string* out) {
    while (at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9') {
      out->push_back(pattern_[at++]);
    }
  };
  digits(&low);
  const bool comma = at < pattern_.size() && pattern_[at] == ',';
  if (comma) {
    ++at;
    digits(&high);
  }
  if (at == pattern_.size() || pattern_[at] != '}' || (low.empty() && high.empty())) return false;
  position_ = at + 1;
  if (low.empty()) low = "0";
  out_ += comma ? "{" + low + "," + high + "}" : "{" + low + "}";
  const bool again = !AtEnd() && (Peek() == '+' || (Peek() == '?' && !comma));
  if (again) {
    out_.insert(atom_, "(?:");
    out_ += ')';
    out_ += pattern_[position_++];
  } else if (!AtEnd() && Peek() == '?') {
    out_ += pattern_[position_++];
  }
  return true;
}

absl::Status Translator::OpenGroup() {
  static constexpr std::array<std::string_view, 6> kPlain = {"(?:",  "(?=",  "(?!",
                                                             "(?<=", "(?<!", "(?>"};
  const size_t begin = out_.size();
  for (const std::string_view opener : kPlain) {
    if (Accept(opener)) {
      out_ += opener;
      groups_.push_back({begin, 0});
      return absl::OkStatus();
    }
  }
  if (Looks("(?")) return Options();
  ++position_;
  out_ += "(?:";  // nothing refers to captures
  groups_.push_back({begin, 0});
  return absl::OkStatus();
}

// "(?im-im)" and "(?im-im:".
absl::Status Translator::Options() {
  const size_t begin = out_.size();
  const size_t start = position_;
  position_ += 2;
  std::string options;
  while (!AtEnd() && (Peek() == 'i' || Peek() == 'm' || Peek() == '-')) {
    const char option = pattern_[position_++];
    options += option == 'm' ? 's' : option;
  }
  if (AtEnd() || (Peek() != ')' && Peek() != ':') || options.empty()) {
    position_ = start;
    return Refuse(fmt::format("the group \"{}\"", pattern_.substr(start, 4)));
  }
  const bool isolated = pattern_[position_++] == ')';
  out_ += "(?" + options + ":";
  if (isolated) {
    ++groups_.back().extra_closers;
  } else {
    groups_.push_back({begin, 0});
  }
  return absl::OkStatus();
}

absl::Status Translator::CloseGroup() {
  if (groups_.size() == 1) return Refuse("a \")\" without its group");
  ++position_;
  const Group group = groups_.back();
  groups_.pop_back();
  out_.append(static_cast<size_t>(group.extra_closers) + 1, ')');
  atom_ = group.begin;
  return absl::OkStatus();
}

absl::StatusOr<CharacterSet> Translator::Property(bool negated) {
  if (!Accept("{")) return Refuse("\\p without {}");
  if (Accept("^")) negated = !negated;
  const size_t end = pattern_.find('}', position_);
  if (end == std::string_view::npos) return Refuse("\\p{ without }");
  const std::string_view name = pattern_.substr(position_, end - position_);
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-' && c != ' ') {
      return Refuse(fmt::format("the property \"{}\"", name));
    }
  }
  position_ = end + 1;
  const std::string property = Pcre2Property(name);
  // Additions cannot be taken out of a class: what is assigned is listed, and negated.
  if (property == "C") return CharacterSet{AssignedItems("LMNPSZ"), !negated};
  if (property == "Cn") {
    return CharacterSet{AssignedItems("LMNPSZ") + PropertyItems("Cf") + R"(\p{Cc}\p{Cs}\p{Co})",
                        !negated};
  }
  return CharacterSet{PropertyItems(property), negated};
}

// An escape that stands for a set of characters. nullopt: another escape, nothing is read.
absl::StatusOr<std::optional<CharacterSet>> Translator::SetEscape() {
  const char c = Peek();
  if (c == 'p' || c == 'P') {
    ++position_;
    FM_ASSIGN_OR_RETURN(CharacterSet set, Property(c == 'P'));
    return std::optional<CharacterSet>(std::move(set));
  }
  const bool negated = c >= 'A' && c <= 'Z';
  std::string items;
  switch (c) {
    case 's':
    case 'S':
      items = kSpaceItems;
      break;
    case 'w':
    case 'W':
      items = WordItems();
      if (class_depth_ == 0) items.insert(0, kLatinWordItems);
      break;
    case 'h':
    case 'H':
      items = kHexItems;
      break;
    case 'd':
    case 'D':
      items = PropertyItems("Nd");
      break;
    default:
      return std::optional<CharacterSet>();
  }
  ++position_;
  return std::optional<CharacterSet>(CharacterSet{std::move(items), negated});
}

absl::StatusOr<std::optional<std::string>> Translator::CharacterEscape() {
  const std::string_view rest = pattern_.substr(position_);  // after the backslash
  const auto hex_digits = [&](size_t from, size_t count) {
    if (rest.size() < from + count) return false;
    return std::all_of(rest.begin() + static_cast<ptrdiff_t>(from),
                       rest.begin() + static_cast<ptrdiff_t>(from + count),
                       [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
  };
  const char c = rest[0];
  if (c == 'u' || c == 'x') {
    const size_t close = rest.find('}');
    if (c == 'x' && rest.size() > 1 && rest[1] == '{' && close != std::string_view::npos &&
        close > 2 && hex_digits(2, close - 2)) {
      position_ += close + 1;
      return fmt::format("\\x{}", rest.substr(1, close));
    }
    const size_t count = c == 'u' ? 4 : 2;
    if (!hex_digits(1, count)) return Refuse("this form of \\x or \\u");
    // Oniguruma takes \xHH as a byte: above 7F that is no character of its own.
    if (c == 'x' && rest[1] >= '8') return Refuse("\\x above 7F without braces");
    position_ += 1 + count;
    return fmt::format("\\x{{{}}}", rest.substr(1, count));
  }
  if (c == 'v') {
    ++position_;
    return std::string("\\x{0b}");
  }
  if (std::string_view("nrtfae").find(c) != std::string_view::npos) {
    ++position_;
    return fmt::format("\\{}", c);
  }
  if (std::isalnum(static_cast<unsigned char>(c)) != 0) return std::optional<std::string>();
  if (static_cast<unsigned char>(c) >= 0x80) return TakeCharacter();
  ++position_;
  return fmt::format("\\{}", c);
}

absl::Status Translator::Escape() {
  ++position_;
  if (AtEnd()) return Refuse("a trailing backslash");
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> character, CharacterEscape());
  if (character) {
    Atom(*character);
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const std::optional<CharacterSet> set, SetEscape());
  if (set) {
    Atom(set->AsClass());
    return absl::OkStatus();
  }
  const std::string word = fmt::format("[{}{}]", kLatinWordItems, WordItems());
  switch (const char c = pattern_[position_++]) {
    case 'b':
      Atom(fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word));
      return absl::OkStatus();
    case 'B':
      Atom(fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word));
      return absl::OkStatus();
    case 'A':
    case 'z':
    case 'Z':
    case 'R':
      Atom(fmt::format("\\{}", c));
      return absl::OkStatus();
    default:
      return Refuse(fmt::format("\"\\{}\"", c));
  }
}

// Adds to the items of a class, or to the classes that are united with it.
absl::Status Translator::ClassEscape(std::string* items, std::string* unions) {
  if (AtEnd()) return Refuse("a trailing backslash");
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> character, CharacterEscape());
  if (character) {
    *items += *character;
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const std::optional<CharacterSet> set, SetEscape());
  if (set) {
    if (set->items == kSpaceItems && set->negated) {
      *items += "\\P{White_Space}";  // the common [^\S\r\n] stays one class
    } else if (set->negated) {
      *unions += "|" + set->AsClass();
    } else {
      *items += set->items;
    }
    return absl::OkStatus();
  }
  if (Accept("b")) {
    *items += "\\x{08}";
    return absl::OkStatus();
  }
  return Refuse(fmt::format("\"\\{}\" inside a class", Peek()));
}

absl::StatusOr<std::string> Translator::Class() {
  constexpr int kMaxDepth = 16;
  if (++class_depth_ > kMaxDepth) return Refuse("such deep nesting of classes");
  const bool negated = Accept("^");
  std::vector<std::string> operands;  // of &&
  std::string items;                  // of the operand being read
  std::string unions;                 // "|[nested]" of the operand being read
  const auto operand = [&] {
    if (unions.empty()) return fmt::format("[{}]", items);
    return items.empty() ? fmt::format("(?:{})", unions.substr(1))
                         : fmt::format("(?:[{}]{})", items, unions);
  };
  for (bool first = true;; first = false) {
    if (AtEnd()) return Refuse("a class without its \"]\"");
    if (Looks("]") && !first) break;
    if (Looks("[:")) return Refuse("a POSIX bracket \"[:...:]\"");
    if (Accept("&&")) {
      if (items.empty() && unions.empty()) return Refuse("an empty operand of &&");
      operands.push_back(operand());
      items.clear();
      unions.clear();
    } else if (Accept("[")) {
      FM_ASSIGN_OR_RETURN(const std::string nested, Class());
      unions += "|" + nested;
    } else if (Accept("\\")) {
      FM_RETURN_IF_ERROR(ClassEscape(&items, &unions));
    } else if (Accept("]")) {
      items += "\\]";
    } else {
      items += TakeCharacter();
    }
  }
  ++position_;
  --class_depth_;
  if (operands.empty() && unions.empty()) return fmt::format("[{}{}]", negated ? "^" : "", items);
  if (items.empty() && unions.empty()) return Refuse("an empty operand of &&");
  std::string all;
  for (const std::string& left : operands) all += fmt::format("(?={})", left);
  all = fmt::format("(?:{}{})", all, operand());
  return negated ? fmt::format("(?:(?!{}){})", all, kAnyCharacter) : all;
}

}  // namespace

absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern) {
  return Translator(pattern).Run();
}

std::string ForMessage(std::string_view pattern) {
  constexpr size_t kShown = 400;
  if (pattern.size() <= kShown) return std::string(pattern);
  size_t end = kShown;
  while (end > 0 && (static_cast<uint8_t>(pattern[end]) & 0xc0) == 0x80) --end;
  return std::string(pattern.substr(0, end)) + "...";
}

}  // namespace folkmoot
