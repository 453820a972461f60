// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/output_parser.h"

#include <optional>

#include "launch/api/output/answer_frame.h"
#include "launch/api/output/formats.h"
#include "launch/api/output/reasoning_reader.h"
#include "launch/api/output/tool_reader.h"

namespace folkmoot {
namespace {

// Reasoning first, then text with calls, perhaps in a frame; each may be missing.
class PlainParser : public OutputParser {
 public:
  PlainParser(std::optional<ReasoningReader> reasoning, std::optional<FrameReader> frame,
              std::unique_ptr<CallSyntax> syntax)
      : reasoning_(std::move(reasoning)), frame_(std::move(frame)) {
    if (syntax != nullptr) tools_ = std::make_unique<ToolReader>(std::move(syntax));
  }

  void Push(std::string_view piece, OutputDeltas* out) override {
    if (reasoning_) return PushAnswer(reasoning_->Push(piece, out), out);
    PushAnswer(piece, out);
  }
  void Finish(OutputDeltas* out) override {
    if (reasoning_) PushAnswer(reasoning_->Finish(out), out);
    if (frame_) PushText(frame_->Finish(), out);
    if (tools_ != nullptr) tools_->Finish(out);
  }

 private:
  void PushAnswer(std::string_view text, OutputDeltas* out) {
    if (frame_) return PushText(frame_->Push(text), out);
    PushText(text, out);
  }
  void PushText(std::string_view text, OutputDeltas* out) {
    if (tools_ != nullptr) return tools_->Push(text, out);
    out->Content(text);
  }

  std::optional<ReasoningReader> reasoning_;
  std::optional<FrameReader> frame_;
  std::unique_ptr<ToolReader> tools_;
};

// Passes on what belongs to the first call.
class FirstCallOnly : public OutputParser {
 public:
  explicit FirstCallOnly(std::unique_ptr<OutputParser> parser) : parser_(std::move(parser)) {}

  void Push(std::string_view piece, OutputDeltas* out) override {
    OutputDeltas all;
    parser_->Push(piece, &all);
    Pass(all, out);
  }
  void Finish(OutputDeltas* out) override {
    OutputDeltas all;
    parser_->Finish(&all);
    Pass(all, out);
  }

 private:
  static void Pass(const OutputDeltas& all, OutputDeltas* out) {
    for (const OutputDelta& delta : all.list()) {
      if (delta.tool <= 0) out->Add(delta);
    }
  }

  std::unique_ptr<OutputParser> parser_;
};

std::unique_ptr<CallSyntax> MakeSyntax(const OutputRules& rules) {
  if (rules.choice == ToolChoice::kNone) return nullptr;
  return rules.choice == ToolChoice::kAuto ? rules.tools->make_syntax(rules)
                                           : MakeForcedSyntax(rules);
}

std::unique_ptr<OutputParser> MakeWhole(const OutputRules& rules) {
  const bool tools = rules.choice == ToolChoice::kAuto;
  const OutputFormat* const formats[] = {rules.reasoning, tools ? rules.tools : nullptr};
  for (const OutputFormat* format : formats) {
    if (format != nullptr && format->make_parser != nullptr) return format->make_parser(rules);
  }
  std::optional<ReasoningReader> reasoning;
  if (const OutputFormat* format = rules.reasoning; format != nullptr) {
    reasoning.emplace(format->begin, format->end, rules.begins_inside_reasoning());
  }
  std::optional<FrameReader> frame;
  for (const OutputFormat* format : formats) {
    if (format != nullptr && !format->frames.empty() && !frame) frame.emplace(format->frames);
  }
  return std::make_unique<PlainParser>(std::move(reasoning), std::move(frame), MakeSyntax(rules));
}

}  // namespace

void OutputDeltas::Add(const OutputDelta& delta) {
  const bool name = delta.kind == OutputDelta::Kind::kToolName;
  if (!name && delta.text.empty()) return;
  if (!name && !deltas_.empty() && deltas_.back().kind == delta.kind &&
      deltas_.back().tool == delta.tool) {
    deltas_.back().text += delta.text;
  } else {
    deltas_.push_back(delta);
  }
}

bool OutputRules::begins_inside_reasoning() const {
  if (reasoning == nullptr || prompt_ends_reasoning) return false;
  return prompt_opens_reasoning || (reasoning->always_opens && template_begins_answer);
}

std::unique_ptr<OutputParser> MakeOutputParser(const OutputRules& rules) {
  std::unique_ptr<OutputParser> parser = MakeWhole(rules);
  if (rules.parallel_calls) return parser;
  return std::make_unique<FirstCallOnly>(std::move(parser));
}

}  // namespace folkmoot
