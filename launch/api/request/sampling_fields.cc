// SPDX-License-Identifier: Apache-2.0
// The fields that say how tokens are chosen and where the text ends. They mean the same at every
// endpoint; a few have other names in SGLang's sampling_params.
#include <algorithm>
#include <charconv>
#include <map>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::vector<int32_t>> ReadIdList(const Fields& fields, std::string_view name,
                                                const ServedModel& model) {
  const Json* json = fields.Get(name);
  if (json == nullptr) return std::vector<int32_t>();
  return ReadIds(*json, model.options().vocab, fields.Path(name));
}

absl::Status ReadLogitBias(const Fields& fields, const ServedModel& model, SamplingParams* out) {
  const Json* json = fields.Get("logit_bias");
  if (json == nullptr) return absl::OkStatus();
  const std::string param = fields.Path("logit_bias");
  std::map<int32_t, float> biases;
  for (const auto& [key, value] : json->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        id >= model.options().vocab) {
      return BadField(param, "{}: a key is not a token id of this model, which has 0 to {}", param,
                      model.options().vocab - 1);
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      return BadField(param, "{}: the bias of token {} is not a number from -100 to 100", param,
                      id);
    }
    biases[id] = value.get<float>();
  }
  out->logit_bias.assign(biases.begin(), biases.end());
  return absl::OkStatus();
}

// A word is forbidden as it stands at the start of a text, and behind a space where that is as many
// other tokens (vLLM's rule).
absl::Status ReadBadWords(const Fields& fields, const ServedModel& model, SamplingParams* out) {
  for (const std::string& raw : fields.Strings("bad_words")) {
    const std::string param = fields.Path("bad_words");
    const std::string word = raw.substr(std::min(raw.find_first_not_of(' '), raw.size()));
    if (word.empty() || raw.size() > kMaxBadWordBytes) {
      return BadField(param, "{}: each must have 1 to {} bytes", param, kMaxBadWordBytes);
    }
    const auto encode = [&](const std::string& text) {
      return model.Encode(text, /*special_around=*/false, /*parse_special=*/true,
                          /*any_length=*/false, param);
    };
    FM_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, encode(word));
    FM_ASSIGN_OR_RETURN(const std::vector<int32_t> spaced, encode(" " + word));
    if (!plain.empty()) out->bad_words.push_back(plain);
    if (spaced.size() == plain.size() && spaced != plain) out->bad_words.push_back(spaced);
  }
  return absl::OkStatus();
}

absl::Status ReadStops(const Fields& fields, const ServedModel& model, ApiRequest* out) {
  const bool generate = fields.endpoint() == kGenerateSampling;
  std::vector<std::string> stops = fields.Strings("stop");
  for (const std::string& stop : stops) {
    const std::string param = fields.Path("stop");
    if (stop.empty()) return BadField(param, "{}: cannot contain an empty string", param);
    if (stop.size() > kMaxStopBytes) {
      return BadField(param, "{}: a string of {} bytes, at most {} are allowed", param, stop.size(),
                      kMaxStopBytes);
    }
  }
  if (!stops.empty() && model.tokenizer() == nullptr) {
    return BadField(fields.Path("stop"), "stop: this model has no tokenizer.json");
  }
  out->text.stops = std::make_shared<const StopStrings>(std::move(stops));
  out->text.include_stop =
      fields.Boolean(generate ? "no_stop_trim" : "include_stop_str_in_output", false);
  out->text.skip_special_tokens = fields.Boolean("skip_special_tokens", true);

  FM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, ReadIdList(fields, "stop_token_ids", model));
  if (!fields.Boolean("ignore_eos", false)) {
    ids.insert(ids.end(), model.options().eos_ids.begin(), model.options().eos_ids.end());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  out->request.stop_ids = std::move(ids);
  return absl::OkStatus();
}

absl::Status ReadLengths(const Fields& fields, ApiRequest* out) {
  const bool generate = fields.endpoint() == kGenerateSampling;
  if (generate) {
    out->max_tokens = fields.Integer("max_new_tokens");
  } else {
    if (fields.endpoint() == kChat) out->max_tokens = fields.Integer("max_completion_tokens");
    if (!out->max_tokens) out->max_tokens = fields.Integer("max_tokens");
  }
  const char* name = generate ? "min_new_tokens" : "min_tokens";
  const int64_t min_tokens = fields.Integer(name).value_or(0);
  if (out->max_tokens && min_tokens > *out->max_tokens) {
    return BadField(fields.Path(name), "{}: {} is more than max_tokens, which is {}", name,
                    min_tokens, *out->max_tokens);
  }
  out->request.sampling.min_tokens = min_tokens;
  out->text.min_tokens = min_tokens;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadSampling(const Fields& fields, const ServedModel& model, uint64_t fresh_seed,
                          ApiRequest* out) {
  const bool generate = fields.endpoint() == kGenerateSampling;
  const GenerationConfig& defaults = model.options().defaults;
  SamplingParams& sampling = out->request.sampling;
  const auto number = [&](std::string_view name, float fallback) {
    return static_cast<float>(fields.Number(name).value_or(static_cast<double>(fallback)));
  };
  sampling.temperature = number("temperature", defaults.temperature);
  sampling.top_p = number("top_p", defaults.top_p);
  sampling.min_p = number("min_p", defaults.min_p);
  sampling.top_k = static_cast<int32_t>(fields.Integer("top_k").value_or(defaults.top_k));
  sampling.presence_penalty = number("presence_penalty", 0);
  sampling.frequency_penalty = number("frequency_penalty", 0);
  const float repeat = generate ? defaults.repetition_penalty
                                : number("repeat_penalty", defaults.repetition_penalty);
  sampling.repetition_penalty = number("repetition_penalty", repeat);
  const std::optional<int64_t> seed = fields.Integer(generate ? "sampling_seed" : "seed");
  sampling.seed = seed ? static_cast<uint64_t>(*seed) : fresh_seed;
  out->request.n = static_cast<int32_t>(fields.Integer("n").value_or(1));

  FM_RETURN_IF_ERROR(ReadBeams(fields, out));
  FM_RETURN_IF_ERROR(ReadLengths(fields, out));
  FM_RETURN_IF_ERROR(ReadStops(fields, model, out));
  if (sampling.min_tokens > 0) sampling.suppressed_ids = out->request.stop_ids;
  FM_RETURN_IF_ERROR(ReadLogitBias(fields, model, &sampling));
  if (generate) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(sampling.allowed_ids, ReadIdList(fields, "allowed_token_ids", model));
  std::sort(sampling.allowed_ids.begin(), sampling.allowed_ids.end());
  sampling.allowed_ids.erase(std::unique(sampling.allowed_ids.begin(), sampling.allowed_ids.end()),
                             sampling.allowed_ids.end());
  return ReadBadWords(fields, model, &sampling);
}

}  // namespace folkmoot
