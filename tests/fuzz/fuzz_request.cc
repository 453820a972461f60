// SPDX-License-Identifier: Apache-2.0
// Input: the body of a request, of which the first byte chooses the endpoint. Whatever is accepted
// keeps its bounds, and what is refused is the client's fault and says why.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "runtime/check.h"

namespace {

using Builder = absl::StatusOr<folkmoot::BuiltRequest> (*)(const nlohmann::ordered_json&,
                                                           const folkmoot::BuildContext&);

const folkmoot::ServedModel& Model() {
  static const auto model = [] {
    folkmoot::ServedModelOptions options;
    options.names = {"demo"};
    options.root = "models/demo-kjv";
    options.context = 64;
    options.vocab = 4096;
    options.hidden = 8;
    options.eos_ids = {0};
    options.priorities = true;
    options.gate_knobs = {"*"};
    options.check_gate = [](const std::string&) { return absl::OkStatus(); };
    options.render_chat = [](const nlohmann::ordered_json&) {
      return folkmoot::RenderedChat{.text = "x", .trusted = {}};
    };
    auto tokenizer =
        folkmoot::Tokenizer::Load(FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json");
    FM_CHECK(tokenizer.ok());
    options.tokenizer = *std::move(tokenizer);
    return std::make_unique<folkmoot::ServedModel>(std::move(options));
  }();
  return *model;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr Builder kBuilders[] = {folkmoot::BuildCompletion, folkmoot::BuildChat,
                                          folkmoot::BuildGenerate,   folkmoot::BuildEmbedding,
                                          folkmoot::BuildScore,      folkmoot::BuildRerank};
  if (size == 0) return 0;
  const auto body = folkmoot::ParseBody({reinterpret_cast<const char*>(data) + 1, size - 1});
  if (!body.ok()) {
    FM_CHECK(folkmoot::ToErrorResponse(body.status()).status == 400);
    return 0;
  }
  static const folkmoot::HttpRequest http = {.method = "POST", .path = "/x", .id = "abc"};
  const folkmoot::BuildContext context = {.model = &Model(), .http = &http};
  const auto built = kBuilders[data[0] % 6](*body, context);
  if (!built.ok()) {
    const int status = folkmoot::ToErrorResponse(built.status()).status;
    FM_CHECK(status == 400 || status == 404);
    return 0;
  }
  const folkmoot::ApiRequest& request = built->request;
  FM_CHECK(!request.prompts.empty() && request.prompts.size() <= folkmoot::kMaxPrompts);
  FM_CHECK(request.request.n >= 1 && request.request.n <= 1024);
  for (const folkmoot::ApiPrompt& prompt : request.prompts) {
    FM_CHECK(prompt.max_tokens >= 0 && prompt.ids.size() <= 64);
    for (const int32_t id : prompt.ids) FM_CHECK(id >= 0 && id < 4096);
  }
  return 0;
}
