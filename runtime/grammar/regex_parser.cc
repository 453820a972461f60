// SPDX-License-Identifier: Apache-2.0
// A recursive descent: alternatives, sequences, quantified atoms. RegexFormParser::Parse is the
// main function.
#include "runtime/grammar/regex_parser.h"

#include <algorithm>
#include <utility>

#include "runtime/grammar/regex_class.h"

namespace folkmoot {
namespace {

constexpr int64_t kNoLimit = Grammar::kNoLimit;
constexpr int64_t kManyChars = int64_t{1} << 40;

int64_t AddChars(int64_t a, int64_t b) {
  if (a == kNoLimit || b == kNoLimit) return kNoLimit;
  return std::min(kManyChars, a + b);
}
int64_t TimesChars(int64_t chars, int64_t times) {
  if (chars == 0 || times == 0) return 0;
  if (chars == kNoLimit || times == kNoLimit) return kNoLimit;
  return chars > kManyChars / times ? kManyChars : chars * times;
}

class RegexFormParser {
 public:
  RegexFormParser(std::string_view regex, RegexText text, Grammar* grammar)
      : reader_(regex), text_(text), grammar_(*grammar) {}

  absl::StatusOr<RegexForm> Parse();

 private:
  struct Piece {
    RegexForm form;
    bool is_class = false;
    bool anchored_start = false;  // begins with ^: nothing may come before
    bool anchored_end = false;    // ends with $: nothing may come after
  };

  absl::StatusOr<Piece> ParseAlternatives(int depth);
  absl::StatusOr<Piece> ParseSequence(int depth);
  absl::StatusOr<Piece> ParseAtom(int depth);
  absl::StatusOr<Piece> ParseGroup(int depth);
  absl::StatusOr<Piece> ParseQuantifiers(Piece atom);
  // False: no quantifier here.
  absl::StatusOr<bool> ParseCounts(int64_t* min, int64_t* max);
  Piece ClassPiece(const CodePointSet& set);

  RegexReader reader_;
  RegexText text_;
  Grammar& grammar_;
};

absl::StatusOr<RegexForm> RegexFormParser::Parse() {
  FM_ASSIGN_OR_RETURN(const Piece whole, ParseAlternatives(0));
  if (!reader_.AtEnd()) return reader_.Error("this ) closes nothing");
  return whole.form;
}

absl::StatusOr<RegexFormParser::Piece> RegexFormParser::ParseAlternatives(int depth) {
  std::vector<Grammar::Expr> branches;
  Piece result;
  do {
    FM_ASSIGN_OR_RETURN(const Piece branch, ParseSequence(depth));
    if (branches.empty()) {
      result = branch;
    } else {
      result.form.repeated_class.reset();
      result.form.min_chars = std::min(result.form.min_chars, branch.form.min_chars);
      const bool limited = result.form.max_chars != kNoLimit && branch.form.max_chars != kNoLimit;
      result.form.max_chars =
          limited ? std::max(result.form.max_chars, branch.form.max_chars) : kNoLimit;
    }
    result.anchored_start = result.anchored_start || branch.anchored_start;
    result.anchored_end = result.anchored_end || branch.anchored_end;
    branches.push_back(branch.form.expr);
    FM_RETURN_IF_ERROR(grammar_.CheckSize());
  } while (reader_.Take("|"));
  result.is_class = false;
  result.form.expr = grammar_.Alt(std::move(branches));
  return result;
}

absl::StatusOr<RegexFormParser::Piece> RegexFormParser::ParseSequence(int depth) {
  std::vector<Grammar::Expr> parts;
  Piece result;
  bool something = false;  // an atom has come
  while (!reader_.AtEnd() && !reader_.Looks("|") && !reader_.Looks(")")) {
    if (result.anchored_end) {
      return reader_.Error("$ is supported only at the end of the expression");
    }
    if (reader_.Looks("^")) {
      if (something) return reader_.Error("^ is supported only at the start of the expression");
      reader_.Take("^");
      result.anchored_start = true;
      continue;
    }
    if (reader_.Take("$")) {
      result.anchored_end = true;
      continue;
    }
    FM_ASSIGN_OR_RETURN(const Piece atom, ParseAtom(depth));
    FM_ASSIGN_OR_RETURN(const Piece piece, ParseQuantifiers(atom));
    if (something && piece.anchored_start) {
      return reader_.Error("^ is supported only at the start of the expression");
    }
    result.anchored_start = result.anchored_start || piece.anchored_start;
    result.anchored_end = piece.anchored_end;
    result.form.repeated_class = something ? std::nullopt : piece.form.repeated_class;
    result.form.min_chars = AddChars(result.form.min_chars, piece.form.min_chars);
    result.form.max_chars = AddChars(result.form.max_chars, piece.form.max_chars);
    parts.push_back(piece.form.expr);
    something = true;
    FM_RETURN_IF_ERROR(grammar_.CheckSize());
  }
  result.form.expr = grammar_.Seq(std::move(parts));
  return result;
}

RegexFormParser::Piece RegexFormParser::ClassPiece(const CodePointSet& set) {
  Piece piece;
  piece.form.expr =
      text_ == RegexText::kPlain ? grammar_.Class(set) : JsonStringClass(set, &grammar_);
  piece.form.min_chars = 1;
  piece.form.max_chars = 1;
  piece.is_class = true;
  piece.form.repeated_class = piece.form.expr;
  return piece;
}

absl::StatusOr<RegexFormParser::Piece> RegexFormParser::ParseAtom(int depth) {
  if (reader_.Looks("*") || reader_.Looks("+") || reader_.Looks("?")) {
    return reader_.Error("the quantifier has nothing to repeat");
  }
  int64_t min = 0, max = 0;
  const size_t begin = reader_.position();
  FM_ASSIGN_OR_RETURN(const bool counts, ParseCounts(&min, &max));
  if (counts) {
    reader_.set_position(begin);
    return reader_.Error("the quantifier has nothing to repeat");
  }
  if (reader_.Take("(")) return ParseGroup(depth + 1);
  CodePointSet set;
  if (reader_.Take("[")) {
    FM_ASSIGN_OR_RETURN(set, reader_.TakeClass());
  } else if (reader_.Take(".")) {
    set = RegexDot();
  } else if (reader_.Take("\\")) {
    FM_ASSIGN_OR_RETURN(set, reader_.TakeEscape(/*in_negation=*/false));
  } else {
    FM_ASSIGN_OR_RETURN(const char32_t code, reader_.TakeCharacter());
    set = CodePointSet({{code, code}});
  }
  return ClassPiece(set);
}

absl::StatusOr<RegexFormParser::Piece> RegexFormParser::ParseGroup(int depth) {
  if (depth > kMaxRegexDepth) {
    return ResourceExhausted("regular expression, at byte {}: groups are nested more than {} deep",
                             reader_.position(), kMaxRegexDepth);
  }
  if (reader_.Looks("?")) {
    if (reader_.Looks("?=") || reader_.Looks("?!") || reader_.Looks("?<=") ||
        reader_.Looks("?<!")) {
      return reader_.Error("look-ahead and look-behind are not supported");
    }
    if (reader_.Looks("?P=") || reader_.Looks("?P>")) {
      return reader_.Error("back references and recursion are not supported");
    }
    if (reader_.Take("?P<") || reader_.Take("?<")) {
      while (!reader_.AtEnd() && !reader_.Looks(">")) {
        FM_RETURN_IF_ERROR(reader_.TakeCharacter().status());
      }
      if (!reader_.Take(">")) return reader_.Error("the name of the group is not closed");
    } else if (!reader_.Take("?:")) {
      return reader_.Error("this kind of group (flags, conditions, ...) is not supported");
    }
  }
  FM_ASSIGN_OR_RETURN(Piece group, ParseAlternatives(depth));
  if (!reader_.Take(")")) return reader_.Error("a group ( is not closed");
  group.form.repeated_class.reset();
  return group;
}

absl::StatusOr<bool> RegexFormParser::ParseCounts(int64_t* min, int64_t* max) {
  const size_t begin = reader_.position();
  if (!reader_.Take("{")) return false;
  const std::optional<int64_t> low = reader_.TakeNumber();
  bool is_count = low.has_value();
  *min = *max = low.value_or(0);
  if (reader_.Take(",")) {
    const std::optional<int64_t> high = reader_.TakeNumber();
    *max = high.value_or(kNoLimit);
    if (!low && high && reader_.Looks("}")) {
      return reader_.Error("{,n} means different things in different languages; write {0,n}");
    }
  }
  is_count = is_count && reader_.Take("}");
  if (!is_count) reader_.set_position(begin);  // a brace that stands for itself
  return is_count;
}

absl::StatusOr<RegexFormParser::Piece> RegexFormParser::ParseQuantifiers(Piece atom) {
  int64_t min = 1, max = 1;
  if (reader_.Take("*")) {
    min = 0, max = kNoLimit;
  } else if (reader_.Take("+")) {
    min = 1, max = kNoLimit;
  } else if (reader_.Take("?")) {
    min = 0, max = 1;
  } else {
    FM_ASSIGN_OR_RETURN(const bool counts, ParseCounts(&min, &max));
    if (!counts) return atom;
  }
  if (max != kNoLimit && max < min) return reader_.Error("the quantifier's counts go backwards");
  if (min > kMaxRegexRepeat || max > kMaxRegexRepeat) {
    return ResourceExhausted("regular expression, at byte {}: more than {} repetitions",
                             reader_.position(), kMaxRegexRepeat);
  }
  if (atom.anchored_start || atom.anchored_end) {
    return reader_.Error("a group with ^ or $ cannot be repeated");
  }
  if (reader_.Looks("+")) return reader_.Error("possessive quantifiers are not supported");
  reader_.Take("?");  // lazy
  int64_t again = 0;
  FM_ASSIGN_OR_RETURN(const bool counts, ParseCounts(&again, &again));
  if (counts || reader_.Looks("*") || reader_.Looks("+") || reader_.Looks("?")) {
    return reader_.Error("a quantifier after a quantifier");
  }
  Piece result;
  result.form.expr = grammar_.Repeat(atom.form.expr, min, max);
  result.form.min_chars = TimesChars(atom.form.min_chars, min);
  result.form.max_chars = TimesChars(atom.form.max_chars, max);
  if (atom.is_class) result.form.repeated_class = atom.form.expr;
  return result;
}

}  // namespace

absl::StatusOr<RegexForm> ParseRegex(std::string_view regex, RegexText text, Grammar* grammar) {
  if (regex.size() > kMaxRegexBytes) {
    return ResourceExhausted("the regular expression has {} bytes; the limit is {}", regex.size(),
                             kMaxRegexBytes);
  }
  return RegexFormParser(regex, text, grammar).Parse();
}

Grammar::Expr JsonStringClass(const CodePointSet& set, Grammar* grammar) {
  const CodePointSet special({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  std::vector<std::string> escapes;
  for (char32_t code = 0; code <= '\\'; ++code) {
    if (!special.Contains(code) || !set.Contains(code)) continue;
    switch (code) {
      case '"':
        escapes.emplace_back("\\\"");
        break;
      case '\\':
        escapes.emplace_back("\\\\");
        break;
      case '\b':
        escapes.emplace_back("\\b");
        break;
      case '\f':
        escapes.emplace_back("\\f");
        break;
      case '\n':
        escapes.emplace_back("\\n");
        break;
      case '\r':
        escapes.emplace_back("\\r");
        break;
      case '\t':
        escapes.emplace_back("\\t");
        break;
      default:
        escapes.push_back(fmt::format("\\u{:04x}", static_cast<uint32_t>(code)));
    }
  }
  const Grammar::Expr plain = grammar->Class(set.Minus(special));
  if (escapes.empty()) return plain;
  return grammar->Alt({plain, grammar->OneOf(std::move(escapes))});
}

}  // namespace folkmoot
