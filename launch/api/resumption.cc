// SPDX-License-Identifier: Apache-2.0
#include "launch/api/resumption.h"

#include <algorithm>
#include <charconv>

#include "launch/api/common/json_body.h"
#include "launch/http/sha256.h"

namespace folkmoot {
namespace {

constexpr auto kRetention = std::chrono::minutes(10);
constexpr size_t kMostAnswers = 10'000;
constexpr std::string_view kPath = "/v1/requests/";
constexpr std::string_view kDigest = "digest ";

// The last event that the client has seen; 0: none.
std::optional<size_t> LastEventOf(const HttpRequest& request) {
  std::string_view text = request.Header("last-event-id");
  const std::string_view query = request.query;
  if (text.empty() && query.starts_with("after=")) text = query.substr(6);
  if (text.empty()) return 0;
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string OwnerOf(const HttpRequest& request) {
  const std::string_view key = request.Header("authorization");
  if (key.empty() || key.starts_with(kDigest)) return std::string(key);
  return std::string(kDigest) + HexText(Sha256(key));
}

HttpRequest WithoutSecrets(HttpRequest request) {
  const std::string owner = OwnerOf(request);
  std::erase_if(request.headers, [](const auto& header) {
    return header.first == "cookie" || header.first == "authorization" ||
           header.first == "proxy-authorization" || header.first == "x-api-key";
  });
  if (!owner.empty()) request.headers.emplace_back("authorization", owner);
  return request;
}

std::vector<std::vector<ChoiceSoFar>> Replay(const JournaledRequest& journaled,
                                             Generation& generation) {
  const size_t prompts = generation.request().prompts.size();
  const auto n = static_cast<size_t>(generation.request().request.n);
  std::vector<std::vector<ChoiceSoFar>> so_far(prompts, std::vector<ChoiceSoFar>(n));
  // A choice that gave no token yet begins anew: nobody has heard of it.
  std::vector<bool> begun(prompts * n);
  const auto index = [&](const JournaledRequest::Event& entry) {
    return entry.prompt * n + static_cast<size_t>(entry.event.choice);
  };
  for (const JournaledRequest::Event& entry : journaled.events) {
    const bool said = entry.event.result.token >= 0 || entry.event.finish != FinishReason::kNone;
    if (index(entry) < begun.size() && said) begun[index(entry)] = true;
  }
  for (const JournaledRequest::Event& entry : journaled.events) {
    if (index(entry) >= begun.size() || !begun[index(entry)]) continue;
    OutputEvent event = entry.event;
    if (!generation.OnEvent(entry.prompt, &event)) continue;
    ChoiceSoFar& choice = so_far[entry.prompt][static_cast<size_t>(event.choice)];
    if (event.result.token >= 0) choice.tokens.push_back(event.result.token);
    choice.ended = event.finish != FinishReason::kNone;
  }
  for (std::vector<ChoiceSoFar>& choices : so_far) {
    const auto fresh = [](const ChoiceSoFar& choice) {
      return choice.tokens.empty() && !choice.ended;
    };
    if (std::all_of(choices.begin(), choices.end(), fresh)) choices.clear();
  }
  return so_far;
}

std::shared_ptr<ResumableExchange> KeptAnswers::Keep(const HttpRequest& request,
                                                     std::shared_ptr<HttpExchange> client) {
  Prune();
  auto answer = std::make_shared<ResumableExchange>(request, std::move(client));
  const auto now = std::chrono::steady_clock::now();
  by_id_[request.id] = {.answer = answer, .owner = OwnerOf(request), .since = now};
  order_.push_back(request.id);
  return answer;
}

void KeptAnswers::Forget(const HttpExchange& answer) {
  const auto found = by_id_.find(answer.request().id);
  if (found != by_id_.end() && found->second.answer.get() == &answer) by_id_.erase(found);
}

void KeptAnswers::Resume(const std::shared_ptr<HttpExchange>& exchange) {
  const HttpRequest& request = exchange->request();
  std::string id = request.path.substr(std::min(kPath.size(), request.path.size()));
  // The id of an answer has the endpoint in front of the request's.
  const auto found = by_id_.find(by_id_.contains(id) ? id : id.substr(id.find('-') + 1));
  if (found == by_id_.end() || found->second.owner != OwnerOf(request)) {
    return exchange->Respond(
        ErrorResponse(404, "no request of this id is kept", "id", "request_not_found"));
  }
  const std::optional<size_t> after = LastEventOf(request);
  if (!after) {
    return exchange->Respond(ErrorResponse(400, "Last-Event-ID must be a number of an event",
                                           "last-event-id", "invalid_value"));
  }
  found->second.answer->Attach(exchange, *after);
}

void KeptAnswers::Prune() {
  const auto now = std::chrono::steady_clock::now();
  for (size_t left = order_.size(); left > 0; --left) {
    const auto found = by_id_.find(order_.front());
    if (found != by_id_.end()) {
      const bool old = now - found->second.since > kRetention || by_id_.size() > kMostAnswers;
      if (!old) return;  // the others came later
      if (found->second.answer->complete()) {
        by_id_.erase(found);
      } else {
        order_.push_back(order_.front());
      }
    }
    order_.pop_front();
  }
}

}  // namespace folkmoot
