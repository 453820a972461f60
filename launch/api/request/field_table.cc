// SPDX-License-Identifier: Apache-2.0
#include "launch/api/request/field_table.h"

#include <fmt/format.h>

#include <utility>

namespace folkmoot {
namespace {

constexpr unsigned kText = kCompletions | kChat;
constexpr unsigned kSampling = kText | kGenerateSampling;
constexpr unsigned kTokens = kTokenize | kDetokenize;
constexpr unsigned kCompare = kScore | kRerank;
constexpr unsigned kVectors = kEmbeddings | kCompare;
constexpr double kInt32 = 2147483647;
constexpr double kInt64 = 9223372036854775807.0;
constexpr double kText64 = 1 << 26;  // no field can be longer than the largest body
constexpr auto kYes = FieldUse::kAccepted;
constexpr auto kNo = FieldUse::kRefused;
constexpr auto kSkip = FieldUse::kIgnored;
constexpr auto kInteger = FieldType::kInteger;
constexpr auto kNumber = FieldType::kNumber;
constexpr auto kBoolean = FieldType::kBoolean;
constexpr auto kString = FieldType::kString;
constexpr auto kStrings = FieldType::kStrings;
constexpr auto kIntegers = FieldType::kIntegers;
constexpr auto kObject = FieldType::kObject;
constexpr auto kArray = FieldType::kArray;
constexpr auto kAny = FieldType::kAny;

// clang-format off
constexpr FieldSpec kFields[] = {
    // What to continue.
    {"model", kString, 0, 4096, "the served one", kText | kTokens | kVectors, kYes, "404 when it is another name"},
    {"prompt", kAny, 0, 0, "", kCompletions | kTokenize, kYes, "string, [string], [int] or [[int]]; at most 2048 prompts; /tokenize: a string"},
    {"messages", kArray, 1, 4096, "", kChat | kTokenize, kYes, "content: a string or [{type: text}]; other parts are refused by their type"},
    {"text", kAny, 0, 0, "", kGenerate, kYes, "string or [string]"},
    {"input_ids", kAny, 0, 0, "", kGenerate, kYes, "[int] or [[int]]"},
    {"sampling_params", kObject, 0, 256, "{}", kGenerate, kYes, "the sampling fields below"},
    {"content", kString, 0, kText64, "", kTokenize, kYes, "llama-server's name of prompt; add_special is then false by default"},
    {"tokens", kArray, 0, kText64, "", kDetokenize, kYes, "token ids"},
    {"input", kAny, 0, 0, "", kEmbeddings, kYes, "string, [string], [int] or [[int]]; at most 2048"},
    {"text_1", kStrings, 1, 2048, "", kScore, kYes, "one text for all of text_2, or as many"},
    {"text_2", kStrings, 1, 2048, "", kScore, kYes, "at most 2048 with text_1"},
    {"data_1", kStrings, 1, 2048, "", kScore, kYes, "another name of text_1"},
    {"data_2", kStrings, 1, 2048, "", kScore, kYes, "another name of text_2"},
    {"queries", kStrings, 1, 2048, "", kScore, kYes, "another name of text_1"},
    {"items", kStrings, 1, 2048, "", kScore, kYes, "another name of text_2"},
    {"documents", kStrings, 1, 2048, "", kScore, kYes, "another name of text_2"},
    {"query", kString, 0, kText64, "", kRerank, kYes, ""},
    {"documents", kArray, 1, 2047, "", kRerank, kYes, "[string] or [{text: string}]"},

    // How long, and when to stop.
    {"max_tokens", kInteger, 0, kInt32, "16; chat: what is left of the context", kText, kYes, "0: score the prompt (with echo or prompt_logprobs)"},
    {"max_completion_tokens", kInteger, 0, kInt32, "", kChat, kYes, "wins over max_tokens"},
    {"max_new_tokens", kInteger, 0, kInt32, "128", kGenerateSampling, kYes, ""},
    {"min_tokens", kInteger, 0, kInt32, "0", kText, kYes, "no end token and no stop string before so many; at most max_tokens"},
    {"min_new_tokens", kInteger, 0, kInt32, "0", kGenerateSampling, kYes, ""},
    {"stop", kStrings, 0, 64, "[]", kSampling, kYes, "1 to 1024 bytes each; the text ends before it"},
    {"stop_token_ids", kIntegers, 0, 256, "[]", kSampling, kYes, ""},
    {"ignore_eos", kBoolean, 0, 0, "false", kSampling, kYes, ""},
    {"include_stop_str_in_output", kBoolean, 0, 0, "false", kText, kYes, ""},
    {"no_stop_trim", kBoolean, 0, 0, "false", kGenerateSampling, kYes, "keeps the stop string in the text"},
    {"timeout", kNumber, 0.001, 86400, "--request-timeout", kText | kGenerate | kVectors, kYes, "seconds; may only shorten; also the header X-Request-Timeout"},

    // Which tokens.
    {"n", kInteger, 1, 128, "1", kSampling, kYes, "choices; they share the prompt's cache"},
    {"temperature", kNumber, 0, 100, "generation_config.json, else 1", kSampling, kYes, "0: greedy"},
    {"top_p", kNumber, 1e-6, 1, "generation_config.json, else 1", kSampling, kYes, ""},
    {"top_k", kInteger, -1, kInt32, "generation_config.json, else 0", kSampling, kYes, "0 or -1: all"},
    {"min_p", kNumber, 0, 1, "generation_config.json, else 0", kSampling, kYes, ""},
    {"seed", kInteger, -kInt64, kInt64, "random", kText, kYes, "choice i draws with seed + i"},
    {"sampling_seed", kInteger, -kInt64, kInt64, "random", kGenerateSampling, kYes, ""},
    {"presence_penalty", kNumber, -2, 2, "0", kSampling, kYes, ""},
    {"frequency_penalty", kNumber, -2, 2, "0", kSampling, kYes, ""},
    {"repetition_penalty", kNumber, 0.01, 100, "generation_config.json, else 1", kSampling, kYes, ""},
    {"repeat_penalty", kNumber, 0.01, 100, "", kText, kYes, "llama-server's name of repetition_penalty"},
    {"logit_bias", kObject, 0, 1024, "{}", kSampling, kYes, "{token id: -100 .. 100}"},
    {"allowed_token_ids", kIntegers, 1, 65536, "all", kText, kYes, ""},
    {"bad_words", kStrings, 0, 128, "[]", kText, kYes, "at most 256 bytes each"},

    // Beam search, as generate() of Transformers has it: the n best outputs of num_beams.
    {"use_beam_search", kBoolean, 0, 0, "false", kText, kYes, "vLLM's: with n beams where no number is given"},
    {"num_beams", kInteger, 1, 64, "", kText, kYes, "temperature, top_p, top_k, min_p and seed have no effect then; no penalties, no forms, no log-probabilities of the prompt"},
    {"beam_width", kInteger, 1, 64, "", kText, kYes, "another name of num_beams"},
    {"length_penalty", kNumber, -100, 100, "1", kText, kYes, "log-probability / length ^ length_penalty decides; only with beams"},
    {"early_stopping", kAny, 0, 0, "false", kText, kYes, "true, false or never; only with beams"},

    // Models with an encoder, whose prompt is the source.
    {"source_language", kString, 1, 64, "as the tokenizer says", kCompletions, kYes, "a special token of the vocabulary: eng_Latn"},
    {"target_language", kString, 1, 64, "config.json", kCompletions, kYes, "the special token with which the output begins: fra_Latn"},
    {"forced_bos_token_id", kInteger, 0, kInt32, "config.json", kCompletions, kYes, "the same by its id"},

    // Structured output.
    {"response_format", kObject, 0, 16, "{type: text}", kText, kYes, "type text, json_object or json_schema"},
    {"structured_outputs", kObject, 0, 16, "", kText, kYes, "one of choice, regex, json, json_object; grammar and structural_tag are refused"},
    {"guided_json", kAny, 0, 0, "", kText, kYes, "older name of structured_outputs.json"},
    {"guided_regex", kString, 0, 65536, "", kText, kYes, "older name of structured_outputs.regex"},
    {"guided_choice", kStrings, 1, 1024, "", kText, kYes, "older name of structured_outputs.choice"},
    {"regex", kString, 0, 65536, "", kGenerateSampling, kYes, ""},
    {"json_schema", kString, 0, kText64, "", kGenerateSampling, kYes, "a schema as a string"},

    // What to answer with.
    {"stream", kBoolean, 0, 0, "false", kText | kGenerate, kYes, ""},
    {"stream_options", kObject, 0, 16, "{}", kText, kYes, "include_usage, continuous_usage_stats; only with stream"},
    {"echo", kBoolean, 0, 0, "false", kText, kYes, "the prompt comes first; chat: the last message, where the assistant wrote it"},
    {"logprobs", kInteger, 0, 20, "", kCompletions, kYes, "the best so many at each token; the chosen one is always there"},
    {"logprobs", kBoolean, 0, 0, "false", kChat, kYes, ""},
    {"prompt_logprobs", kInteger, 0, 20, "", kText, kYes, "not with stream"},
    {"top_logprobs", kInteger, 0, 20, "0", kChat, kYes, "needs logprobs: true"},
    {"return_token_ids", kBoolean, 0, 0, "false", kText, kYes, ""},
    {"return_tokens_as_token_ids", kBoolean, 0, 0, "false", kText, kYes, "\"token_id:123\" in log-probabilities"},
    {"return_logprob", kBoolean, 0, 0, "false", kGenerate, kYes, ""},
    {"logprob_start_len", kInteger, -1, kInt32, "-1", kGenerate, kYes, "-1: output tokens only"},
    {"top_logprobs_num", kInteger, 0, 20, "0", kGenerate, kYes, ""},
    {"return_text_in_logprobs", kBoolean, 0, 0, "false", kGenerate, kYes, ""},
    {"encoding_format", kString, 0, 64, "float", kEmbeddings, kYes, "float, or base64 of little-endian float32"},
    {"embed_dtype", kString, 0, 64, "float32", kEmbeddings, kYes, "only float32"},
    {"endianness", kString, 0, 64, "native", kEmbeddings, kYes, "native or little, which are the same"},
    {"dimensions", kInteger, 1, kInt32, "the hidden size", kEmbeddings, kYes, "no other: vectors are not cut"},
    {"use_activation", kBoolean, 0, 0, "true", kEmbeddings, kYes, "divides vectors by their length"},
    {"normalize", kBoolean, 0, 0, "true", kEmbeddings, kYes, "older name of use_activation"},
    {"top_n", kInteger, 0, kInt32, "0", kRerank, kYes, "only the best so many; 0: all"},
    {"return_documents", kBoolean, 0, 0, "true", kRerank, kYes, ""},
    {"skip_special_tokens", kBoolean, 0, 0, "true", kSampling, kYes, ""},

    // How the prompt becomes tokens.
    {"add_special_tokens", kBoolean, 0, 0, "true; messages: false", kText | kTokenize | kEmbeddings, kYes, ""},
    {"add_special", kBoolean, 0, 0, "false", kTokenize, kYes, "llama-server's name, with content"},
    {"truncate_prompt_tokens", kInteger, -1, kInt32, "", kText | kVectors, kYes, "keeps the last so many; -1: as many as the context holds"},
    {"add_generation_prompt", kBoolean, 0, 0, "true", kChat | kTokenize, kYes, ""},
    {"continue_final_message", kBoolean, 0, 0, "false", kChat | kTokenize, kYes, "not with add_generation_prompt: true"},
    {"chat_template_kwargs", kObject, 0, 64, "{}", kChat | kTokenize, kYes, "variables for the template; not messages, tools, documents and other names that the server sets"},
    {"tools", kArray, 0, 256, "[]", kChat | kTokenize, kYes, "shown to the template; see tool calls below"},
    {"tool_choice", kAny, 0, 0, "auto", kChat, kYes, "auto, none, required, {type: function, function: {name}}"},
    {"parallel_tool_calls", kBoolean, 0, 0, "true", kChat, kYes, "false: calls behind the first are left out"},
    {"documents", kArray, 0, 1024, "[]", kChat, kYes, "shown to the template"},
    {"reasoning_effort", kString, 0, 64, "", kChat, kYes, "shown to the template"},
    {"return_token_strs", kBoolean, 0, 0, "false", kTokenize, kYes, ""},
    {"with_pieces", kBoolean, 0, 0, "false", kTokenize, kYes, "llama-server's way to ask for token_strs"},
    {"parse_special", kBoolean, 0, 0, "true", kTokenize, kYes, "whether \"<|im_end|>\" in the text is that token"},

    // How it is run.
    {"priority", kInteger, -kInt32, kInt32, "0", kText | kGenerate | kVectors, kYes, "lower runs earlier; needs --scheduling-policy priority"},
    {"cache_salt", kString, 1, 256, "", kText | kVectors, kYes, "only equal salts (and API keys) share cached prompts"},
    {"request_id", kString, 1, 128, "X-Request-Id, else random", kText | kVectors, kYes, "letters, digits, - _ . :"},
    {"rid", kString, 1, 128, "X-Request-Id, else random", kGenerate, kYes, ""},
    {"gate", kAny, 0, 0, "", kText | kGenerate | kVectors, kYes, "{knob: value} or \"knob=value,...\"; only knobs of --allow-gate-override"},

    // Without effect here.
    {"best_of", kInteger, 1, 128, "", kCompletions, kSkip, "as in vLLM; ask for n"},
    {"user", kString, 0, 4096, "", kText | kVectors, kSkip, ""},
    {"spaces_between_special_tokens", kBoolean, 0, 0, "", kSampling, kSkip, "we add no spaces"},
    {"service_tier", kAny, 0, 0, "", kText, kSkip, ""},
    {"store", kAny, 0, 0, "", kText, kSkip, "nothing is stored"},
    {"metadata", kAny, 0, 0, "", kText, kSkip, ""},
    {"safety_identifier", kAny, 0, 0, "", kText, kSkip, ""},
    {"prompt_cache_key", kAny, 0, 0, "", kText, kSkip, "the prefix cache needs no hint"},
    {"verbosity", kAny, 0, 0, "", kChat, kSkip, ""},
    {"prediction", kAny, 0, 0, "", kChat, kSkip, ""},

    // Not done: better an error than another answer.
    {"suffix", kAny, 0, 0, "", kCompletions, kNo, "no text is inserted"},
    {"prompt_embeds", kAny, 0, 0, "", kCompletions, kNo, "no tensors from outside"},
    {"messages", kAny, 0, 0, "", kEmbeddings, kNo, "use input"},
    {"truncation_side", kAny, 0, 0, "", kVectors, kNo, "the last tokens are kept"},
    {"padding", kAny, 0, 0, "", kVectors, kNo, ""},
    {"chat_template", kAny, 0, 0, "", kChat | kTokenize, kNo, "templates come from the operator"},
    {"functions", kAny, 0, 0, "", kChat, kNo, "use tools"},
    {"function_call", kAny, 0, 0, "", kChat, kNo, "use tool_choice"},
    {"modalities", kAny, 0, 0, "", kChat, kNo, "text only"},
    {"audio", kAny, 0, 0, "", kChat, kNo, "text only"},
    {"web_search_options", kAny, 0, 0, "", kChat, kNo, ""},
    {"mm_processor_kwargs", kAny, 0, 0, "", kChat, kNo, "text only"},
    {"image_data", kAny, 0, 0, "", kGenerate, kNo, "text only"},
    {"audio_data", kAny, 0, 0, "", kGenerate, kNo, "text only"},
    {"input_embeds", kAny, 0, 0, "", kGenerate, kNo, "no tensors from outside"},
    {"return_hidden_states", kAny, 0, 0, "", kGenerate | kText, kNo, ""},
    {"lora_path", kAny, 0, 0, "", kGenerate | kText, kNo, "no adapters"},
    {"guided_grammar", kAny, 0, 0, "", kText, kNo, "use json or regex"},
    {"grammar", kAny, 0, 0, "", kText, kNo, "use structured_outputs"},
    {"ebnf", kAny, 0, 0, "", kSampling, kNo, "use regex or json_schema"},
    {"structural_tag", kAny, 0, 0, "", kSampling, kNo, ""},
    {"logits_processors", kAny, 0, 0, "", kText, kNo, "no code from outside"},
    {"custom_logit_processor", kAny, 0, 0, "", kGenerate, kNo, "no code from outside"},
    {"kv_transfer_params", kAny, 0, 0, "", kText, kNo, ""},
};
// clang-format on

std::string EndpointNames(unsigned endpoints) {
  static constexpr std::pair<Endpoint, std::string_view> kNames[] = {
      {kCompletions, "completions"}, {kChat, "chat"},
      {kGenerate, "generate"},       {kGenerateSampling, "sampling_params"},
      {kTokenize, "tokenize"},       {kDetokenize, "detokenize"},
      {kEmbeddings, "embeddings"},   {kScore, "score"},
      {kRerank, "rerank"},
  };
  std::string out;
  for (const auto& [bit, name] : kNames) {
    if ((endpoints & bit) == 0) continue;
    if (!out.empty()) out += ", ";
    out += name;
  }
  return out;
}

std::string Number(double value) {
  if (value == kInt64) return "2^63 - 1";
  if (value == -kInt64) return "-2^63";
  if (value == kInt32) return "2^31 - 1";
  if (value == -kInt32) return "-2^31 + 1";
  return fmt::format("{}", value);
}

std::string Bounds(const FieldSpec& field) {
  std::string range = fmt::format("{} .. {}", Number(field.min), Number(field.max));
  switch (field.type) {
    case FieldType::kInteger:
    case FieldType::kNumber:
      return range;
    case FieldType::kString:
      return field.max >= kText64 ? "" : range + " bytes";
    case FieldType::kStrings:
    case FieldType::kIntegers:
    case FieldType::kObject:
    case FieldType::kArray:
      return field.max >= kText64 ? "" : range + " entries";
    default:
      return "";
  }
}

std::string Row(const FieldSpec& field) {
  return fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", field.name,
                     EndpointNames(field.endpoints), Name(field.type), Bounds(field),
                     field.fallback, field.note);
}

}  // namespace

std::span<const FieldSpec> FieldTable() { return kFields; }

const FieldSpec* FindField(std::string_view name, Endpoint endpoint) {
  for (const FieldSpec& field : kFields) {
    if ((field.endpoints & endpoint) != 0 && field.name == name) return &field;
  }
  return nullptr;
}

std::string_view Name(FieldType type) {
  switch (type) {
    case FieldType::kInteger:
      return "integer";
    case FieldType::kNumber:
      return "number";
    case FieldType::kBoolean:
      return "boolean";
    case FieldType::kString:
      return "string";
    case FieldType::kStrings:
      return "string or list of strings";
    case FieldType::kIntegers:
      return "list of integers";
    case FieldType::kObject:
      return "object";
    case FieldType::kArray:
      return "list";
    case FieldType::kAny:
      return "";
  }
  return "";
}

std::string RenderFieldTable() {
  static constexpr std::pair<FieldUse, std::string_view> kSections[] = {
      {FieldUse::kAccepted, "### Accepted\n"},
      {FieldUse::kIgnored, "### Accepted without effect\n"},
      {FieldUse::kRefused, "### Refused\n"},
  };
  std::string out;
  for (const auto& [use, title] : kSections) {
    if (!out.empty()) out += "\n";
    out += fmt::format("{}\n| field | endpoints | type | bounds | default | notes |\n", title);
    out += "| --- | --- | --- | --- | --- | --- |\n";
    for (const FieldSpec& field : kFields) {
      if (field.use == use) out += Row(field);
    }
  }
  return out;
}

}  // namespace folkmoot
