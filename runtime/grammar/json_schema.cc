// SPDX-License-Identifier: Apache-2.0
// JsonSchemaCompiler::Compile is the main function: it takes the keywords of a schema in the order
// $ref, allOf, anyOf or oneOf, enum or const, type. What stands beside the first three is merged
// into each branch. Targets of $ref become rules, compiled one after the other and not recursively.
#include "runtime/grammar/json_schema.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/grammar/json_schema_compiler.h"
#include "runtime/grammar/schema_keywords.h"
#include "runtime/grammar/schema_refs.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// Before anything recursive touches the schema.
absl::Status CheckSchemaSize(const Json& schema) {
  struct Level {
    Json::const_iterator at, end;
  };
  std::vector<Level> levels;
  int64_t values = 1, bytes = 0;
  const auto count = [&](const Json& value) {
    ++values;
    if (value.is_string())
      bytes += static_cast<int64_t>(value.get_ref<const std::string&>().size());
    if (value.is_structured()) levels.push_back({value.begin(), value.end()});
  };
  count(schema);
  while (!levels.empty()) {
    if (levels.size() > static_cast<size_t>(kMaxSchemaDepth)) {
      return ResourceExhausted("the JSON schema is nested more than {} deep", kMaxSchemaDepth);
    }
    if (values > kMaxSchemaValues || bytes > kMaxSchemaBytes) {
      return ResourceExhausted(
          "the JSON schema is too large: the limits are {} values and {} bytes", kMaxSchemaValues,
          kMaxSchemaBytes);
    }
    Level& level = levels.back();
    if (level.at == level.end) {
      levels.pop_back();
      continue;
    }
    const Json::const_iterator at = level.at++;
    // An iterator of an array has no key.
    if (const Json& value = *at; true) count(value);
  }
  return absl::OkStatus();
}

// The keywords of `schema` but for one, annotations left out.
Json WithoutKeyword(const Json& schema, std::string_view keyword) {
  Json rest = Json::object();
  for (const auto& [name, value] : schema.items()) {
    if (name != keyword && IsSchemaAssertion(name)) rest[name] = value;
  }
  return rest;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::Status JsonSchemaCompiler::Run() {
  FM_ASSIGN_OR_RETURN(const Grammar::Expr whole, Compile(root_, "#", 0));
  grammar_.Define(0, whole);
  while (!open_refs_.empty()) {
    const auto [ref, rule] = open_refs_.front();
    open_refs_.pop_front();
    FM_ASSIGN_OR_RETURN(const Json* target, FindSchemaRef(root_, ref));
    FM_ASSIGN_OR_RETURN(const Grammar::Expr body, Compile(*target, ref, 0));
    grammar_.Define(rule, body);
  }
  return absl::OkStatus();
}

JsonSchemaCompiler::Result JsonSchemaCompiler::Compile(const Json& schema, const std::string& path,
                                                       int depth) {
  if (depth > kMaxSchemaDepth || ++schemas_ > kMaxSchemas) {
    return ResourceExhausted("JSON schema, {}: too many schemas, or $refs too deep, to merge",
                             path);
  }
  FM_RETURN_IF_ERROR(grammar_.CheckSize());
  if (schema.is_boolean()) return schema.get<bool>() ? values_.Value() : grammar_.Never();
  if (!schema.is_object()) return SchemaError(path, "", "must be an object or a boolean");
  return CompileObjectOfKeywords(schema, path, depth);
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileObjectOfKeywords(const Json& schema,
                                                                       const std::string& path,
                                                                       int depth) {
  size_t assertions = 0;
  for (const auto& [keyword, value] : schema.items()) {
    const bool empty = value.is_object() && value.empty() && keyword != "not";
    if (IsRefusedKeyword(keyword) && !empty) {
      return SchemaError(path, keyword, "this keyword is not supported");
    }
    if (IsSchemaAssertion(keyword)) ++assertions;
  }
  if (assertions == 0) return values_.Value();
  if (schema.contains("$ref")) {
    if (!schema["$ref"].is_string()) return SchemaError(path, "$ref", "must be a string");
    if (assertions == 1) return CompileRef(schema["$ref"].get<std::string>());
    FM_ASSIGN_OR_RETURN(const Json resolved, ResolveRefs(schema, path));
    return Compile(resolved, path, depth + 1);
  }
  if (schema.contains("allOf")) return CompileAllOf(schema, path, depth);
  if (schema.contains("anyOf")) return CompileBranches(schema, "anyOf", path, depth);
  if (schema.contains("oneOf")) return CompileBranches(schema, "oneOf", path, depth);
  if (schema.contains("enum") || schema.contains("const")) return CompileEnum(schema, path);
  return CompileTypes(schema, path, depth);
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileRef(const std::string& ref) {
  FM_RETURN_IF_ERROR(FindSchemaRef(root_, ref).status());
  if (ref == "#") return grammar_.Call(0);
  const auto [entry, is_new] = rule_of_ref_.try_emplace(ref, 0);
  if (is_new) {
    entry->second = grammar_.NewRule();
    open_refs_.emplace_back(ref, entry->second);
  }
  return grammar_.Call(entry->second);
}

absl::StatusOr<Json> JsonSchemaCompiler::ResolveRefs(const Json& schema, const std::string& path) {
  Json resolved = schema;
  for (int i = 0; resolved.is_object() && resolved.contains("$ref"); ++i) {
    if (i > kMaxSchemaDepth) return SchemaError(path, "$ref", "references run in a circle");
    if (!resolved["$ref"].is_string()) return SchemaError(path, "$ref", "must be a string");
    FM_ASSIGN_OR_RETURN(const Json* target,
                        FindSchemaRef(root_, resolved["$ref"].get<std::string>()));
    Json rest = WithoutKeyword(resolved, "$ref");
    if (rest.empty() || *target == false) {
      resolved = *target;
    } else if (*target == true) {
      resolved = std::move(rest);
    } else if (!target->is_object()) {
      return SchemaError(path, "$ref", "does not lead to a schema");
    } else if (target->contains("$ref")) {  // one at a time
      Json next = WithoutKeyword(*target, "$ref");
      FM_ASSIGN_OR_RETURN(next, MergeSchemas(next, rest, path));
      next["$ref"] = (*target)["$ref"];
      resolved = std::move(next);
    } else {
      FM_ASSIGN_OR_RETURN(resolved, MergeSchemas(*target, rest, path));
    }
  }
  return resolved;
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileAllOf(const Json& schema,
                                                            const std::string& path, int depth) {
  const Json& parts = schema["allOf"];
  if (!parts.is_array() || parts.empty()) {
    return SchemaError(path, "allOf", "must be a list of schemas");
  }
  Json merged = WithoutKeyword(schema, "allOf");
  if (parts.size() == 1 && merged.empty()) return Compile(parts[0], path + "/allOf/0", depth + 1);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part_path = fmt::format("{}/allOf/{}", path, i);
    if (++schemas_ > kMaxSchemas) {
      return ResourceExhausted("JSON schema, {}: too many schemas to merge", part_path);
    }
    FM_ASSIGN_OR_RETURN(const Json part, ResolveRefs(parts[i], part_path));
    if (part == true) continue;
    if (part == false) return grammar_.Never();
    if (!part.is_object()) return SchemaError(part_path, "", "must be an object or a boolean");
    FM_ASSIGN_OR_RETURN(merged, MergeSchemas(merged, part, part_path));
  }
  return Compile(merged, path, depth + 1);
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileBranches(const Json& schema,
                                                               const char* keyword,
                                                               const std::string& path, int depth) {
  const Json& parts = schema[keyword];
  if (!parts.is_array() || parts.empty()) {
    return SchemaError(path, keyword, "must be a list of schemas");
  }
  const Json rest = WithoutKeyword(schema, keyword);
  std::vector<Json> branches;
  for (size_t i = 0; i < parts.size(); ++i) {
    Json branch = parts[i];
    if (!rest.empty() && branch == true) branch = rest;
    if (!rest.empty() && branch != false && branch != rest) {
      const std::string branch_path = fmt::format("{}/{}/{}", path, keyword, i);
      FM_ASSIGN_OR_RETURN(branch, ResolveRefs(branch, branch_path));
      if (!branch.is_object()) return SchemaError(branch_path, "", "must be an object");
      FM_ASSIGN_OR_RETURN(branch, MergeSchemas(rest, branch, branch_path));
    }
    branches.push_back(std::move(branch));
  }
  if (std::string_view(keyword) == "oneOf") {
    constexpr size_t kMaxBranches = 64;  // every pair is looked at
    if (branches.size() > kMaxBranches) {
      return SchemaError(path, keyword, fmt::format("more than {} branches", kMaxBranches));
    }
    for (size_t i = 0; i < branches.size(); ++i) {
      for (size_t j = 0; j < branches.size(); ++j) {
        if (i == j || branches[i] == false || SchemasExclude(root_, branches[i], branches[j])) {
          continue;
        }
        return SchemaError(path, keyword,
                           fmt::format("not supported here: branches {} and {} may both hold; use "
                                       "anyOf, or a property with different constants",
                                       i, j));
      }
    }
  }
  std::vector<Grammar::Expr> exprs;
  for (size_t i = 0; i < branches.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const Grammar::Expr expr,
                        Compile(branches[i], fmt::format("{}/{}/{}", path, keyword, i), depth + 1));
    exprs.push_back(expr);
  }
  return grammar_.Alt(std::move(exprs));
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileEnum(const Json& schema,
                                                           const std::string& path) {
  Json values = Json::array();
  if (schema.contains("enum")) {
    if (!schema["enum"].is_array()) return SchemaError(path, "enum", "must be a list");
    values = schema["enum"];
  }
  if (schema.contains("const")) {
    const Json& only = schema["const"];
    const bool listed =
        !schema.contains("enum") || std::find(values.begin(), values.end(), only) != values.end();
    values = listed ? Json::array({only}) : Json::array();
  }
  for (const auto& [keyword, value] : schema.items()) {
    if (IsSchemaAssertion(keyword) && keyword != "enum" && keyword != "const" &&
        keyword != "type") {
      return SchemaError(path, keyword, "not supported beside enum or const");
    }
  }
  FM_ASSIGN_OR_RETURN(const uint32_t types, SchemaType::Declared(schema, path));
  std::vector<std::string> texts;
  for (const Json& value : values) {
    if ((SchemaType::OfValue(value) & types) != 0) texts.push_back(Dump(value));
  }
  if (texts.empty()) return SchemaError(path, "enum", "no value of the list is allowed");
  return grammar_.OneOf(std::move(texts));
}

JsonSchemaCompiler::Result JsonSchemaCompiler::CompileTypes(const Json& schema,
                                                            const std::string& path, int depth) {
  FM_ASSIGN_OR_RETURN(uint32_t types, SchemaType::Declared(schema, path));
  if (!schema.contains("type")) types = SchemaType::Implied(schema);
  std::vector<Grammar::Expr> branches;
  const auto add = [&](uint32_t type, auto&& compile) -> absl::Status {
    if ((types & type) == 0) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const Grammar::Expr expr, compile());
    branches.push_back(expr);
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(add(SchemaType::kString, [&] { return CompileString(schema, path); }));
  FM_RETURN_IF_ERROR(add(SchemaType::kNumber, [&] {
    return CompileNumber(schema, (types & SchemaType::kFraction) == 0, path);
  }));
  FM_RETURN_IF_ERROR(add(SchemaType::kBoolean, [&] { return Result(values_.Boolean()); }));
  FM_RETURN_IF_ERROR(add(SchemaType::kNull, [&] { return Result(values_.Null()); }));
  FM_RETURN_IF_ERROR(add(SchemaType::kArray, [&] { return CompileArray(schema, path, depth); }));
  FM_RETURN_IF_ERROR(add(SchemaType::kObject, [&] { return CompileObject(schema, path, depth); }));
  return grammar_.Alt(std::move(branches));
}

absl::Status DefineJsonSchema(const Json& schema, Grammar* grammar) {
  FM_RETURN_IF_ERROR(CheckSchemaSize(schema));
  return JsonSchemaCompiler(schema, grammar).Run();
}

void DefineJsonObject(Grammar* grammar) {
  JsonValueForm values(grammar);
  grammar->Define(0, values.Object());
}

}  // namespace folkmoot
