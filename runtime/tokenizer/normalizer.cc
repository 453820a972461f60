// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/normalizer.h"

#include <absl/strings/escaping.h>
#include <utf8proc.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "runtime/tokenizer/charsmap.h"
#include "runtime/tokenizer/pattern_json.h"
#include "runtime/tokenizer/unnormalized.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(int options) : options_(options) {}

  // Characters that stay as they are part the text: nothing is composed or ordered across them.
  absl::Status Apply(std::string* text, bool* /*keeps_start*/) const override {
    std::string out;
    size_t begin = 0;
    for (size_t at = 0; at < text->size();) {
      const Utf8Char c = ReadUtf8(*text, at);
      if (IsUnnormalized(c.code)) {
        FM_RETURN_IF_ERROR(Append(std::string_view(*text).substr(begin, at - begin), &out));
        out.append(*text, at, c.length);
        begin = at + c.length;
      }
      at += c.length;
    }
    FM_RETURN_IF_ERROR(Append(std::string_view(*text).substr(begin), &out));
    *text = std::move(out);
    return absl::OkStatus();
  }

 private:
  absl::Status Append(std::string_view part, std::string* out) const {
    if (part.empty()) return absl::OkStatus();
    utf8proc_uint8_t* normalized = nullptr;
    const utf8proc_ssize_t length =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(part.data()),
                     static_cast<utf8proc_ssize_t>(part.size()), &normalized,
                     static_cast<utf8proc_option_t>(options_ | UTF8PROC_STABLE));
    if (length < 0) {
      return ResourceExhausted("Unicode normalization failed: {}", utf8proc_errmsg(length));
    }
    out->append(reinterpret_cast<const char*>(normalized), static_cast<size_t>(length));
    std::free(normalized);
    return absl::OkStatus();
  }

  int options_;
};

class Lowercase final : public Normalizer {
 public:
  absl::Status Apply(std::string* text, bool* /*keeps_start*/) const override {
    std::string lower;
    lower.reserve(text->size());
    for (size_t at = 0; at < text->size();) {
      const Utf8Char c = ReadUtf8(*text, at);
      at += c.length;
      if (c.code == 0x130) {  // the one letter whose lower case is two characters
        lower += "i\xCC\x87";
      } else {
        AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code))),
                   &lower);
      }
    }
    *text = std::move(lower);
    return absl::OkStatus();
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  absl::Status Apply(std::string* text, bool* keeps_start) const override {
    size_t begin = 0;
    size_t end = 0;  // after the last character that is not white space
    bool leading = true;
    for (size_t at = 0; at < text->size();) {
      const Utf8Char c = ReadUtf8(*text, at);
      at += c.length;
      if (!IsWhiteSpace(c.code)) {
        leading = false;
        end = at;
      } else if (leading) {
        begin = at;
      }
    }
    if (right_) text->resize(leading ? 0 : end);
    if (left_ && begin > 0) {
      text->erase(0, begin);
      *keeps_start = false;
    }
    return absl::OkStatus();
  }

 private:
  bool left_;
  bool right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  absl::Status Apply(std::string* text, bool* /*keeps_start*/) const override {
    if (!text->empty()) text->insert(0, prefix_);
    return absl::OkStatus();
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::Status Apply(std::string* text, bool* keeps_start) const override {
    if (text->empty()) return absl::OkStatus();
    std::vector<ByteSpan> matches;
    FM_RETURN_IF_ERROR(pattern_.FindAll(*text, &matches));
    if (matches.empty()) return absl::OkStatus();
    if (content_.empty() && matches[0].begin == 0 && matches[0].end > 0) *keeps_start = false;
    std::string replaced;
    size_t end = 0;
    for (const ByteSpan match : matches) {
      replaced.append(*text, end, match.begin - end);
      replaced += content_;
      end = match.end;
    }
    replaced.append(*text, end);
    *text = std::move(replaced);
    return absl::OkStatus();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// The rules that a SentencePiece model brings along. What it drops at the beginning does not count
// as dropped: the tokenizers package loses it from its books.
class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(Charsmap charsmap) : charsmap_(std::move(charsmap)) {}

  absl::Status Apply(std::string* text, bool* /*keeps_start*/) const override {
    *text = charsmap_.Apply(*text);
    return absl::OkStatus();
  }

 private:
  Charsmap charsmap_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}

  absl::Status Apply(std::string* text, bool* keeps_start) const override {
    for (const auto& part : parts_) FM_RETURN_IF_ERROR(part->Apply(text, keeps_start));
    return absl::OkStatus();
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

using NormalizerOr = absl::StatusOr<std::unique_ptr<Normalizer>>;

NormalizerOr ParseSequence(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"normalizers"}));
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> children, node.Array("normalizers"));
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const JsonNode& child : children) {
    FM_ASSIGN_OR_RETURN(parts.emplace_back(), ParseNormalizer(child));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

NormalizerOr ParseStrip(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"strip_left", "strip_right"}));
  FM_ASSIGN_OR_RETURN(const bool left, node.Bool("strip_left"));
  FM_ASSIGN_OR_RETURN(const bool right, node.Bool("strip_right"));
  return std::make_unique<Strip>(left, right);
}

NormalizerOr ParseReplace(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"pattern", "content"}));
  FM_ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(node));
  FM_ASSIGN_OR_RETURN(std::string content, node.String("content"));
  return std::make_unique<Replace>(std::move(pattern), std::move(content));
}

NormalizerOr ParsePrecompiled(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"precompiled_charsmap"}));
  FM_ASSIGN_OR_RETURN(const std::string text, node.String("precompiled_charsmap"));
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) {
    return node.Error("\"precompiled_charsmap\" is not Base64");
  }
  absl::StatusOr<Charsmap> charsmap = Charsmap::Parse(bytes);
  if (!charsmap.ok()) return node.Locate(charsmap.status());
  return std::make_unique<Precompiled>(*std::move(charsmap));
}

}  // namespace

NormalizerOr ParseNormalizer(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") return ParseSequence(node);
  if (type == "Strip") return ParseStrip(node);
  if (type == "Replace") return ParseReplace(node);
  if (type == "Precompiled") return ParsePrecompiled(node);
  if (type == "Prepend") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"prepend"}));
    FM_ASSIGN_OR_RETURN(std::string prefix, node.String("prepend"));
    return std::make_unique<Prepend>(std::move(prefix));
  }
  static constexpr std::pair<std::string_view, int> kForms[] = {
      {"NFC", UTF8PROC_COMPOSE},
      {"NFD", UTF8PROC_DECOMPOSE},
      {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
      {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  for (const auto& [name, options] : kForms) {
    if (type != name) continue;
    FM_RETURN_IF_ERROR(node.AllowOnly({}));
    return std::make_unique<UnicodeForm>(options);
  }
  if (type == "Lowercase") {
    FM_RETURN_IF_ERROR(node.AllowOnly({}));
    return std::make_unique<Lowercase>();
  }
  return node.Error(
      "normalizer \"{}\" is not supported (NFC, NFD, NFKC, NFKD, Lowercase, Strip, "
      "Prepend, Replace, Precompiled and Sequence are)",
      type);
}

}  // namespace folkmoot
