// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/decoder.h"

#include <utility>

#include "runtime/check.h"
#include "runtime/tokenizer/decode_stage.h"

namespace folkmoot {

DecodeStream::DecodeStream(std::vector<std::unique_ptr<DecodeStage>> stages)
    : stages_(std::move(stages)) {}
DecodeStream::DecodeStream(DecodeStream&&) noexcept = default;
DecodeStream& DecodeStream::operator=(DecodeStream&&) noexcept = default;
DecodeStream::~DecodeStream() = default;

void DecodeStream::Push(std::string_view token, std::string* out) { Run(0, token, out); }

void DecodeStream::Run(size_t stage, std::string_view token, std::string* out) {
  if (stage == stages_.size()) {
    out->append(token);
    return;
  }
  stages_[stage]->Push(token, [&](std::string_view next) { Run(stage + 1, next, out); });
}

void DecodeStream::Finish(std::string* out) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->Finish([&](std::string_view next) { Run(i + 1, next, out); });
  }
}

absl::StatusOr<Decoder> Decoder::Parse(const std::optional<JsonNode>& node) {
  Decoder decoder;
  if (node) {
    FM_RETURN_IF_ERROR(decoder.ParseNode(*node));
  } else {
    decoder.steps_.push_back({.kind = Kind::kJoin});
  }
  return decoder;
}

absl::Status Decoder::Add(const JsonNode& node, Step step) {
  const bool wants_tokens = step.kind == Kind::kByteLevel || step.kind == Kind::kByteFallback ||
                            step.kind == Kind::kMetaspace;
  if (fused_ && wants_tokens) {
    return node.Error("this decoder cannot come after Fuse or ByteLevel, which join the tokens");
  }
  step.fused = fused_;
  fused_ = fused_ || step.kind == Kind::kFuse || step.kind == Kind::kByteLevel;
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status Decoder::ParseStrip(const JsonNode& node) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"content", "start", "stop"}));
  Step step{.kind = Kind::kStrip};
  FM_ASSIGN_OR_RETURN(step.pattern, node.Character("content"));
  FM_ASSIGN_OR_RETURN(const int64_t start, node.Int("start"));
  FM_ASSIGN_OR_RETURN(const int64_t stop, node.Int("stop"));
  if (start < 0 || stop < 0) return node.Error("\"start\" and \"stop\" must not be negative");
  step.start = static_cast<size_t>(start);
  step.stop = static_cast<size_t>(stop);
  return Add(node, std::move(step));
}

absl::Status Decoder::ParseMetaspace(const JsonNode& node) {
  FM_RETURN_IF_ERROR(
      node.AllowOnly({"replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}));
  Step step{.kind = Kind::kMetaspace};
  FM_ASSIGN_OR_RETURN(step.pattern, node.Character("replacement"));
  FM_ASSIGN_OR_RETURN(step.drop_in_first, node.Bool("add_prefix_space", true));
  if (node.Find("prepend_scheme")) {
    FM_ASSIGN_OR_RETURN(const std::string scheme, node.String("prepend_scheme"));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return node.Error("prepend_scheme \"{}\" is not known (always, first and never are)", scheme);
    }
    if (!step.drop_in_first && scheme != "never") {
      return node.Error("\"add_prefix_space\" false contradicts \"prepend_scheme\" \"{}\"", scheme);
    }
    step.drop_in_first = scheme != "never";
  }
  return Add(node, std::move(step));
}

absl::Status Decoder::ParseNode(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"decoders"}));
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> children, node.Array("decoders"));
    for (const JsonNode& child : children) FM_RETURN_IF_ERROR(ParseNode(child));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"add_prefix_space", "trim_offsets", "use_regex"}));
    return Add(node, {.kind = Kind::kByteLevel});
  }
  if (type == "ByteFallback" || type == "Fuse") {
    FM_RETURN_IF_ERROR(node.AllowOnly({}));
    return Add(node, {.kind = type == "Fuse" ? Kind::kFuse : Kind::kByteFallback});
  }
  if (type == "Strip") return ParseStrip(node);
  if (type == "Metaspace") return ParseMetaspace(node);
  if (type == "Replace") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"pattern", "content"}));
    FM_ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
    if (pattern.Find("Regex")) {
      return pattern.Error("decoder Replace with a regular expression is not supported");
    }
    Step step{.kind = Kind::kReplace};
    FM_ASSIGN_OR_RETURN(step.pattern, pattern.String("String"));
    if (step.pattern.empty()) return pattern.Error("an empty string cannot be a pattern");
    FM_ASSIGN_OR_RETURN(step.content, node.String("content"));
    return Add(node, std::move(step));
  }
  return node.Error(
      "decoder \"{}\" is not supported (ByteLevel, ByteFallback, Fuse, Strip, "
      "Replace, Metaspace and Sequence are)",
      type);
}

std::unique_ptr<DecodeStage> Decoder::NewStage(const Step& step) {
  switch (step.kind) {
    case Kind::kByteLevel:
      return NewByteLevelStage();
    case Kind::kByteFallback:
      return NewByteFallbackStage();
    case Kind::kFuse:
      return NewFuseStage();
    case Kind::kJoin:
      return NewJoinStage();
    case Kind::kReplace:
      return NewReplaceStage(step.pattern, step.content, step.fused);
    case Kind::kStrip:
      return NewStripStage(step.pattern, step.start, step.stop, step.fused);
    case Kind::kMetaspace:
      return NewMetaspaceStage(step.pattern, step.drop_in_first);
  }
  FM_CHECK(false);
}

DecodeStream Decoder::NewStream() const {
  std::vector<std::unique_ptr<DecodeStage>> stages;
  stages.reserve(steps_.size());
  for (const Step& step : steps_) stages.push_back(NewStage(step));
  return DecodeStream(std::move(stages));
}

}  // namespace folkmoot
