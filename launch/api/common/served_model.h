// SPDX-License-Identifier: Apache-2.0
// The model as clients see it: names, limits, words, templates, defaults.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "launch/generation_config.h"
#include "launch/source_prompt.h"
#include "nlohmann/json_fwd.hpp"
#include "runtime/jinja/message_style.h"
#include "runtime/status.h"
#include "runtime/token_constraint.h"
#include "runtime/tokenizer/tokenizer.h"
#include "scheduler/pooling.h"

namespace folkmoot {

struct OutputFormat;

// A prompt made by a chat template. Special tokens may be recognised in `trusted` byte ranges of
// the text: what the template itself wrote.
struct RenderedChat {
  std::string text;
  std::vector<std::pair<size_t, size_t>> trusted;
};

// What the model directory and the operator decide. The functions may be empty: then the model
// cannot do that, and a request for it is an error.
struct ServedModelOptions {
  std::vector<std::string> names;  // at least one; answers carry the first
  std::string root;                // the model's directory
  int64_t context = 0;             // most tokens of a prompt and its output together
  int64_t vocab = 0;               // rows of the output matrix: ids are below
  int64_t hidden = 0;              // length of an embedding
  Pooling pooling = Pooling::kLast;
  std::vector<int32_t> eos_ids;
  GenerationConfig defaults;
  int64_t created = 0;  // seconds since 1970

  std::unique_ptr<Tokenizer> tokenizer;  // null: token ids only
  std::string tokenizer_config;          // JSON of tokenizer_config.json, may be empty
  std::string chat_template;             // its source, for /tokenizer_info

  // `context`: messages, tools, add_generation_prompt and what else the template may use besides
  // the special tokens, which it knows.
  std::function<absl::StatusOr<RenderedChat>(const nlohmann::ordered_json& context)> render_chat;

  // Of models with an encoder: what a source becomes (MakeSourcePrompt).
  std::function<absl::StatusOr<SourcePrompt>(const SourceOptions& options,
                                             std::span<const int32_t> source)>
      make_source;

  bool template_has_tools = false;  // the chat template shows them to the model
  // What the template for conversations with tools, and the one without, wants of messages.
  MessageStyle style_with_tools, style_without_tools;
  // How the model writes tool calls and reasoning; null: it does not, or nobody knows.
  const OutputFormat* tool_format = nullptr;
  const OutputFormat* reasoning_format = nullptr;
  // What these point to, where it is the model's own and not of the lists.
  std::vector<std::shared_ptr<const OutputFormat>> own_formats;
  bool tool_calls_stay_text = false;  // the operator wants them so

  using Constraint = absl::StatusOr<std::shared_ptr<const TokenConstraint>>;
  std::function<Constraint(std::string_view regex)> compile_regex;
  std::function<Constraint(const nlohmann::ordered_json& schema)> compile_schema;
  std::function<Constraint()> compile_json_object;
  std::function<Constraint(const std::vector<std::string>& choices)> compile_choice;

  // Knobs of the gate that a request may set ("*": all). The function checks the whole override
  // ("top_k=1,capacity=ceil_k") against the model.
  std::vector<std::string> gate_knobs;
  std::function<absl::Status(const std::string& overrides)> check_gate;

  bool priorities = false;            // the scheduler follows them
  bool trust_special_tokens = false;  // special tokens in messages count as such
};

// One thread (the I/O thread) at a time.
class ServedModel {
 public:
  explicit ServedModel(ServedModelOptions options);
  ~ServedModel();
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  const ServedModelOptions& options() const { return options_; }
  const std::string& name() const { return options_.names.front(); }
  bool Serves(std::string_view name) const;
  const Tokenizer* tokenizer() const { return options_.tokenizer.get(); }

  // A prompt's tokens. InvalidArgument with `param`: no tokenizer, or a text that is certainly
  // longer than the context (found out without tokenizing it, unless `any_length`).
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool special_around,
                                              bool parse_special, bool any_length,
                                              std::string_view param) const;
  // The same for a chat; what users wrote never becomes a special token unless the operator wants.
  absl::StatusOr<std::vector<int32_t>> EncodeChat(const RenderedChat& chat, bool special_around,
                                                  bool any_length) const;
  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // How a token is written in log-probabilities: its text inside a sentence, U+FFFD for bytes that
  // are no character. Kept once computed.
  const std::string& TokenText(int32_t id) const;

  // 400 with OpenAI's code: "This model's maximum context length is N tokens ...".
  absl::Status TooLong(int64_t prompt_tokens, int64_t max_tokens, std::string_view param) const;

 private:
  absl::Status CheckBytes(size_t bytes, std::string_view param) const;

  ServedModelOptions options_;
  size_t longest_token_ = 1;     // bytes
  std::vector<int32_t> anchor_;  // an ordinary word, to see tokens inside a sentence
  std::string anchor_text_;
  mutable std::unordered_map<int32_t, std::string> texts_;
};

}  // namespace folkmoot
