// SPDX-License-Identifier: Apache-2.0
// Arrays and objects of a JSON schema. Whatever may come after an element is a rule of its own,
// called at the end of the one before, so that optional elements add up and do not multiply.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grammar/json_schema_compiler.h"
#include "runtime/grammar/regex_parser.h"
#include "runtime/grammar/schema_keywords.h"

namespace folkmoot {
namespace {

constexpr int64_t kNoLimit = Grammar::kNoLimit;

}  // namespace

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileArray(const Json& schema,
                                                            const std::string& path, int depth) {
  FM_ASSIGN_OR_RETURN(const auto min, SchemaCount(schema, "minItems", path));
  FM_ASSIGN_OR_RETURN(const auto max, SchemaCount(schema, "maxItems", path));
  if (schema.contains("uniqueItems") && schema["uniqueItems"] != false && (!max || *max > 1)) {
    return SchemaError(path, "uniqueItems", "this keyword is not supported");
  }
  if (min && *min > kMaxRegexRepeat) {
    return SchemaError(path, "minItems", fmt::format("more than {}", kMaxRegexRepeat));
  }
  if (min && max && *min > *max) return SchemaError(path, "minItems", "larger than maxItems");
  // Before draft 2020-12 a list under "items" was what "prefixItems" is now.
  const bool old_list = schema.contains("items") && schema["items"].is_array();
  const char* prefix_keyword = old_list ? "items" : "prefixItems";
  const char* item_keyword = old_list ? "additionalItems" : "items";
  std::vector<Grammar::Expr> prefix;
  if (schema.contains(prefix_keyword)) {
    const Json& list = schema[prefix_keyword];
    if (!list.is_array()) return SchemaError(path, prefix_keyword, "must be a list of schemas");
    for (size_t i = 0; i < list.size(); ++i) {
      FM_ASSIGN_OR_RETURN(
          const Grammar::Expr element,
          Compile(list[i], fmt::format("{}/{}/{}", path, prefix_keyword, i), depth + 1));
      prefix.push_back(element);
    }
  }
  const auto prefix_size = static_cast<int64_t>(prefix.size());
  const int64_t low = min.value_or(0);
  int64_t high = max ? std::min(*max, std::max(low, kMaxRegexRepeat)) : kNoLimit;
  Grammar::Expr item = grammar_.Never();
  if (schema.contains(item_keyword)) {
    FM_ASSIGN_OR_RETURN(
        item, Compile(schema[item_keyword], fmt::format("{}/{}", path, item_keyword), depth + 1));
  } else if (prefix.empty() || low > prefix_size) {
    item = values_.Value();
  }
  if (item == grammar_.Never() && (high == kNoLimit || high > prefix_size)) high = prefix_size;
  if (high != kNoLimit && low > high) return grammar_.Never();
  FM_ASSIGN_OR_RETURN(const Grammar::Expr elements, CompileArrayTail(prefix, item, low, high));
  return grammar_.Seq({grammar_.Literal("["), elements, grammar_.Literal("]")});
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileArrayTail(
    const std::vector<Grammar::Expr>& prefix, Grammar::Expr item, int64_t min, int64_t max) {
  if (max == 0) return grammar_.Empty();
  const auto fixed = static_cast<int64_t>(prefix.size());
  const Grammar::Expr shared_item = grammar_.Shared(item);
  // After `written` elements, the prefix being complete.
  const int64_t written = std::max<int64_t>(fixed, 1);
  const int64_t least = std::max<int64_t>(0, min - written);
  Grammar::Expr tail = grammar_.Empty();
  if (max == kNoLimit || max > written) {
    tail = grammar_.Repeat(grammar_.Seq({values_.Comma(), shared_item}), least,
                           max == kNoLimit ? kNoLimit : max - written);
  }
  for (int64_t i = fixed - 1; i >= 1; --i) {  // after i elements
    FM_RETURN_IF_ERROR(grammar_.CheckSize());
    std::vector<Grammar::Expr> ways;
    if (i >= min) ways.push_back(grammar_.Empty());
    if (max == kNoLimit || i < max) {
      ways.push_back(grammar_.Seq({values_.Comma(), prefix[static_cast<size_t>(i)], tail}));
    }
    tail = grammar_.Shared(grammar_.Alt(std::move(ways)));
  }
  const Grammar::Expr some = grammar_.Seq({fixed > 0 ? prefix[0] : shared_item, tail});
  return min > 0 ? some : grammar_.Optional(some);
}

absl::StatusOr<std::vector<JsonSchemaCompiler::ObjectMember>> JsonSchemaCompiler::Members(
    const Json& schema, const Json& additional, const std::string& path) {
  std::vector<ObjectMember> members;
  absl::flat_hash_map<std::string, size_t> index;
  if (schema.contains("properties")) {
    if (!schema["properties"].is_object()) {
      return SchemaError(path, "properties", "must be an object");
    }
    for (const auto& [name, value] : schema["properties"].items()) {
      index[name] = members.size();
      members.push_back({.name = name, .schema = value});
    }
  }
  if (!schema.contains("required")) return members;
  const Json& required = schema["required"];
  if (required.is_boolean()) return members;  // draft 3, inside a property
  if (!required.is_array()) return SchemaError(path, "required", "must be a list of names");
  for (const Json& name : required) {
    if (!name.is_string()) return SchemaError(path, "required", "must be a list of names");
    const auto [entry, is_new] = index.try_emplace(name.get<std::string>(), members.size());
    // A required property that is not listed is an additional one.
    if (is_new) members.push_back({.name = entry->first, .schema = additional});
    members[entry->second].required = true;
  }
  return members;
}

absl::Status JsonSchemaCompiler::CheckMemberCounts(const Json& schema,
                                                   const std::vector<ObjectMember>& members,
                                                   bool open, const std::string& path, int64_t* min,
                                                   int64_t* max) {
  FM_ASSIGN_OR_RETURN(const auto least, SchemaCount(schema, "minProperties", path));
  FM_ASSIGN_OR_RETURN(const auto most, SchemaCount(schema, "maxProperties", path));
  *min = 0;
  *max = kNoLimit;
  const auto required = std::count_if(members.begin(), members.end(),
                                      [](const ObjectMember& member) { return member.required; });
  const auto listed = static_cast<int64_t>(members.size());
  if (least && *least > required) {
    // Names that come again would count once.
    if (!members.empty() || !open || *least > 1) {
      return SchemaError(path, "minProperties",
                         "supported up to the number of required properties only");
    }
    *min = *least;
  }
  if (most && *most < *min) return SchemaError(path, "maxProperties", "less than minProperties");
  if (most && *most < listed) {
    return SchemaError(path, "maxProperties", "less than the number of properties listed");
  }
  if (most) *max = std::min(*most - listed, kMaxRegexRepeat);
  return absl::OkStatus();
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileObject(const Json& schema,
                                                             const std::string& path, int depth) {
  Json additional =
      schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
  FM_ASSIGN_OR_RETURN(const std::vector<ObjectMember> members, Members(schema, additional, path));
  // Nothing is said about what is in it: anything may be.
  const bool untold =
      !schema.contains("additionalProperties") && members.empty() && !schema.contains("properties");
  const bool open = (untold || schema.contains("additionalProperties")) && additional != false;
  std::pair<int64_t, int64_t> extra_count{0, 0};
  FM_RETURN_IF_ERROR(
      CheckMemberCounts(schema, members, open, path, &extra_count.first, &extra_count.second));
  if (!open) extra_count = {0, 0};
  std::vector<Grammar::Expr> forms;
  for (const ObjectMember& member : members) {
    const std::string member_path = fmt::format("{}/properties/{}", path, member.name);
    FM_ASSIGN_OR_RETURN(const Grammar::Expr value, Compile(member.schema, member_path, depth + 1));
    const std::string name = Json(member.name).dump(-1, ' ', false, Json::error_handler_t::replace);
    forms.push_back(
        grammar_.Shared(grammar_.Seq({grammar_.Literal(name), values_.Colon(), value})));
  }
  Grammar::Expr extra = grammar_.Never();
  if (open) {
    FM_ASSIGN_OR_RETURN(const Grammar::Expr value,
                        Compile(additional, path + "/additionalProperties", depth + 1));
    extra = grammar_.Shared(grammar_.Seq({OtherName(members), values_.Colon(), value}));
  }
  return ObjectForm(forms, members, extra, extra_count);
}

Grammar::Expr JsonSchemaCompiler::OtherName(const std::vector<ObjectMember>& members) {
  const CodePointSet characters({{' ', '!'}, {'#', '['}, {']', CodePointSet::kLast}});
  const Grammar::Expr quote = grammar_.Literal("\"");
  const Grammar::Expr rest = grammar_.Shared(
      grammar_.Seq({grammar_.Repeat(grammar_.Class(characters), 0, kNoLimit), quote}));
  // Names are compared by bytes up to where they differ; after that anything may follow. No byte of
  // a name that differs is the start of half a character, since only ASCII is compared that way.
  struct NameNode {
    std::map<char, size_t> next;
    bool is_name = false;
    bool beyond_ascii = false;  // a listed name goes on with another character
  };
  std::vector<NameNode> nodes(1);
  for (const ObjectMember& member : members) {
    size_t at = 0;
    bool ascii = true;
    for (const char c : member.name) {
      ascii = static_cast<unsigned char>(c) < 0x80;
      if (!ascii) {
        nodes[at].beyond_ascii = true;
        break;
      }
      const auto [entry, is_new] = nodes[at].next.try_emplace(c, nodes.size());
      at = entry->second;
      if (is_new) nodes.emplace_back();
    }
    if (ascii) nodes[at].is_name = true;
  }
  std::vector<Grammar::Expr> forms(nodes.size());
  for (size_t i = nodes.size(); i-- > 0;) {  // children have larger numbers
    CodePointSet others = characters;
    std::vector<Grammar::Expr> ways;
    if (nodes[i].beyond_ascii) others = others.Minus(CodePointSet({{0x80, CodePointSet::kLast}}));
    for (const auto& [c, child] : nodes[i].next) {
      const auto code = static_cast<char32_t>(c);
      others = others.Minus(CodePointSet({{code, code}}));
      if (!characters.Contains(code)) continue;  // written with an escape, which others are not
      ways.push_back(grammar_.Seq({grammar_.Literal(std::string(1, c)), forms[child]}));
    }
    ways.push_back(grammar_.Seq({grammar_.Class(others), rest}));
    if (!nodes[i].is_name) ways.push_back(quote);
    forms[i] = grammar_.Shared(grammar_.Alt(std::move(ways)));
  }
  return grammar_.Seq({quote, forms[0]});
}

Grammar::Expr JsonSchemaCompiler::ObjectForm(const std::vector<Grammar::Expr>& members,
                                             const std::vector<ObjectMember>& described,
                                             Grammar::Expr extra,
                                             std::pair<int64_t, int64_t> extra_count) {
  const auto [least, most] = extra_count;
  const bool open = most != 0;
  // After the last member: with something written before, or with nothing.
  Grammar::Expr more = grammar_.Empty();
  Grammar::Expr begin = grammar_.Empty();
  if (open) {
    const Grammar::Expr next = grammar_.Seq({values_.Comma(), extra});
    more = grammar_.Shared(grammar_.Repeat(next, least, most));
    const int64_t left = most == kNoLimit ? kNoLimit : most - 1;
    const Grammar::Expr first =
        grammar_.Seq({extra, grammar_.Repeat(next, std::max<int64_t>(0, least - 1), left)});
    begin = grammar_.Shared(least > 0 ? first : grammar_.Optional(first));
  }
  for (size_t i = members.size(); i-- > 0;) {
    const Grammar::Expr written = grammar_.Seq({values_.Comma(), members[i], more});
    const Grammar::Expr written_first = grammar_.Seq({members[i], more});
    const bool required = described[i].required;
    begin = grammar_.Shared(required ? written_first : grammar_.Alt({written_first, begin}));
    more = grammar_.Shared(required ? written : grammar_.Alt({written, more}));
  }
  return grammar_.Seq({grammar_.Literal("{"), begin, grammar_.Literal("}")});
}

}  // namespace folkmoot
