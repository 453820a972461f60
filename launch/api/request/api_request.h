// SPDX-License-Identifier: Apache-2.0
// A request to the engine, of any endpoint, after its body was read and found good.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/api/common/text_rules.h"
#include "launch/api/output/output_parser.h"
#include "launch/api/request/field_table.h"
#include "launch/source_prompt.h"
#include "scheduler/request.h"

namespace folkmoot {

struct ApiPrompt {
  std::vector<int32_t> ids;
  std::string text;        // where the client sent text, or wants to read it again
  bool from_text = false;  // else token ids
  int64_t max_tokens = 0;
  int64_t source = 0;  // Request::source
  int32_t begun = 0;   // BeamParams::begun
};

// What becomes of embeddings.
struct VectorForm {
  bool base64 = false;
  bool normalize = true;
  size_t queries = 0;            // the first prompts, which the others are compared with
  int64_t top_n = 0;             // results of /rerank; 0: all
  bool return_documents = true;  // in them
};

struct ApiRequest {
  Endpoint endpoint = kCompletions;
  std::string id;  // "cmpl-...", "chatcmpl-...", or the client's for /generate
  std::string model;
  int64_t created = 0;  // seconds since 1970

  std::vector<ApiPrompt> prompts;
  Request request;  // all but prompt and max_tokens, which differ between prompts
  TextRules text;
  SourceOptions source;               // of models with an encoder
  std::optional<int64_t> max_tokens;  // as asked for
  std::optional<std::chrono::milliseconds> timeout;

  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool echo = false;
  std::string echo_text;         // chat: the message that is continued
  OutputRules output;            // chat: what is made of the text
  int32_t logprobs = -1;         // best K of each output token; -1: none at all
  int32_t prompt_logprobs = -1;  // best K of each prompt token
  bool return_token_ids = false;
  bool tokens_as_ids = false;  // "token_id:123"

  // POST /generate
  bool list = false;  // answer with a list
  int64_t logprob_start = -1;
  bool text_in_logprobs = false;

  VectorForm vectors;  // POST /v1/embeddings, /score, /rerank
};

}  // namespace folkmoot
