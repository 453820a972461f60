// SPDX-License-Identifier: Apache-2.0
// Chat templates: from a list of messages to the text that a model was trained on.
//
// The template comes with the model and is run in a sandbox: a subset of Jinja without files,
// imports or a way to the host, with bounded steps, texts and depth. What it writes equals what
// Transformers' apply_chat_template writes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

namespace jinja {
struct Program;
}

struct RenderLimits {
  int64_t max_steps = 5'000'000;               // nodes of the template, items of lists
  size_t max_output_bytes = size_t{32} << 20;  // also of every text on the way
  int max_depth = 1200;                        // of calls and expressions inside each other
  // What strftime_now() tells, in local time.
  std::chrono::system_clock::time_point now = std::chrono::system_clock::now();
};

// Names and texts of the tokens that templates may write ("bos_token", "<s>").
using SpecialTokenTexts = std::vector<std::pair<std::string, std::string>>;

// Immutable: any thread may call the const methods at the same time.
class ChatTemplate {
 public:
  // `name_for_errors` stands for the file in messages. Errors: InvalidArgument with the line.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(std::string_view source,
                                                             std::string_view name_for_errors,
                                                             SpecialTokenTexts special_tokens = {});
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  struct Rendered {
    std::string text;
    // The half-open byte ranges of `text` that the template itself wrote: its literals and the
    // special tokens. Sorted, not touching. Everything that came out of the context is outside of
    // them, whatever filters it went through. Tokenizer::EncodeOptions::special_ranges takes it.
    std::vector<std::pair<size_t, size_t>> trusted;
  };

  // `context` is an object: "messages", "tools", "add_generation_prompt" and what else the template
  // reads. Its keys win over the special tokens. Variables that it lacks are undefined; pass null
  // for "tools" and "documents" where there are none, as Transformers does.
  //
  // Errors: InvalidArgument with the template's own message when it calls raise_exception;
  // InvalidArgument "name:line: ..." for other failures; ResourceExhausted beyond the limits.
  absl::StatusOr<Rendered> Render(const nlohmann::ordered_json& context,
                                  const RenderLimits& limits = {}) const;

  // The template as it was given.
  const std::string& source() const { return source_; }
  // Whether the template reads a variable of this name anywhere.
  bool Mentions(std::string_view variable) const;

 private:
  ChatTemplate(std::string source, std::string name, SpecialTokenTexts special_tokens);

  std::string source_;
  std::string name_;
  SpecialTokenTexts special_tokens_;
  std::unique_ptr<const jinja::Program> program_;
};

// The templates of a model directory.
struct ChatTemplates {
  std::unique_ptr<ChatTemplate> standard;
  std::unique_ptr<ChatTemplate> tool_use;  // null: the standard one is for tools too

  // The one for a conversation with or without tools.
  const ChatTemplate& For(bool has_tools) const {
    return has_tools && tool_use ? *tool_use : *standard;
  }
};

// Reads chat_template.jinja (and additional_chat_templates/tool_use.jinja), or else "chat_template"
// of tokenizer_config.json (a string, or a list of {name, template}); special tokens from
// tokenizer_config.json and, for those it lacks, special_tokens_map.json. Of a GGUF file
// (FindGguf), the key tokenizer.chat_template. Errors: NotFound when the model has no template;
// InvalidArgument with file and line.
absl::StatusOr<ChatTemplates> LoadChatTemplates(const std::string& model);

}  // namespace folkmoot
