// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/regex_property.h"

#include <cctype>

namespace folkmoot {
namespace {

struct LongName {
  std::string_view name;  // lower case, without '_', '-' and ' '
  std::string_view property;
};

// clang-format off
constexpr LongName kLongNames[] = {
    {"letter", "L"}, {"casedletter", "L&"}, {"uppercaseletter", "Lu"}, {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"}, {"modifierletter", "Lm"}, {"otherletter", "Lo"}, {"mark", "M"},
    {"nonspacingmark", "Mn"}, {"spacingmark", "Mc"}, {"enclosingmark", "Me"}, {"number", "N"},
    {"decimalnumber", "Nd"}, {"digit", "Nd"}, {"letternumber", "Nl"}, {"othernumber", "No"},
    {"punctuation", "P"}, {"connectorpunctuation", "Pc"}, {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"}, {"closepunctuation", "Pe"}, {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"}, {"otherpunctuation", "Po"}, {"symbol", "S"}, {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"}, {"modifiersymbol", "Sk"}, {"othersymbol", "So"}, {"separator", "Z"},
    {"spaceseparator", "Zs"}, {"lineseparator", "Zl"}, {"paragraphseparator", "Zp"},
    {"other", "C"}, {"control", "Cc"}, {"format", "Cf"}, {"surrogate", "Cs"}, {"privateuse", "Co"},
    {"unassigned", "Cn"}, {"any", "Any"}, {"ascii", "ASCII"}, {"alphabetic", "Alphabetic"},
    {"alpha", "Alphabetic"}, {"whitespace", "White_Space"}, {"space", "White_Space"},
    {"uppercase", "Uppercase"}, {"upper", "Uppercase"}, {"lowercase", "Lowercase"},
    {"lower", "Lowercase"}, {"ideographic", "Ideographic"}, {"emoji", "Emoji"},
    {"extendedpictographic", "Extended_Pictographic"}, {"emojimodifier", "Emoji_Modifier"},
    {"emojipresentation", "Emoji_Presentation"},
};
// clang-format on

std::string CanonicalName(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != ' ') {
      out.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  return out;
}

}  // namespace

std::string Pcre2Property(std::string_view name) {
  const std::string canonical = CanonicalName(name);
  for (const LongName& known : kLongNames) {
    if (known.name == canonical) return std::string(known.property);
  }
  if (canonical.size() <= 2) return std::string(name);  // the short name of a general category
  return "sc:" + std::string(name);
}

}  // namespace folkmoot
