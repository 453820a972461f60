// SPDX-License-Identifier: Apache-2.0
// Beam search, and what models with an encoder are told beside their source.
#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<EarlyStopping> ReadEarlyStopping(const Fields& fields) {
  const Json* json = fields.Get("early_stopping");
  if (json == nullptr || *json == false) return EarlyStopping::kNo;
  if (*json == true) return EarlyStopping::kYes;
  if (*json == "never") return EarlyStopping::kNever;
  return BadField("early_stopping", "early_stopping: expected true, false or \"never\"");
}

}  // namespace

absl::Status ReadBeams(const Fields& fields, ApiRequest* out) {
  if (fields.endpoint() == kGenerateSampling) return absl::OkStatus();
  const std::optional<int64_t> beams = fields.Integer("num_beams");
  const std::optional<int64_t> width = fields.Integer("beam_width");
  if (beams && width && *beams != *width) {
    return BadField("beam_width", "beam_width: {} contradicts num_beams, which is {}", *width,
                    *beams);
  }
  const bool wanted = fields.Boolean("use_beam_search", beams.value_or(width.value_or(1)) > 1);
  if (!wanted) return absl::OkStatus();
  BeamParams& params = out->request.beams;
  params.width = static_cast<int32_t>(beams.value_or(width.value_or(out->request.n)));
  if (out->request.n > params.width) {
    return BadField("n", "n: beam search finds at most num_beams = {} outputs, not {}",
                    params.width, out->request.n);
  }
  params.length_penalty = fields.Number("length_penalty").value_or(1.0);
  FM_ASSIGN_OR_RETURN(params.early_stopping, ReadEarlyStopping(fields));
  return absl::OkStatus();
}

absl::Status ReadLanguages(const Fields& fields, const ServedModel& model, ApiRequest* out) {
  SourceOptions& source = out->source;
  source.source_language = fields.String("source_language").value_or("");
  source.target_language = fields.String("target_language").value_or("");
  if (const std::optional<int64_t> forced = fields.Integer("forced_bos_token_id")) {
    source.forced_bos = static_cast<int32_t>(*forced);
  }
  if (model.options().make_source) return absl::OkStatus();
  for (const char* name : {"source_language", "target_language", "forced_bos_token_id"}) {
    if (fields.Get(name) == nullptr) continue;
    return BadField(name, "{}: this model has no encoder, and translates by its prompt alone",
                    name);
  }
  return absl::OkStatus();
}

absl::Status MakeSource(const ServedModel& model, const ApiRequest& request, std::string_view param,
                        ApiPrompt* prompt) {
  if (!model.options().make_source) return absl::OkStatus();
  if (request.request.prompt_logprobs) {
    return BadField("prompt_logprobs",
                    "this model has an encoder, which reads the prompt: it has no "
                    "log-probabilities (prompt_logprobs, or echo with logprobs)");
  }
  absl::StatusOr<SourcePrompt> made = model.options().make_source(request.source, prompt->ids);
  if (!made.ok()) return BadField(param, "{}", Message(made.status()));
  prompt->ids = std::move(made->tokens);
  prompt->source = made->source;
  prompt->begun = made->begun;
  return absl::OkStatus();
}

}  // namespace folkmoot
