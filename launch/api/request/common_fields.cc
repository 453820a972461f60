// SPDX-License-Identifier: Apache-2.0
// What every request has besides its prompt and sampling: names, forms of the answer,
// tenants, deadlines, and the length of the prompt.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"
#include "xxhash.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

absl::Status ReadIdentity(const Fields& fields, const BuildContext& context,
                          std::string_view id_prefix, ApiRequest* out) {
  const bool generate = fields.endpoint() == kGenerate;
  out->endpoint = fields.endpoint();
  out->created = context.now;
  out->model = context.model->name();
  const char* id_field = generate ? "rid" : "request_id";
  const std::string id = fields.String(id_field).value_or(context.http->id);
  for (const char c : id) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.' || c == ':';
    if (!good) return BadField(id_field, "{}: only letters, digits, - _ . : are allowed", id_field);
  }
  out->id = std::string(id_prefix) + id;
  if (generate) return absl::OkStatus();
  const std::string model = fields.String("model").value_or("");
  if (model.empty() || context.model->Serves(model)) return absl::OkStatus();
  return WithCode(WithParam(NotFound("The model `{}` does not exist.", model), "model"),
                  "model_not_found");
}

absl::Status ReadStream(const Fields& fields, ApiRequest* out) {
  out->stream = fields.Boolean("stream", false);
  if (fields.endpoint() == kGenerate) return absl::OkStatus();
  const Json* options = fields.Get("stream_options");
  if (options == nullptr || options->empty()) return absl::OkStatus();
  if (!out->stream) {
    return BadField("stream_options", "stream_options can only be given with stream: true");
  }
  const auto read = [&](const char* name, bool* value) -> absl::Status {
    const auto found = options->find(name);
    if (found == options->end() || found->is_null()) return absl::OkStatus();
    if (!found->is_boolean()) {
      return BadField("stream_options", "stream_options.{}: expected true or false", name);
    }
    *value = found->get<bool>();
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(read("include_usage", &out->include_usage));
  FM_RETURN_IF_ERROR(read("continuous_usage_stats", &out->continuous_usage));
  out->continuous_usage = out->continuous_usage && out->include_usage;
  return absl::OkStatus();
}

absl::Status ReadTimeout(const Fields& fields, const HttpRequest& http, ApiRequest* out) {
  std::optional<double> seconds = fields.Number("timeout");
  if (const std::string_view header = http.Header("x-request-timeout"); !header.empty()) {
    double value = 0;
    const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), value);
    if (error != std::errc() || end != header.data() + header.size() ||
        !(value >= 0.001 && value <= 86400)) {
      return BadField("X-Request-Timeout",
                      "X-Request-Timeout: expected seconds from 0.001 to 86400");
    }
    seconds = std::min(value, seconds.value_or(value));
  }
  if (seconds) out->timeout = std::chrono::milliseconds(std::llround(*seconds * 1000));
  return absl::OkStatus();
}

// Who asks, for fairness and for the prefix cache: prompts are shared within one API key.
void ReadTenant(const Fields& fields, const BuildContext& context, Request* out) {
  const auto hash = [&](const std::string& text) {
    return XXH3_64bits_withSeed(text.data(), text.size(), context.salt_key);
  };
  const std::string key(context.http->Header("authorization"));
  out->client = hash(key.empty() ? "a" + context.http->client : "k" + key);
  const std::string salt =
      fields.endpoint() == kGenerate ? "" : fields.String("cache_salt").value_or("");
  if (!key.empty() || !salt.empty()) {
    out->cache_salt = hash(fmt::format("{}:{}{}", key.size(), key, salt));
  }
}

absl::Status ReadForms(const Fields& fields, ApiRequest* out) {
  if (fields.endpoint() == kGenerate) return absl::OkStatus();
  out->echo = fields.Boolean("echo", false);
  out->return_token_ids = fields.Boolean("return_token_ids", false);
  out->tokens_as_ids = fields.Boolean("return_tokens_as_token_ids", false);
  out->prompt_logprobs = static_cast<int32_t>(fields.Integer("prompt_logprobs").value_or(-1));
  if (out->prompt_logprobs >= 0 && out->stream) {
    return BadField("prompt_logprobs", "prompt_logprobs are not available with stream: true");
  }
  if (fields.endpoint() == kCompletions) {
    out->logprobs = static_cast<int32_t>(fields.Integer("logprobs").value_or(-1));
  } else {
    const int64_t top = fields.Integer("top_logprobs").value_or(0);
    const bool wanted = fields.Boolean("logprobs", false);
    if (top > 0 && !wanted) {
      return BadField("top_logprobs", "top_logprobs needs logprobs: true");
    }
    if (wanted) out->logprobs = static_cast<int32_t>(top);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadCaller(const Fields& fields, const BuildContext& context,
                        std::string_view id_prefix, ApiRequest* out) {
  FM_RETURN_IF_ERROR(ReadIdentity(fields, context, id_prefix, out));
  FM_RETURN_IF_ERROR(ReadTimeout(fields, *context.http, out));
  ReadTenant(fields, context, &out->request);
  const int64_t priority = fields.Integer("priority").value_or(0);
  if (priority != 0 && !context.model->options().priorities) {
    return BadField("priority",
                    "priority: {} was given, but the server runs without --scheduling-policy "
                    "priority",
                    priority);
  }
  out->request.priority = static_cast<int32_t>(priority);
  FM_ASSIGN_OR_RETURN(out->request.gate, ReadGate(fields, *context.model));
  return absl::OkStatus();
}

absl::Status ReadCommon(const Fields& fields, const BuildContext& context,
                        std::string_view id_prefix, ApiRequest* out) {
  FM_RETURN_IF_ERROR(ReadCaller(fields, context, id_prefix, out));
  FM_RETURN_IF_ERROR(ReadStream(fields, out));
  FM_RETURN_IF_ERROR(ReadForms(fields, out));
  // What the engine must compute so that the answer can be written.
  out->request.logprobs = out->logprobs;
  const bool scores_prompt = out->prompt_logprobs >= 0 ||
                             (out->endpoint == kCompletions && out->echo && out->logprobs >= 0);
  out->request.prompt_logprobs = scores_prompt;
  if (scores_prompt) {
    out->request.top_logprobs = std::max(out->prompt_logprobs, out->echo ? out->logprobs : 0);
    out->request.top_logprobs = std::max(out->request.top_logprobs, 0);
  }
  return absl::OkStatus();
}

absl::Status FitPrompt(const ServedModel& model, const ApiRequest& request,
                       std::optional<int64_t> truncate, int64_t fallback, std::string_view param,
                       ApiPrompt* prompt) {
  const int64_t context = model.options().context;
  if (truncate) {
    if (*truncate == 0) {
      return BadField("truncate_prompt_tokens", "truncate_prompt_tokens: 0 would leave no prompt");
    }
    const int64_t room = context - request.max_tokens.value_or(1);
    const int64_t keep = *truncate < 0 ? std::max<int64_t>(1, room) : *truncate;
    const auto length = static_cast<int64_t>(prompt->ids.size());
    if (length > keep) prompt->ids.erase(prompt->ids.begin(), prompt->ids.end() - keep);
  }
  if (prompt->ids.empty()) return BadField(param, "{}: it is empty; it must have a token", param);
  FM_RETURN_IF_ERROR(MakeSource(model, request, param, prompt));
  const auto length = static_cast<int64_t>(prompt->ids.size());
  const int64_t wanted = request.max_tokens.value_or(-1);
  // Without max_tokens there must be room for one token at least.
  if (length > context || (wanted != 0 && length == context) || length + wanted > context) {
    return model.TooLong(length, wanted, param);
  }
  const int64_t left = context - length;
  prompt->max_tokens = wanted >= 0 ? wanted : (fallback < 0 ? left : std::min(fallback, left));
  return absl::OkStatus();
}

}  // namespace folkmoot
