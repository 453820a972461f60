// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/token_model.h"

#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/unigram_model.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<TokenModel>> TokenModel::Parse(const JsonNode& node) {
  std::string type = "BPE";  // files of before 2020 do not name it
  if (node.Find("type") || !node.Find("vocab") || !node.Find("merges")) {
    FM_ASSIGN_OR_RETURN(type, node.String("type"));
  }
  if (type == "BPE") return BpeModel::Parse(node);
  if (type == "Unigram") return UnigramModel::Parse(node);
  return node.Error("model type \"{}\" is not supported (BPE and Unigram are)", type);
}

}  // namespace folkmoot
