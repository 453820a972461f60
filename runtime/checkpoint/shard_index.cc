// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/shard_index.h"

#include <simdjson.h>

namespace folkmoot {
namespace {

bool IsPlainName(std::string_view name) {
  return !name.empty() && name != "." && name.find("..") == std::string_view::npos &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view file,
                                                                   std::string_view json) {
  if (json.empty()) return DataLoss("{}: the file is empty", file);
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root);
      error != simdjson::SUCCESS) {
    return InvalidArgument("{}: not JSON: {}", file, simdjson::error_message(error));
  }
  simdjson::dom::object weight_map;
  if (root["weight_map"].get(weight_map) != simdjson::SUCCESS) {
    return InvalidArgument("{}: must be an object with 'weight_map': {{tensor: file}}", file);
  }
  std::map<std::string, std::string> shards;
  for (const auto field : weight_map) {
    std::string_view shard;
    if (field.value.get(shard) != simdjson::SUCCESS) {
      return InvalidArgument("{}: weight_map['{}'] must be a file name", file, field.key);
    }
    if (!IsPlainName(shard)) {
      return InvalidArgument(
          "{}: weight_map['{}'] = '{}': a shard must be a file of the model's own directory", file,
          field.key, shard);
    }
    if (!shards.emplace(field.key, shard).second) {
      return InvalidArgument("{}: tensor '{}' stands twice in weight_map", file, field.key);
    }
  }
  if (shards.empty()) return InvalidArgument("{}: weight_map is empty", file);
  return shards;
}

}  // namespace folkmoot
