// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/post_processor.h"

#include <string>

namespace folkmoot {
namespace {

absl::StatusOr<std::vector<int32_t>> SpecialTokenIds(const JsonNode& tokens, std::string_view name,
                                                     int64_t id_limit) {
  FM_ASSIGN_OR_RETURN(const JsonNode token, tokens.Get(name));
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> items, token.Array("ids"));
  std::vector<int32_t> ids;
  for (const JsonNode& item : items) {
    FM_ASSIGN_OR_RETURN(const int64_t id, item.AsInt());
    if (id < 0 || id >= id_limit) {
      return item.Error("special token \"{}\" has id {}, which is not below {}", name, id,
                        id_limit);
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::Parse(const std::optional<JsonNode>& node,
                                                   int64_t id_limit) {
  PostProcessor processor;
  if (node) FM_RETURN_IF_ERROR(processor.ParseNode(*node, id_limit));
  return processor;
}

absl::Status PostProcessor::ParseNode(const JsonNode& node, int64_t id_limit) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "TemplateProcessing") return ParseTemplate(node, id_limit);
  if (type == "ByteLevel") {
    return node.AllowOnly({"add_prefix_space", "trim_offsets", "use_regex"});
  }
  if (type == "Sequence") {
    FM_RETURN_IF_ERROR(node.AllowOnly({"processors"}));
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> children, node.Array("processors"));
    for (const JsonNode& child : children) FM_RETURN_IF_ERROR(ParseNode(child, id_limit));
    return absl::OkStatus();
  }
  return node.Error(
      "post-processor \"{}\" is not supported (TemplateProcessing, ByteLevel and "
      "Sequence are)",
      type);
}

// Templates of a Sequence wrap each other: the later one is outside.
absl::Status PostProcessor::ParseTemplate(const JsonNode& node, int64_t id_limit) {
  FM_RETURN_IF_ERROR(node.AllowOnly({"single", "pair", "special_tokens"}));
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> items, node.Array("single"));
  std::vector<int32_t> prefix, suffix;
  bool seen_text = false;
  for (const JsonNode& item : items) {
    FM_RETURN_IF_ERROR(item.AllowOnly({"SpecialToken", "Sequence"}));
    if (const auto sequence = item.Find("Sequence")) {
      FM_ASSIGN_OR_RETURN(const std::string id, sequence->String("id"));
      if (id != "A" || seen_text) {
        return sequence->Error("the template for one text must hold sequence A once");
      }
      seen_text = true;
      continue;
    }
    FM_ASSIGN_OR_RETURN(const JsonNode special, item.Get("SpecialToken"));
    FM_ASSIGN_OR_RETURN(const std::string name, special.String("id"));
    FM_ASSIGN_OR_RETURN(const JsonNode tokens, node.Get("special_tokens"));
    FM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, SpecialTokenIds(tokens, name, id_limit));
    std::vector<int32_t>& side = seen_text ? suffix : prefix;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!seen_text) return node.Error("\"single\" does not hold sequence A");
  prefix_.insert(prefix_.begin(), prefix.begin(), prefix.end());
  suffix_.insert(suffix_.end(), suffix.begin(), suffix.end());
  return absl::OkStatus();
}

std::vector<int32_t> PostProcessor::Apply(std::vector<int32_t> ids) const {
  ids.insert(ids.begin(), prefix_.begin(), prefix_.end());
  ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

}  // namespace folkmoot
