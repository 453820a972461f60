// SPDX-License-Identifier: Apache-2.0
// NumberForm is the main function: it splits the range at zero, so that what is left are ranges of
// magnitudes, and MagnitudeForm follows the digits of both bounds from the left for as long as a
// number equals them.
#include "runtime/grammar/number_form.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace folkmoot {
namespace {

constexpr size_t kIntegerDigits = 18;
constexpr size_t kNumberDigits = 15;
constexpr size_t kMaxBoundDigits = 60;
constexpr int64_t kMaxMultiples = 4096;  // listed one by one
constexpr int64_t kMaxModulus = 1000;    // one rule for each remainder

CodePointSet Digits(char low, char high) {
  return CodePointSet({{static_cast<char32_t>(low), static_cast<char32_t>(high)}});
}

// Of two numbers that are not negative.
int CompareMagnitude(const DecimalNumber& a, const DecimalNumber& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order;
  return a.fraction.compare(b.fraction);  // a longer one is larger: no trailing zeros
}

// low <= magnitude (<= high), either bound excluded on demand.
struct MagnitudeRange {
  DecimalNumber low;
  std::optional<DecimalNumber> high;
  bool low_excluded = false, high_excluded = false;
  bool integer = false;
};

class MagnitudeForm {
 public:
  MagnitudeForm(const MagnitudeRange& range, Grammar* grammar)
      : range_(range), grammar_(*grammar), digit_(grammar->Class(Digits('0', '9'))) {}

  Grammar::Expr Build() {
    const size_t usual = range_.integer ? kIntegerDigits : kNumberDigits;
    size_t longest = std::max(usual, range_.low.whole.size());
    if (range_.high) longest = std::min(longest, range_.high->whole.size());
    std::vector<Grammar::Expr> lengths;
    for (length_ = range_.low.whole.size(); length_ <= longest; ++length_) {
      fraction_ = range_.integer || length_ >= kNumberDigits ? 0 : kNumberDigits - length_;
      const bool at_low = length_ == range_.low.whole.size();
      const bool at_high = range_.high && length_ == range_.high->whole.size();
      lengths.push_back(Rest(0, at_low, at_high));
    }
    return grammar_.Alt(std::move(lengths));
  }

 private:
  char DigitOf(const DecimalNumber& number, size_t position) const {
    if (position < length_) return number.whole[position];
    const size_t place = position - length_;
    return place < number.fraction.size() ? number.fraction[place] : '0';
  }
  // Only zeros from here on? `position` is behind the whole part.
  bool OnlyZeros(const DecimalNumber& number, size_t position) const {
    return position - length_ >= number.fraction.size();
  }
  bool MayStop(size_t position, bool at_low, bool at_high) const {
    if (position < length_) return false;
    if (at_low && (!OnlyZeros(range_.low, position) || range_.low_excluded)) return false;
    return !at_high || !OnlyZeros(*range_.high, position) || !range_.high_excluded;
  }

  // The digits from `position` on, the point counted with the first one after it. at_low, at_high:
  // the number equals that bound so far.
  Grammar::Expr Rest(size_t position, bool at_low, bool at_high) {
    if (!at_low && !at_high) return FreeRest(position);
    std::vector<Grammar::Expr> branches;
    if (MayStop(position, at_low, at_high)) branches.push_back(grammar_.Empty());
    if (position < length_ + fraction_) {
      const Grammar::Expr more = NextDigit(position, at_low, at_high);
      const bool point = position == length_;
      branches.push_back(point ? grammar_.Seq({grammar_.Literal("."), more}) : more);
    }
    return grammar_.Alt(std::move(branches));
  }

  Grammar::Expr NextDigit(size_t position, bool at_low, bool at_high) {
    const char first = position == 0 && length_ > 1 ? '1' : '0';
    const char low = at_low ? DigitOf(range_.low, position) : first;
    const char high = at_high ? DigitOf(*range_.high, position) : '9';
    std::vector<Grammar::Expr> branches;
    const auto add = [&](char from, char to, bool stays_low, bool stays_high) {
      if (from > to) return;
      branches.push_back(grammar_.Seq(
          {grammar_.Class(Digits(from, to)), Rest(position + 1, stays_low, stays_high)}));
    };
    if (at_low && at_high && low == high) {
      add(low, low, true, true);
    } else if (low <= high) {
      if (at_low) add(low, low, true, false);
      add(static_cast<char>(low + (at_low ? 1 : 0)), static_cast<char>(high - (at_high ? 1 : 0)),
          false, false);
      if (at_high) add(high, high, false, true);
    }
    return grammar_.Alt(std::move(branches));
  }

  Grammar::Expr FreeRest(size_t position) {
    const auto left = static_cast<int64_t>(length_ + fraction_ - position);
    if (position > length_) return grammar_.Repeat(digit_, 0, left);
    std::vector<Grammar::Expr> parts;
    auto whole = static_cast<int64_t>(length_ - position);
    if (position == 0 && length_ > 1) {
      parts.push_back(grammar_.Class(Digits('1', '9')));
      --whole;
    }
    parts.push_back(grammar_.Repeat(digit_, whole, whole));
    if (fraction_ > 0) {
      const auto places = static_cast<int64_t>(fraction_);
      parts.push_back(grammar_.Optional(
          grammar_.Seq({grammar_.Literal("."), grammar_.Repeat(digit_, 1, places)})));
    }
    return grammar_.Seq(std::move(parts));
  }

  const MagnitudeRange& range_;
  Grammar& grammar_;
  Grammar::Expr digit_;
  size_t length_ = 0;    // digits of the whole part
  size_t fraction_ = 0;  // most digits after the point
};

// Any number, exponents included.
Grammar::Expr AnyNumber(Grammar* grammar) {
  const Grammar::Expr digit = grammar->Class(Digits('0', '9'));
  const Grammar::Expr whole = grammar->Alt(
      {grammar->Literal("0"),
       grammar->Seq({grammar->Class(Digits('1', '9')), grammar->Repeat(digit, 0, 14)})});
  const Grammar::Expr exponent =
      grammar->Seq({grammar->OneOf({"e", "E"}), grammar->Optional(grammar->OneOf({"+", "-"})),
                    grammar->Repeat(digit, 1, 2)});
  return grammar->Seq(
      {grammar->Optional(grammar->Literal("-")), whole,
       grammar->Optional(grammar->Seq({grammar->Literal("."), grammar->Repeat(digit, 1, 15)})),
       grammar->Optional(exponent)});
}

std::optional<int64_t> ToInt64(const DecimalNumber& number) {
  if (number.whole.size() > kIntegerDigits) return std::nullopt;
  const int64_t magnitude = std::stoll(number.whole);
  return number.negative ? -magnitude : magnitude;
}

// The smallest integer within the lower bound, or with `upper` the largest within the upper one.
std::optional<int64_t> IntegerBound(const DecimalNumber& bound, bool excluded, bool upper) {
  const std::optional<int64_t> truncated = ToInt64(bound);
  if (!truncated) return std::nullopt;
  const int64_t inwards = upper ? -1 : 1;
  if (bound.is_integer()) return excluded ? *truncated + inwards : *truncated;
  // Truncation moved towards zero: for a lower bound below zero that is inwards already.
  return bound.negative == upper ? *truncated + inwards : *truncated;
}

// Digits that bring the remainder of a number modulo `modulus` to zero.
Grammar::Expr MultiplesForm(int64_t modulus, bool negative, bool positive, Grammar* grammar) {
  std::vector<int32_t> rules;
  for (int64_t i = 0; i < modulus; ++i) rules.push_back(grammar->NewRule());
  const auto digit_to = [&](int64_t remainder, int64_t digit) {
    const auto next = static_cast<size_t>((remainder * 10 + digit) % modulus);
    return grammar->Seq({grammar->Literal(std::string(1, static_cast<char>('0' + digit))),
                         grammar->Call(rules[next])});
  };
  for (int64_t remainder = 0; remainder < modulus; ++remainder) {
    std::vector<Grammar::Expr> branches;
    if (remainder == 0) branches.push_back(grammar->Empty());
    for (int64_t digit = 0; digit < 10; ++digit) branches.push_back(digit_to(remainder, digit));
    grammar->Define(rules[static_cast<size_t>(remainder)], grammar->Alt(std::move(branches)));
  }
  std::vector<Grammar::Expr> first;
  for (int64_t digit = 1; digit < 10; ++digit) first.push_back(digit_to(0, digit));
  Grammar::Expr magnitude = grammar->Alt(std::move(first));
  if (negative && positive) {
    magnitude = grammar->Seq({grammar->Optional(grammar->Literal("-")), magnitude});
  } else if (negative) {
    magnitude = grammar->Seq({grammar->Literal("-"), magnitude});
  }
  return magnitude;
}

absl::StatusOr<Grammar::Expr> MultipleOfForm(const NumberBounds& bounds, Grammar* grammar) {
  const std::optional<int64_t> modulus = ToInt64(*bounds.multiple_of);
  if (!bounds.multiple_of->is_integer() || !modulus) {
    return InvalidArgument("multipleOf is supported for integers only");
  }
  std::optional<int64_t> low, high;
  if (bounds.min) low = IntegerBound(*bounds.min, bounds.min_excluded, false);
  if (bounds.max) high = IntegerBound(*bounds.max, bounds.max_excluded, true);
  if (low && high && (*high / *modulus) - (*low / *modulus) <= kMaxMultiples) {
    std::vector<std::string> values;
    for (int64_t value = *low / *modulus * *modulus; value <= *high; value += *modulus) {
      if (value >= *low) values.push_back(std::to_string(value));
    }
    return values.empty() ? grammar->Never() : grammar->OneOf(std::move(values));
  }
  const bool low_is_sign = !bounds.min || (low && (*low == 0 || *low == 1));
  const bool high_is_sign = !bounds.max || (high && (*high == 0 || *high == -1));
  if (!low_is_sign || !high_is_sign || *modulus > kMaxModulus) {
    return InvalidArgument(
        "multipleOf is supported with at most {} multiples between minimum and maximum, or up to "
        "{} with no bound but zero",
        kMaxMultiples, kMaxModulus);
  }
  const bool zero = (!low || *low <= 0) && (!high || *high >= 0);
  const Grammar::Expr others = MultiplesForm(*modulus, !bounds.min, !bounds.max, grammar);
  return zero ? grammar->Alt({grammar->Literal("0"), others}) : others;
}

}  // namespace

absl::StatusOr<DecimalNumber> DecimalNumber::Of(const nlohmann::ordered_json& value) {
  std::string text = value.is_number_unsigned()  ? std::to_string(value.get<uint64_t>())
                     : value.is_number_integer() ? std::to_string(value.get<int64_t>())
                                                 : fmt::format("{:e}", 0.0);
  if (value.is_number_float()) text = fmt::format("{}", value.get<double>());
  DecimalNumber number;
  number.negative = text.starts_with('-');
  if (number.negative) text.erase(0, 1);
  int64_t exponent = 0;
  if (const size_t e = text.find('e'); e != std::string::npos) {
    exponent = std::stoll(text.substr(e + 1));
    text.resize(e);
  }
  const size_t point = std::min(text.find('.'), text.size());
  std::string digits = text.substr(0, point);
  if (point < text.size()) digits += text.substr(point + 1);
  const int64_t whole_digits = static_cast<int64_t>(point) + exponent;
  constexpr auto kLimit = static_cast<int64_t>(kMaxBoundDigits);
  if (whole_digits > kLimit || whole_digits < -kLimit ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return InvalidArgument("the bound {} is too large or too small", value.dump());
  }
  if (whole_digits <= 0) digits.insert(0, static_cast<size_t>(1 - whole_digits), '0');
  const auto split = static_cast<size_t>(std::max<int64_t>(whole_digits, 1));
  if (digits.size() < split) digits.append(split - digits.size(), '0');
  number.whole = digits.substr(0, split);
  number.fraction = digits.substr(split);
  number.whole.erase(0, std::min(number.whole.find_first_not_of('0'), number.whole.size() - 1));
  number.fraction.erase(number.fraction.find_last_not_of('0') + 1);
  if (number.is_zero()) number.negative = false;
  return number;
}

absl::StatusOr<Grammar::Expr> NumberForm(const NumberBounds& bounds, Grammar* grammar) {
  if (bounds.multiple_of) return MultipleOfForm(bounds, grammar);
  if (!bounds.integer && !bounds.min && !bounds.max) return AnyNumber(grammar);
  std::vector<Grammar::Expr> parts;
  const auto add = [&](MagnitudeRange range, bool negative) {
    range.integer = bounds.integer;
    if (range.high && CompareMagnitude(range.low, *range.high) > 0) return;
    const Grammar::Expr magnitude = MagnitudeForm(range, grammar).Build();
    parts.push_back(negative ? grammar->Seq({grammar->Literal("-"), magnitude}) : magnitude);
  };
  // From the bound that is nearer to zero outwards; zero itself is not negative.
  if (!bounds.max || !bounds.max->negative) {
    MagnitudeRange range{.high = bounds.max, .high_excluded = bounds.max_excluded};
    if (bounds.min && !bounds.min->negative) {
      range.low = *bounds.min;
      range.low_excluded = bounds.min_excluded;
    }
    add(std::move(range), false);
  }
  if (!bounds.min || bounds.min->negative) {
    MagnitudeRange range{
        .high = bounds.min, .low_excluded = true, .high_excluded = bounds.min_excluded};
    if (bounds.max && bounds.max->negative) {
      range.low = *bounds.max;
      range.low_excluded = bounds.max_excluded;
    }
    add(std::move(range), true);
  }
  return grammar->Alt(std::move(parts));
}

}  // namespace folkmoot
