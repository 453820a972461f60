// SPDX-License-Identifier: Apache-2.0
// From the text that a model writes to what a client asked for: reasoning, content, tool calls.
//
// Whatever the pieces are in which the text comes, all deltas of a kind together are the same: an
// answer in one piece and a streamed one are made by the same parser. Characters are lost in three
// places only: markers, white space between a marker and the next one, and what stands between the
// JSON of a call and its end marker.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/output/tool_schemas.h"

namespace folkmoot {

struct OutputFormat;

struct OutputDelta {
  enum class Kind : uint8_t { kContent, kReasoning, kToolName, kToolArguments };
  Kind kind = Kind::kContent;
  std::string text;
  int tool = -1;        // which call, from 0; a name comes once, before its arguments
  std::string id = {};  // of a call, beside its name, where the format has ids that models need
};

// Collects deltas; text of the same kind that follows itself becomes one delta.
class OutputDeltas {
 public:
  void Content(std::string_view text) { Add({OutputDelta::Kind::kContent, std::string(text), -1}); }
  void Reasoning(std::string_view text) {
    Add({OutputDelta::Kind::kReasoning, std::string(text), -1});
  }
  void ToolName(int tool, std::string_view name, std::string_view id = {}) {
    Add({OutputDelta::Kind::kToolName, std::string(name), tool, std::string(id)});
  }
  void ToolArguments(int tool, std::string_view json) {
    Add({OutputDelta::Kind::kToolArguments, std::string(json), tool});
  }
  void Add(const OutputDelta& delta);

  const std::vector<OutputDelta>& list() const { return deltas_; }

 private:
  std::vector<OutputDelta> deltas_;
};

// One choice's text. One thread at a time.
class OutputParser {
 public:
  virtual ~OutputParser() = default;

  // Takes the next piece, of any length. Whole characters in, whole characters out.
  virtual void Push(std::string_view piece, OutputDeltas* out) = 0;
  // The text has ended: what was held back comes out. A call that was cut keeps what it has.
  virtual void Finish(OutputDeltas* out) = 0;
};

// Which calls a client wants: tool_choice.
enum class ToolChoice : uint8_t { kNone, kAuto, kRequired, kNamed };

// How the text of one request is to be read.
struct OutputRules {
  const OutputFormat* tools = nullptr;      // set for kAuto
  const OutputFormat* reasoning = nullptr;  // null: reasoning is content
  ToolChoice choice = ToolChoice::kNone;
  std::string named_tool;               // of kNamed
  bool parallel_calls = true;           // false: calls behind the first are left out
  bool prompt_opens_reasoning = false;  // the prompt ends inside of it,
  bool prompt_ends_reasoning = false;   // or right behind it
  // The prompt ends with what the template writes in front of an answer: formats that always open
  // reasoning open it there, and not where the text goes on with a message.
  bool template_begins_answer = false;
  // What the prompt has of the answer, for formats that a model describes.
  std::string answer_begun = {};
  std::shared_ptr<const ToolSchemas> schemas = std::make_shared<const ToolSchemas>();

  // False: the text is the content as it is.
  bool active() const { return reasoning != nullptr || choice != ToolChoice::kNone; }
  bool begins_inside_reasoning() const;
};

std::unique_ptr<OutputParser> MakeOutputParser(const OutputRules& rules);

}  // namespace folkmoot
