// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "runtime/check.h"
#include "runtime/tokenizer/regex_syntax.h"

namespace folkmoot {
namespace {

struct Pcre2Deleter {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};
template <typename T>
using Pcre2Ptr = std::unique_ptr<T, Pcre2Deleter>;

std::string Pcre2Message(int error) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(error, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Pattern::Compiled {
  Pcre2Ptr<pcre2_code> code;
};

Pattern::Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

absl::StatusOr<Pattern> Pattern::Literal(std::string_view text) {
  if (text.empty()) return InvalidArgument("an empty string cannot be a pattern");
  Pattern pattern;
  pattern.literal_ = text;
  return pattern;
}

absl::StatusOr<Pattern> Pattern::Regex(std::string_view regex) {
  FM_ASSIGN_OR_RETURN(const std::string translated, OnigurumaToPcre2(regex));
  Pcre2Ptr<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  FM_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Pattern pattern;
  pattern.compiled_ = std::make_unique<Compiled>();
  pattern.compiled_->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                    &offset, context.get()));
  if (!pattern.compiled_->code) {
    return InvalidArgument("regular expression \"{}\": {} (at byte {} of its PCRE2 form \"{}\")",
                           ForMessage(regex), Pcre2Message(error), offset, ForMessage(translated));
  }
  // Without JIT (an unsupported machine) pcre2_match interprets: slower, the same matches.
  pcre2_jit_compile(pattern.compiled_->code.get(), PCRE2_JIT_COMPLETE);
  return pattern;
}

absl::Status Pattern::FindAll(std::string_view text, std::vector<ByteSpan>* matches) const {
  if (compiled_) return FindAllRegex(text, matches);
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    matches->push_back({at, at + literal_.size()});
  }
  return absl::OkStatus();
}

absl::Status Pattern::FindAllRegex(std::string_view text, std::vector<ByteSpan>* matches) const {
  const pcre2_code* code = compiled_->code.get();
  Pcre2Ptr<pcre2_match_data> data(pcre2_match_data_create(1, nullptr));
  Pcre2Ptr<pcre2_match_context> context(pcre2_match_context_create(nullptr));
  FM_CHECK(data != nullptr && context != nullptr);
  // Backtracking over a run is linear in its length: allow that, but nothing exponential.
  const size_t limit = std::clamp<size_t>(64 * text.size(), 10'000'000, UINT32_MAX);
  pcre2_set_match_limit(context.get(), static_cast<uint32_t>(limit));
  const PCRE2_SPTR subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t start = 0;
  std::optional<size_t> last_end;
  while (start <= text.size()) {
    int found = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, data.get(),
                            context.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
      found = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          data.get(), context.get());
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return ResourceExhausted("a pattern of the tokenizer failed on this text at byte {}: {}",
                               start, Pcre2Message(found));
    }
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
    const ByteSpan match{offsets[0], offsets[1]};
    if (match.begin == match.end && last_end == match.end) {
      if (start >= text.size()) break;
      start += ReadUtf8(text, start).length;
      continue;
    }
    matches->push_back(match);
    start = match.end;
    last_end = match.end;
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
