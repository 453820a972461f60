// SPDX-License-Identifier: Apache-2.0
// What a prompt and a form of the output mean for the model's reasoning.
#include "launch/api/output/described/response_template.h"
#include "launch/api/output/formats.h"
#include "launch/api/request/late_constraint.h"
#include "launch/api/request/request_builder.h"

namespace folkmoot {
namespace {

// The token that a marker is, among those that the model scores; -1: none.
int32_t TokenOf(const ServedModel& model, std::string_view marker) {
  if (model.tokenizer() == nullptr || marker.empty()) return -1;
  const std::optional<int32_t> id = model.tokenizer()->TokenToId(marker);
  return id && *id < model.options().vocab ? *id : -1;
}

}  // namespace

void SetReasoningStart(const RenderedChat& chat, bool begins_answer, OutputRules* rules) {
  if (!rules->active() || chat.trusted.empty()) return;
  // Only what the template wrote counts, and only at the very end.
  const auto [from, to] = chat.trusted.back();
  if (to != chat.text.size()) return;
  std::string_view tail = std::string_view(chat.text).substr(from);
  for (const OutputFormat* format : {rules->tools, rules->reasoning}) {
    if (format == nullptr || format->response == nullptr) continue;
    rules->answer_begun = format->response->Begun(tail);
  }
  if (rules->reasoning == nullptr) return;
  rules->template_begins_answer = begins_answer;
  while (!tail.empty() && IsJsonSpace(tail.back())) tail.remove_suffix(1);
  const auto ends_with = [&](std::string_view marker) {
    return !marker.empty() && tail.ends_with(marker);
  };
  rules->prompt_opens_reasoning = ends_with(rules->reasoning->begin);
  rules->prompt_ends_reasoning = ends_with(rules->reasoning->end);
}

void LetReasoningComeFirst(const ServedModel& model, ApiRequest* out) {
  OutputRules& rules = out->output;
  std::shared_ptr<const TokenConstraint>& form = out->request.constraint;
  if (form == nullptr || rules.reasoning == nullptr) return;
  LateConstraint::Marks marks = {.begin = TokenOf(model, rules.reasoning->begin),
                                 .end = TokenOf(model, rules.reasoning->end),
                                 .inside = rules.begins_inside_reasoning(),
                                 .vocab = model.options().vocab,
                                 .end_ids = model.options().eos_ids};
  if (rules.prompt_ends_reasoning || marks.begin < 0 || marks.end < 0) {
    rules.reasoning = nullptr;  // the text begins with the form
    return;
  }
  form = std::make_shared<const LateConstraint>(form->Clone(), std::move(marks));
}

void ShowMarkers(const ServedModel& model, const OutputRules& rules, TextRules* text) {
  if (model.tokenizer() == nullptr || !rules.active()) return;
  const bool calls = rules.choice == ToolChoice::kAuto;
  for (const OutputFormat* format : {calls ? rules.tools : nullptr, rules.reasoning}) {
    if (format == nullptr) continue;
    for (const std::string_view marker : format->markers) {
      const std::optional<int32_t> id = model.tokenizer()->TokenToId(marker);
      if (id && model.tokenizer()->IsSpecial(*id)) text->shown_special.push_back(*id);
    }
  }
}

}  // namespace folkmoot
