// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/described/python_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {
namespace {

// Backtracking over a run is linear in its length: allow that, but nothing exponential.
uint32_t MatchLimit(size_t bytes) {
  return static_cast<uint32_t>(std::clamp<size_t>(64 * bytes, 1'000'000, UINT32_MAX));
}

struct CodeDeleter {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

// Python's \Z is PCRE2's \z.
std::string ToPcre2(std::string_view pattern) {
  std::string out;
  for (size_t at = 0; at < pattern.size(); ++at) {
    out += pattern[at];
    if (pattern[at] != '\\' || at + 1 == pattern.size()) continue;
    ++at;
    out += pattern[at] == 'Z' ? 'z' : pattern[at];
  }
  return out;
}

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}#- \n\t\r").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

struct PythonRegex::Code {
  std::unique_ptr<pcre2_code, CodeDeleter> compiled;
};

PythonRegex::PythonRegex() = default;
PythonRegex::PythonRegex(PythonRegex&&) noexcept = default;
PythonRegex& PythonRegex::operator=(PythonRegex&&) noexcept = default;
PythonRegex::~PythonRegex() = default;

absl::StatusOr<PythonRegex> PythonRegex::Compile(std::string_view pattern) {
  const std::string translated = ToPcre2(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  PythonRegex regex;
  regex.code_ = std::make_unique<Code>();
  regex.code_->compiled.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (regex.code_->compiled == nullptr) {
    PCRE2_UCHAR buffer[256];
    pcre2_get_error_message(error, buffer, sizeof(buffer));
    return InvalidArgument("regular expression \"{}\": {} (at byte {})", pattern,
                           reinterpret_cast<const char*>(buffer), offset);
  }
  uint32_t count = 0, size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(regex.code_->compiled.get(), PCRE2_INFO_NAMECOUNT, &count);
  pcre2_pattern_info(regex.code_->compiled.get(), PCRE2_INFO_NAMEENTRYSIZE, &size);
  pcre2_pattern_info(regex.code_->compiled.get(), PCRE2_INFO_NAMETABLE, &table);
  for (uint32_t i = 0; i < count; ++i, table += size) {  // two bytes of number, name, NUL
    regex.names_.emplace_back(reinterpret_cast<const char*>(table + 2),
                              size_t{table[0]} << 8 | table[1]);
  }
  return regex;
}

absl::StatusOr<PythonRegex> PythonRegex::AnyOf(std::vector<std::string> texts) {
  std::stable_sort(texts.begin(), texts.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::string pattern;
  for (const std::string& text : texts) {
    if (!pattern.empty()) pattern += '|';
    pattern += Escape(text);
  }
  return Compile(pattern);
}

bool PythonRegex::has_group(std::string_view name) const {
  return std::any_of(names_.begin(), names_.end(),
                     [&](const auto& group) { return group.first == name; });
}

PythonRegex::Found PythonRegex::Search(std::string_view text, size_t from, bool last,
                                       Match* match) const {
  const std::unique_ptr<pcre2_match_data, CodeDeleter> data(
      pcre2_match_data_create_from_pattern(code_->compiled.get(), nullptr));
  const std::unique_ptr<pcre2_match_context, CodeDeleter> context(
      pcre2_match_context_create(nullptr));
  FM_CHECK(data != nullptr && context != nullptr);
  pcre2_set_match_limit(context.get(), MatchLimit(text.size()));
  // A hard partial match is one that looked at the end of the text: all others are final.
  const uint32_t options = PCRE2_NO_UTF_CHECK | (last ? 0 : PCRE2_PARTIAL_HARD);
  const int found = pcre2_match(code_->compiled.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                text.size(), from, options, data.get(), context.get());
  if (found < 0 && found != PCRE2_ERROR_PARTIAL) return Found::kNo;
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
  match->begin = offsets[0];
  match->end = offsets[1];
  match->groups.clear();
  if (found == PCRE2_ERROR_PARTIAL) return Found::kMaybe;
  for (const auto& [name, number] : names_) {
    const size_t begin = offsets[2 * number];
    if (begin == PCRE2_UNSET) continue;
    match->groups.emplace_back(name, text.substr(begin, offsets[2 * number + 1] - begin));
  }
  return Found::kYes;
}

}  // namespace folkmoot
