// SPDX-License-Identifier: Apache-2.0
#include "launch/api/answer/generation_state.h"

namespace folkmoot {
namespace {

// Choices of one request share the prompt: its losses count once, with the first choice.
void AddChoice(const ChoiceState& choice, bool with_prompt, Usage* usage) {
  usage->completion_tokens += static_cast<int64_t>(choice.tokens.size());
  usage->drafted += choice.drafted;
  usage->accepted += choice.accepted;
  for (const DropCounts& drops : choice.drops) {
    usage->rejected += drops.rejected - (with_prompt ? 0 : drops.prompt_rejected);
    usage->overflow += drops.overflow - (with_prompt ? 0 : drops.prompt_overflow);
  }
}

void AddPrompt(const GenerationState& state, size_t prompt, Usage* usage) {
  usage->prompt_tokens += static_cast<int64_t>(state.request.prompts[prompt].ids.size());
  usage->cached_tokens += state.prompts[prompt].cached_tokens;
}

}  // namespace

Usage UsageOf(const GenerationState& state) {
  Usage usage;
  for (size_t p = 0; p < state.prompts.size(); ++p) AddPrompt(state, p, &usage);
  for (size_t c = 0; c < state.choices.size(); ++c) {
    const ChoiceState& choice = state.choices[c];
    const bool first = c == 0 || state.choices[c - 1].prompt != choice.prompt;
    AddChoice(choice, first, &usage);
  }
  return usage;
}

Usage UsageOf(const GenerationState& state, const ChoiceState& choice) {
  Usage usage;
  AddPrompt(state, choice.prompt, &usage);
  AddChoice(choice, /*with_prompt=*/true, &usage);
  return usage;
}

}  // namespace folkmoot
