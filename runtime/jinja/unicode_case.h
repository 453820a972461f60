// SPDX-License-Identifier: Apache-2.0
// Characters with the meaning that Python's str gives them.
#pragma once

#include <string>
#include <string_view>

#include "runtime/jinja/text.h"

namespace folkmoot::jinja {

// str.isspace(): Unicode white space and the separators U+001C .. U+001F.
bool IsPythonSpace(char32_t code);
// The first position >= `position` that is no white space.
size_t SkipSpaces(std::string_view text, size_t position);
// The smallest end >= `begin` such that text[end, `end`) is white space.
size_t TrimSpacesRight(std::string_view text, size_t begin, size_t end);
// Where the character that ends at `end` > 0 begins.
size_t CharacterStart(std::string_view text, size_t end);

bool IsLetter(char32_t code);
bool IsDecimal(char32_t code);
bool IsUpperCase(char32_t code);
bool IsLowerCase(char32_t code);
// Python's repr() writes other characters as escapes.
bool IsPrintable(char32_t code);

enum class CaseChange { kUpper, kLower, kTitle, kSwap };
// Appends the character at `position` of `text` in the new case; provenance follows.
// kLower of a Greek capital sigma at the end of a word is the final form, as in Python.
void AppendCased(const Text& text, size_t position, size_t length, CaseChange change, size_t* hint,
                 Text* out);
Text ChangeCase(const Text& text, CaseChange change);
// First character in title case, the rest in lower case.
Text Capitalize(const Text& text);

}  // namespace folkmoot::jinja
