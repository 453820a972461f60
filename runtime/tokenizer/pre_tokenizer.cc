// SPDX-License-Identifier: Apache-2.0
// Every pre-tokenizer that only cuts is a SplitPreTokenizer with a pattern and a behavior;
// ByteLevel and Metaspace also rewrite the text.
#include "runtime/tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "runtime/check.h"
#include "runtime/tokenizer/pattern_json.h"

namespace folkmoot {
namespace {

// What becomes of the matches of a split pattern.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Part {
  ByteSpan span;
  bool is_match;
};

// Removed pieces are left out; the parts cover the text without gaps.
void AppendParts(const std::vector<Part>& parts, Behavior behavior, std::vector<ByteSpan>* out) {
  const size_t first = out->size();
  bool previous = false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [span, is_match] = parts[i];
    bool extend = false;  // the previous piece takes this part too
    switch (behavior) {
      case Behavior::kIsolated:
        break;
      case Behavior::kRemoved:
        if (is_match) continue;
        break;
      case Behavior::kContiguous:
        extend = is_match == previous;
        break;
      case Behavior::kMergedWithPrevious:
        extend = is_match && !previous;
        break;
      case Behavior::kMergedWithNext:
        // Read from the right, a match joins the text after it unless that is a match as well.
        extend = i > 0 && parts[i - 1].is_match && !is_match;
        break;
    }
    if (extend && out->size() > first) {
      out->back().end = span.end;
    } else {
      out->push_back(span);
    }
    previous = is_match;
  }
}

// Replaces each span by what `cut` appends for it, without empty ones.
template <typename Cut>
absl::Status CutPieces(Pieces* pieces, const Cut& cut) {
  std::vector<ByteSpan> result;
  result.reserve(pieces->spans.size());
  const size_t first_begin = pieces->spans.empty() ? 0 : pieces->spans[0].begin;
  for (const ByteSpan span : pieces->spans) FM_RETURN_IF_ERROR(cut(span, &result));
  std::erase_if(result, [](ByteSpan span) { return span.begin == span.end; });
  pieces->at_start = pieces->at_start && !result.empty() && result[0].begin == first_begin;
  pieces->spans = std::move(result);
  return absl::OkStatus();
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Apply(Pieces* pieces) const override {
    std::vector<ByteSpan> matches;
    std::vector<Part> parts;
    return CutPieces(pieces, [&](ByteSpan span, std::vector<ByteSpan>* out) -> absl::Status {
      matches.clear();
      parts.clear();
      FM_RETURN_IF_ERROR(pattern_.FindAll(pieces->View(span), &matches));
      size_t end = span.begin;
      // The text between matches stays: only matches can be removed (or, inverted, the gaps).
      for (const ByteSpan match : matches) {
        const ByteSpan shifted{span.begin + match.begin, span.begin + match.end};
        if (end != shifted.begin) parts.push_back({{end, shifted.begin}, invert_});
        parts.push_back({shifted, !invert_});
        end = shifted.end;
      }
      if (end != span.end) parts.push_back({{end, span.end}, invert_});
      AppendParts(parts, behavior_, out);
      return absl::OkStatus();
    });
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::unique_ptr<PreTokenizer> split)
      : add_prefix_space_(add_prefix_space), split_(std::move(split)) {}

  absl::Status Apply(Pieces* pieces) const override {
    if (add_prefix_space_) AddPrefixSpaces(pieces);
    if (split_) FM_RETURN_IF_ERROR(split_->Apply(pieces));
    std::string mapped;
    mapped.reserve(pieces->text.size() + pieces->text.size() / 4);
    for (ByteSpan& span : pieces->spans) {
      const size_t begin = mapped.size();
      for (const char byte : pieces->View(span)) {
        alphabet_.Append(static_cast<uint8_t>(byte), &mapped);
      }
      span = {begin, mapped.size()};
    }
    pieces->text = std::move(mapped);
    return absl::OkStatus();
  }

 private:
  static void AddPrefixSpaces(Pieces* pieces) {
    std::string text;
    text.reserve(pieces->text.size() + pieces->spans.size());
    for (ByteSpan& span : pieces->spans) {
      const size_t begin = text.size();
      const std::string_view view = pieces->View(span);
      if (view.front() != ' ') text += ' ';
      text += view;
      span = {begin, text.size()};
    }
    pieces->text = std::move(text);
  }

  bool add_prefix_space_;
  std::unique_ptr<PreTokenizer> split_;  // null: use_regex is false
  ByteAlphabet alphabet_;
};

enum class PrependScheme { kAlways, kFirst, kNever };

class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, std::unique_ptr<PreTokenizer> split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(std::move(split)) {}

  absl::Status Apply(Pieces* pieces) const override {
    std::string text;
    text.reserve(pieces->text.size() + pieces->text.size() / 2);
    for (size_t i = 0; i < pieces->spans.size(); ++i) {
      const size_t begin = text.size();
      const std::string_view view = pieces->View(pieces->spans[i]);
      const bool wanted = scheme_ == PrependScheme::kAlways ||
                          (scheme_ == PrependScheme::kFirst && i == 0 && pieces->at_start);
      if (wanted && view.front() != ' ' && !view.starts_with(replacement_)) text += replacement_;
      for (const char c : view) {
        if (c == ' ') {
          text += replacement_;
        } else {
          text += c;
        }
      }
      pieces->spans[i] = {begin, text.size()};
    }
    pieces->text = std::move(text);
    return split_ ? split_->Apply(pieces) : absl::OkStatus();
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  std::unique_ptr<PreTokenizer> split_;  // null: split is false
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}

  absl::Status Apply(Pieces* pieces) const override {
    for (const auto& part : parts_) FM_RETURN_IF_ERROR(part->Apply(pieces));
    return absl::OkStatus();
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

using PreTokenizerOr = absl::StatusOr<std::unique_ptr<PreTokenizer>>;

// One of our own patterns, which always compiles.
std::unique_ptr<PreTokenizer> FixedSplit(std::string_view regex, Behavior behavior,
                                         bool invert = false) {
  absl::StatusOr<Pattern> pattern = Pattern::Regex(regex);
  FM_CHECK(pattern.ok());
  return std::make_unique<SplitPreTokenizer>(*std::move(pattern), behavior, invert);
}

absl::StatusOr<Behavior> ParseBehavior(const JsonNode& node, std::string_view if_absent) {
  std::string name(if_absent);
  if (if_absent.empty() || node.Find("behavior")) {
    FM_ASSIGN_OR_RETURN(name, node.String("behavior"));
  }
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return node.Error(
      "behavior \"{}\" is not known (Removed, Isolated, MergedWithPrevious, "
      "MergedWithNext and Contiguous are)",
      name);
}

PreTokenizerOr ParseSequence(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"pretokenizers"}));
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> children, node.Array("pretokenizers"));
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (const JsonNode& child : children) {
    FM_ASSIGN_OR_RETURN(parts.emplace_back(), ParsePreTokenizer(child));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

PreTokenizerOr ParseSplit(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"pattern", "behavior", "invert"}));
  FM_ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(node));
  FM_ASSIGN_OR_RETURN(const Behavior behavior, ParseBehavior(node, ""));
  FM_ASSIGN_OR_RETURN(const bool invert, node.Bool("invert"));
  return std::make_unique<SplitPreTokenizer>(std::move(pattern), behavior, invert);
}

PreTokenizerOr ParseByteLevel(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"add_prefix_space", "trim_offsets", "use_regex"}));
  FM_ASSIGN_OR_RETURN(const bool add_prefix_space, node.Bool("add_prefix_space"));
  FM_ASSIGN_OR_RETURN(const bool use_regex, node.Bool("use_regex", true));
  static constexpr std::string_view kGpt2 =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  return std::make_unique<ByteLevel>(add_prefix_space,
                                     use_regex ? FixedSplit(kGpt2, Behavior::kIsolated) : nullptr);
}

PreTokenizerOr ParseMetaspace(const JsonNode& node) {
  FM_RETURN_IF_ERROR(
      node.AllowOnly({"replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}));
  FM_ASSIGN_OR_RETURN(std::string replacement, node.Character("replacement"));
  FM_ASSIGN_OR_RETURN(const bool split, node.Bool("split", true));
  FM_ASSIGN_OR_RETURN(const bool add_prefix_space, node.Bool("add_prefix_space", true));
  std::string name = add_prefix_space ? "always" : "never";
  if (node.Find("prepend_scheme")) {
    FM_ASSIGN_OR_RETURN(name, node.String("prepend_scheme"));
  }
  if (!add_prefix_space && name != "never") {
    return node.Error("\"add_prefix_space\" false contradicts \"prepend_scheme\" \"{}\"", name);
  }
  PrependScheme scheme = PrependScheme::kNever;
  if (name == "always") {
    scheme = PrependScheme::kAlways;
  } else if (name == "first") {
    scheme = PrependScheme::kFirst;
  } else if (name != "never") {
    return node.Error("prepend_scheme \"{}\" is not known (always, first and never are)", name);
  }
  std::unique_ptr<PreTokenizer> cut;
  if (split) {
    FM_ASSIGN_OR_RETURN(Pattern pattern, Pattern::Literal(replacement));
    cut = std::make_unique<SplitPreTokenizer>(std::move(pattern), Behavior::kMergedWithNext, false);
  }
  return std::make_unique<Metaspace>(std::move(replacement), scheme, std::move(cut));
}

// The pre-tokenizers without a pattern of the user's.
PreTokenizerOr ParseFixed(const JsonNode& node, std::string_view type) {
  if (type == "Digits") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"individual_digits"}));
    FM_ASSIGN_OR_RETURN(const bool individual, node.Bool("individual_digits"));
    return FixedSplit(R"(\p{N})", individual ? Behavior::kIsolated : Behavior::kContiguous);
  }
  if (type == "Whitespace") {
    FM_RETURN_IF_ERROR(node.AllowOnly({}));
    // \w with the meaning of UTS #18, which is wider than Oniguruma's.
    static constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d})";
    return FixedSplit(fmt::format(R"([{0}]+|[^{0}\s]+)", kWord), Behavior::kRemoved, true);
  }
  if (type == "WhitespaceSplit") {
    FM_RETURN_IF_ERROR(node.AllowOnly({}));
    return FixedSplit(R"(\s)", Behavior::kRemoved);
  }
  FM_CHECK(type == "Punctuation");
  FM_RETURN_IF_ERROR(node.AllowOnly({"behavior"}));
  FM_ASSIGN_OR_RETURN(const Behavior behavior, ParseBehavior(node, "Isolated"));
  return FixedSplit(R"([!-/:-@\[-`{-~\p{P}])", behavior);
}

}  // namespace

PreTokenizerOr ParsePreTokenizer(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") return ParseSequence(node);
  if (type == "Split") return ParseSplit(node);
  if (type == "ByteLevel") return ParseByteLevel(node);
  if (type == "Metaspace") return ParseMetaspace(node);
  if (type == "Digits" || type == "Whitespace" || type == "WhitespaceSplit" ||
      type == "Punctuation") {
    return ParseFixed(node, type);
  }
  if (type == "CharDelimiterSplit") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"delimiter"}));
    FM_ASSIGN_OR_RETURN(const std::string delimiter, node.Character("delimiter"));
    FM_ASSIGN_OR_RETURN(Pattern pattern, Pattern::Literal(delimiter));
    return std::make_unique<SplitPreTokenizer>(std::move(pattern), Behavior::kRemoved, false);
  }
  return node.Error(
      "pre-tokenizer \"{}\" is not supported (Sequence, Split, ByteLevel, Metaspace, "
      "Digits, Whitespace, WhitespaceSplit, Punctuation and CharDelimiterSplit are)",
      type);
}

}  // namespace folkmoot
