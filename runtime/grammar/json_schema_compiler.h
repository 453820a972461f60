// SPDX-License-Identifier: Apache-2.0
// The work behind DefineJsonSchema. Private to runtime/grammar.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/json_value_form.h"

namespace folkmoot {

class JsonSchemaCompiler {
 public:
  using Json = nlohmann::ordered_json;
  using Result = absl::StatusOr<Grammar::Expr>;

  // `root` and `grammar` must outlive the compiler.
  JsonSchemaCompiler(const Json& root, Grammar* grammar)
      : root_(root), grammar_(*grammar), values_(grammar) {}

  absl::Status Run();

 private:
  static constexpr int64_t kMaxSchemas = 20'000;  // compiled; merging can multiply them

  struct ObjectMember {
    std::string name;
    Json schema;
    bool required = false;
  };

  // json_schema.cc
  Result Compile(const Json& schema, const std::string& path, int depth);
  Result CompileObjectOfKeywords(const Json& schema, const std::string& path, int depth);
  Result CompileRef(const std::string& ref);
  // `schema` without $ref, its target merged in.
  absl::StatusOr<Json> ResolveRefs(const Json& schema, const std::string& path);
  Result CompileAllOf(const Json& schema, const std::string& path, int depth);
  Result CompileBranches(const Json& schema, const char* keyword, const std::string& path,
                         int depth);
  Result CompileEnum(const Json& schema, const std::string& path);
  Result CompileTypes(const Json& schema, const std::string& path, int depth);

  // json_schema_scalars.cc
  Result CompileString(const Json& schema, const std::string& path);
  Result CompilePattern(const Json& schema, const std::string& path, int64_t min, int64_t max);
  Result CompileNumber(const Json& schema, bool integer, const std::string& path);

  // json_schema_containers.cc
  Result CompileArray(const Json& schema, const std::string& path, int depth);
  Result CompileArrayTail(const std::vector<Grammar::Expr>& prefix, Grammar::Expr item, int64_t min,
                          int64_t max);
  Result CompileObject(const Json& schema, const std::string& path, int depth);
  absl::StatusOr<std::vector<ObjectMember>> Members(const Json& schema, const Json& additional,
                                                    const std::string& path);
  absl::Status CheckMemberCounts(const Json& schema, const std::vector<ObjectMember>& members,
                                 bool open, const std::string& path, int64_t* min, int64_t* max);
  // A name that is none of the members', as a string.
  Grammar::Expr OtherName(const std::vector<ObjectMember>& members);
  Grammar::Expr ObjectForm(const std::vector<Grammar::Expr>& members,
                           const std::vector<ObjectMember>& described, Grammar::Expr extra,
                           std::pair<int64_t, int64_t> extra_count);

  const Json& root_;
  Grammar& grammar_;
  JsonValueForm values_;
  absl::flat_hash_map<std::string, int32_t> rule_of_ref_;
  std::deque<std::pair<std::string, int32_t>> open_refs_;  // rules that have no body yet
  int64_t schemas_ = 0;
};

}  // namespace folkmoot
