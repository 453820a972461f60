// SPDX-License-Identifier: Apache-2.0
#include "launch/serve_model.h"

#include <filesystem>
#include <iterator>

#include "launch/api/output/described/response_template.h"
#include "launch/api/output/formats.h"
#include "launch/version.h"
#include "layers/models/model.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/gguf_model.h"
#include "runtime/file.h"
#include "runtime/grammar/grammar_compiler.h"
#include "runtime/jinja/chat_template.h"
#include "runtime/jinja/message_style.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "spdlog/spdlog.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// The text of tokenizer_config.json, or what it would be for a GGUF file; empty when there is none.
absl::StatusOr<std::string> TokenizerConfigOf(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (!gguf) {
    FM_ASSIGN_OR_RETURN(
        std::optional<std::string> text,
        ReadFileIfThere(model + "/tokenizer_config.json", FaultPoint::kTokenizerRead));
    return std::move(text).value_or("");
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufModel> file, GgufModel::Open(*gguf));
  return GgufTokenizerConfig(*file);
}

// The special tokens of a template that the operator gives.
SpecialTokenTexts SpecialTokensOf(const Tokenizer& tokenizer) {
  SpecialTokenTexts texts;
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (id) texts.emplace_back(name, tokenizer.IdToToken(*id));
  };
  add("bos_token", tokenizer.bos_id());
  add("eos_token", tokenizer.eos_id());
  add("pad_token", tokenizer.pad_id());
  return texts;
}

// `source`: "auto": the model's own; "vllm": neutral values; else a directory.
absl::StatusOr<GenerationConfig> FindGenerationConfig(const std::string& source,
                                                      const std::string& model) {
  if (source == "vllm") return GenerationConfig();
  if (source == "auto") return LoadGenerationConfig(model);
  if (!std::filesystem::is_directory(source)) {
    return NotFound("--generation-config {}: expected auto, vllm or a directory", source);
  }
  return LoadGenerationConfig(source);
}

// None when neither the operator nor the model has one.
absl::StatusOr<ChatTemplates> FindTemplates(const ServeModelOptions& options,
                                            const std::string& directory,
                                            const Tokenizer& tokenizer) {
  if (options.chat_template.empty()) {
    absl::StatusOr<ChatTemplates> own = LoadChatTemplates(directory);
    if (own.status().code() == absl::StatusCode::kNotFound) return ChatTemplates();
    return own;
  }
  if (!std::filesystem::is_regular_file(options.chat_template)) {
    return NotFound("--chat-template {}: no such file", options.chat_template);
  }
  ChatTemplates given;
  FM_ASSIGN_OR_RETURN(const std::string text,
                      ReadFile(options.chat_template, FaultPoint::kConfigRead));
  FM_ASSIGN_OR_RETURN(given.standard,
                      ChatTemplate::Parse(text, options.chat_template, SpecialTokensOf(tokenizer)));
  return given;
}

const OutputFormat* Keep(OutputFormat format, ServedModelOptions* out) {
  out->own_formats.push_back(std::make_shared<const OutputFormat>(std::move(format)));
  return out->own_formats.back().get();
}

// The format that tokenizer_config.json describes, one for tools and reasoning; null: it has none.
absl::StatusOr<const OutputFormat*> OwnFormat(ServedModelOptions* out) {
  for (const auto& kept : out->own_formats) {
    if (kept->response != nullptr) return kept.get();
  }
  const Json config = Json::parse(out->tokenizer_config, nullptr, /*allow_exceptions=*/false);
  const auto found = config.is_object() ? config.find(kResponseTemplate) : config.end();
  if (!config.is_object() || found == config.end() || found->is_null()) return nullptr;
  absl::StatusOr<std::shared_ptr<const ResponseTemplate>> parsed = ResponseTemplate::Parse(*found);
  if (!parsed.ok()) {
    return InvalidArgument(
        "tokenizer_config.json: {}; --tool-call-parser none --reasoning-parser none does without "
        "it",
        Message(parsed.status()));
  }
  return Keep(DescribedFormat(*std::move(parsed), out->tokenizer.get()), out);
}

// The format of a flag: auto, none, or a name that the command line has checked. By itself, what
// the chat template shows comes before what tokenizer_config.json describes.
absl::StatusOr<const OutputFormat*> ChosenFormat(const std::string& name, ResponseField::Use use,
                                                 std::span<const OutputFormat> formats,
                                                 const std::string& chat_template,
                                                 ServedModelOptions* out) {
  const OutputFormat* format =
      name == "auto" ? DetectFormat(formats, chat_template) : FindFormat(formats, name);
  if (format != nullptr) {
    if (!format->takes_suffix || out->tokenizer == nullptr) return format;
    return Keep(WithSuffix(*format, *out->tokenizer), out);
  }
  const bool named = name == kResponseTemplate;
  if (!named && name != "auto") return nullptr;
  FM_ASSIGN_OR_RETURN(const OutputFormat* own, OwnFormat(out));
  if (own != nullptr && own->response->Has(use)) return own;
  if (!named) return nullptr;
  return InvalidArgument(
      "tokenizer_config.json of this model has no response_template {}",
      use == ResponseField::Use::kToolCalls ? "with tool_calls" : "with reasoning");
}

absl::Status AddTemplates(const ServeModelOptions& options, ChatTemplates templates,
                          ServedModelOptions* out) {
  if (templates.standard == nullptr) return absl::OkStatus();
  out->chat_template = templates.standard->source();
  out->template_has_tools = templates.For(/*has_tools=*/true).Mentions("tools");
  const std::string& with_tools = templates.For(/*has_tools=*/true).source();
  FM_ASSIGN_OR_RETURN(out->tool_format,
                      ChosenFormat(options.tool_call_parser, ResponseField::Use::kToolCalls,
                                   ToolFormats(), with_tools, out));
  out->tool_calls_stay_text = options.tool_call_parser == "none";
  FM_ASSIGN_OR_RETURN(out->reasoning_format,
                      ChosenFormat(options.reasoning_parser, ResponseField::Use::kReasoning,
                                   ReasoningFormats(), out->chat_template, out));
  out->style_without_tools = StyleOf(templates.For(/*has_tools=*/false));
  out->style_with_tools = StyleOf(templates.For(/*has_tools=*/true));
  const auto shared = std::make_shared<ChatTemplates>(std::move(templates));
  out->render_chat = [shared](const Json& context) -> absl::StatusOr<RenderedChat> {
    const bool has_tools = context.contains("tools") && !context["tools"].is_null();
    FM_ASSIGN_OR_RETURN(ChatTemplate::Rendered rendered, shared->For(has_tools).Render(context));
    return RenderedChat{.text = std::move(rendered.text), .trusted = std::move(rendered.trusted)};
  };
  return absl::OkStatus();
}

void AddGrammar(const Tokenizer& tokenizer, ServedModelOptions* out) {
  const auto compiler = std::make_shared<GrammarCompiler>(tokenizer, out->vocab, out->eos_ids);
  out->compile_regex = [compiler](std::string_view regex) { return compiler->Regex(regex); };
  out->compile_schema = [compiler](const Json& schema) { return compiler->JsonSchema(schema); };
  out->compile_json_object = [compiler] { return compiler->JsonObject(); };
  out->compile_choice = [compiler](const std::vector<std::string>& choices) {
    return compiler->Choice(choices);
  };
}

MoeLayout LayoutOf(const ServedEngine& engine, const EngineOptions& options) {
  const ModelConfig& config = engine.config;
  MoeLayout layout;
  if (config.moe.experts == 0) return layout;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (config.layers[i].moe) layout.layers.push_back(static_cast<int>(i));
  }
  layout.experts = static_cast<int>(config.moe.experts);
  layout.top_k = engine.gate.top_k;
  layout.ranks = engine.tensor_parallel ? 1 : engine.ranks;
  layout.rank_of_expert = engine.rank_of_expert;
  layout.placement = engine.tensor_parallel ? "tensor-parallel" : options.placement;
  return layout;
}

}  // namespace

absl::StatusOr<LoadedModel> DescribeModel(const ServeModelOptions& options,
                                          const EngineOptions& options_of_engine,
                                          const ServedEngine& engine) {
  const ModelConfig& config = engine.config;
  const SchedulerOptions& scheduler = engine.scheduler;
  const std::string& directory = options_of_engine.model;
  ServedModelOptions out;
  out.names = options.names.empty() ? std::vector<std::string>{directory} : options.names;
  out.root = directory;
  out.context = scheduler.max_model_len;
  out.vocab = scheduler.vocab;
  out.hidden = config.hidden;
  out.pooling = options.pooling == "mean" ? Pooling::kMean : Pooling::kLast;
  out.eos_ids = config.eos_ids;
  out.created = std::chrono::duration_cast<std::chrono::seconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count();
  out.priorities = options.priorities;
  out.trust_special_tokens = options.trust_special_tokens;
  FM_ASSIGN_OR_RETURN(out.defaults, FindGenerationConfig(options.generation_config, directory));
  out.gate_knobs = options.gate_knobs;
  out.check_gate = [config, gate = engine.gate](const std::string& overrides) {
    return OverrideGate(config, gate, overrides).status();
  };
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::OfModel(directory);
  if (!tokenizer.ok() && tokenizer.status().code() != absl::StatusCode::kNotFound) {
    return tokenizer.status();
  }
  if (tokenizer.ok()) {
    out.tokenizer = *std::move(tokenizer);
    if (out.eos_ids.empty() && out.tokenizer->eos_id()) out.eos_ids = {*out.tokenizer->eos_id()};
    FM_ASSIGN_OR_RETURN(out.tokenizer_config, TokenizerConfigOf(directory));
    FM_ASSIGN_OR_RETURN(ChatTemplates templates, FindTemplates(options, directory, *out.tokenizer));
    FM_RETURN_IF_ERROR(AddTemplates(options, std::move(templates), &out));
    AddGrammar(*out.tokenizer, &out);
  }
  if (config.has_encoder()) {
    out.make_source = [config, tokens = out.tokenizer.get()](const SourceOptions& source,
                                                             std::span<const int32_t> ids) {
      return MakeSourcePrompt(config, tokens, source, ids);
    };
  }
  if (scheduler.slots_per_rank > 0 && scheduler.snapshots_per_rank == 0) {
    spdlog::warn(
        "no prefix cache: {} keeps a state per sequence, and --state-snapshots leaves no memory "
        "for copies of it; every prompt is computed whole",
        engine.config.architecture);
  }
  LoadedModel loaded;
  loaded.facts = {.ranks = engine.ranks,
                  .tensor_parallel = engine.tensor_parallel,
                  .kv_tokens = scheduler.blocks_per_rank * scheduler.block_size * scheduler.ranks,
                  .max_num_seqs = scheduler.max_sequences,
                  .max_num_batched_tokens = scheduler.max_batched_tokens};
  loaded.metrics.model_name = out.names.front();
  loaded.metrics.version = BuildVersion();
  loaded.metrics.max_model_len = out.context;
  loaded.metrics.block_size = scheduler.block_size;
  loaded.metrics.total_blocks = scheduler.blocks_per_rank * scheduler.ranks;
  loaded.metrics.prefix_caching = scheduler.prefix_caching;
  loaded.metrics.moe = LayoutOf(engine, options_of_engine);
  loaded.model = std::make_unique<ServedModel>(std::move(out));
  return loaded;
}

}  // namespace folkmoot
