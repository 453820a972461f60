// SPDX-License-Identifier: Apache-2.0
// POST /v1/embeddings, /score and /rerank: reading the body. Texts become prompts that generate
// nothing; those to compare with others come first.
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<BuiltRequest> Begin(const Fields& fields, const BuildContext& context,
                                   std::string_view id_prefix) {
  BuiltRequest built{.request = {}, .unknown = fields.unknown()};
  FM_RETURN_IF_ERROR(ReadCaller(fields, context, id_prefix, &built.request));
  built.request.max_tokens = 0;
  built.request.request.pooling = context.model->options().pooling;
  return built;
}

absl::Status AddPrompt(const Fields& fields, const ServedModel& model, const Json& source,
                       std::string_view param, bool special, ApiRequest* out) {
  const std::optional<int64_t> truncate = fields.Integer("truncate_prompt_tokens");
  ApiPrompt& prompt = out->prompts.emplace_back();
  if (source.is_string()) {
    prompt.text = source.get<std::string>();
    prompt.from_text = true;
    // Texts to compare are often those of others: nothing in them is a special token.
    const bool parse_special = fields.endpoint() == kEmbeddings;
    FM_ASSIGN_OR_RETURN(
        prompt.ids, model.Encode(prompt.text, special, parse_special, truncate.has_value(), param));
  } else {
    FM_ASSIGN_OR_RETURN(prompt.ids, ReadIds(source, model.options().vocab, param));
  }
  return FitPrompt(model, *out, truncate, /*fallback=*/0, param, &prompt);
}

// An error of one of `many` texts says which.
absl::Status AtPlace(std::string_view param, bool many, size_t index, const absl::Status& status) {
  if (status.ok() || !many) return status;
  const std::string whole(Message(status));
  const std::string field = fmt::format("{}: ", param);
  std::string_view message = whole;
  if (message.starts_with(field)) message.remove_prefix(field.size());
  return WithCode(BadField(param, "{}[{}]: {}", param, index, message), CodeOf(status));
}

// A string or a list of strings.
absl::Status AddTexts(const Fields& fields, const ServedModel& model, const Json& source,
                      std::string_view param, ApiRequest* out) {
  if (source.is_string()) {
    return AddPrompt(fields, model, source, param, /*special=*/true, out);
  }
  for (size_t i = 0; i < source.size(); ++i) {
    FM_RETURN_IF_ERROR(AtPlace(param, /*many=*/true, i,
                               AddPrompt(fields, model, source[i], param, /*special=*/true, out)));
  }
  return absl::OkStatus();
}

// The one of these names that the body has.
absl::StatusOr<std::string_view> OneOf(const Fields& fields,
                                       std::initializer_list<std::string_view> names) {
  std::string_view found;
  for (const std::string_view name : names) {
    if (fields.Get(name) == nullptr) continue;
    if (!found.empty()) return BadField(name, "{}: {} is given already", name, found);
    found = name;
  }
  if (!found.empty()) return found;
  return BadField(*names.begin(), "give one of {}", fmt::join(names, ", "));
}

absl::Status CheckChoice(const Fields& fields, std::string_view name,
                         std::initializer_list<std::string_view> choices) {
  const std::string value = fields.String(name).value_or(std::string(*choices.begin()));
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return absl::OkStatus();
  return BadField(name, "{}: '{}' is not available; expected {}", name, value,
                  fmt::join(choices, " or "));
}

// How the vectors are written.
absl::Status ReadForm(const Fields& fields, const ServedModel& model, VectorForm* form) {
  FM_RETURN_IF_ERROR(CheckChoice(fields, "encoding_format", {"float", "base64"}));
  FM_RETURN_IF_ERROR(CheckChoice(fields, "embed_dtype", {"float32"}));
  FM_RETURN_IF_ERROR(CheckChoice(fields, "endianness", {"native", "little"}));
  form->base64 = fields.String("encoding_format") == "base64";
  form->normalize = fields.Boolean("use_activation", fields.Boolean("normalize", true));
  const int64_t hidden = model.options().hidden;
  const int64_t dimensions = fields.Integer("dimensions").value_or(hidden);
  if (dimensions == hidden) return absl::OkStatus();
  return BadField("dimensions",
                  "dimensions: {} was asked for, but this model's vectors have {} and their "
                  "beginnings mean nothing by themselves: leave the field out",
                  dimensions, hidden);
}

// An answer is written as a whole: the memory for it must not depend on how much a client asks for.
absl::Status CheckAnswerSize(size_t texts, int64_t hidden, bool base64) {
  constexpr double kMaxMegabytes = 64;
  const int64_t bytes_per_number = base64 ? 6 : 13;  // about
  const double megabytes =
      static_cast<double>(texts) * static_cast<double>(hidden * bytes_per_number) / (1 << 20);
  if (megabytes <= kMaxMegabytes) return absl::OkStatus();
  return BadField("input",
                  "input: the vectors of {} texts with {} numbers each would take about {:.0f} MB, "
                  "and an answer may have {:.0f}; send fewer texts per request{}",
                  texts, hidden, megabytes, kMaxMegabytes,
                  base64 ? "" : ", or ask for encoding_format base64");
}

}  // namespace

absl::StatusOr<BuiltRequest> BuildEmbedding(const Json& body, const BuildContext& context) {
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kEmbeddings));
  FM_ASSIGN_OR_RETURN(BuiltRequest built, Begin(fields, context, "embd-"));
  FM_RETURN_IF_ERROR(ReadForm(fields, *context.model, &built.request.vectors));
  const Json* input = fields.Get("input");
  if (input == nullptr) return BadField("input", "input: it is missing");
  FM_ASSIGN_OR_RETURN(const std::vector<const Json*> parts, SplitPrompts(*input, "input"));
  FM_RETURN_IF_ERROR(
      CheckAnswerSize(parts.size(), context.model->options().hidden, built.request.vectors.base64));
  const bool special = fields.Boolean("add_special_tokens", true);
  const bool many = input->is_array() && !input->empty() && !input->front().is_number();
  for (size_t p = 0; p < parts.size(); ++p) {
    FM_RETURN_IF_ERROR(
        AtPlace("input", many, p,
                AddPrompt(fields, *context.model, *parts[p], "input", special, &built.request)));
  }
  return built;
}

absl::StatusOr<BuiltRequest> BuildScore(const Json& body, const BuildContext& context) {
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kScore));
  FM_ASSIGN_OR_RETURN(BuiltRequest built, Begin(fields, context, "score-"));
  FM_ASSIGN_OR_RETURN(const std::string_view first, OneOf(fields, {"text_1", "data_1", "queries"}));
  FM_ASSIGN_OR_RETURN(const std::string_view second,
                      OneOf(fields, {"text_2", "data_2", "documents", "items"}));
  const auto count = [&](std::string_view name) {
    const Json& json = *fields.Get(name);
    return json.is_array() ? json.size() : 1;
  };
  const size_t queries = count(first);
  const size_t documents = count(second);
  if (queries != 1 && queries != documents) {
    return BadField(first, "{}: {} texts for {} of {}: give one, or as many", first, queries,
                    documents, second);
  }
  if (queries + documents > kMaxPrompts) {
    return BadField(second, "{}: {} texts in all, at most {} are allowed", second,
                    queries + documents, kMaxPrompts);
  }
  ApiRequest& out = built.request;
  out.vectors.queries = queries;
  FM_RETURN_IF_ERROR(AddTexts(fields, *context.model, *fields.Get(first), first, &out));
  FM_RETURN_IF_ERROR(AddTexts(fields, *context.model, *fields.Get(second), second, &out));
  return built;
}

absl::StatusOr<BuiltRequest> BuildRerank(const Json& body, const BuildContext& context) {
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kRerank));
  FM_ASSIGN_OR_RETURN(BuiltRequest built, Begin(fields, context, "rerank-"));
  ApiRequest& out = built.request;
  out.vectors = {.queries = 1,
                 .top_n = fields.Integer("top_n").value_or(0),
                 .return_documents = fields.Boolean("return_documents", true)};
  for (const char* name : {"query", "documents"}) {
    if (fields.Get(name) == nullptr) return BadField(name, "{}: it is missing", name);
  }
  FM_RETURN_IF_ERROR(AddTexts(fields, *context.model, *fields.Get("query"), "query", &out));
  const Json& documents = *fields.Get("documents");
  for (size_t d = 0; d < documents.size(); ++d) {
    const Json& item = documents[d];
    const Json* text = &item;
    if (item.is_object() && item.contains("text")) text = &item["text"];
    if (!text->is_string()) {
      return BadField("documents",
                      "documents[{}]: expected a string, or an object with a string text", d);
    }
    FM_RETURN_IF_ERROR(AtPlace("documents", /*many=*/true, d,
                               AddTexts(fields, *context.model, *text, "documents", &out)));
  }
  return built;
}

}  // namespace folkmoot
