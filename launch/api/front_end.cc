// SPDX-License-Identifier: Apache-2.0
// Main function: FrontEnd::Parts::Generate, the way of one request from its body to the engine.
#include "launch/api/front_end.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "launch/api/answer/answer.h"
#include "launch/api/answer/info_answers.h"
#include "launch/api/common/json_body.h"
#include "launch/api/jobs.h"
#include "launch/api/output/formats.h"
#include "launch/api/request/request_builder.h"
#include "launch/api/request_log.h"
#include "launch/api/resumption.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

enum class ServeState : uint8_t { kLoading, kReady, kDraining, kDead };

uint64_t RandomNumber() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

struct FrontEnd::Parts {
  explicit Parts(FrontEndOptions own) : options(std::move(own)) {}

  using Build = absl::StatusOr<BuiltRequest> (*)(const Json&, const BuildContext&);
  using MakeAnswer = std::unique_ptr<Answer> (*)();
  // How a path's requests are read and answered.
  struct Form {
    Build build;
    MakeAnswer make_answer;
  };
  using Tell = absl::StatusOr<Json> (*)(const ServedModel&, const HttpRequest&);

  // Why nothing can be done now; OK when it can.
  absl::Status Refusal() const;
  bool Ready() const;
  // Refuses what the state does not allow, and 429 with how long to wait.
  void Refuse(HttpExchange& exchange, const absl::Status& status);

  void Generate(const std::shared_ptr<HttpExchange>& exchange, Build build, MakeAnswer make_answer);
  absl::StatusOr<BuiltRequest> Read(const HttpRequest& http, Build build, uint64_t fresh_seed,
                                    int64_t now);
  void GoOn(JournaledRequest journaled);
  std::shared_ptr<Job> Accept(BuiltRequest built, std::shared_ptr<HttpExchange> exchange,
                              MakeAnswer make_answer);
  void SetDeadline(const std::shared_ptr<Job>& job);
  int64_t RetryAfterSeconds() const;

  Route GenerateRoute(const char* path, Build build, MakeAnswer make_answer);
  Handler TellRoute(Tell tell);
  void Load(HttpExchange& exchange) const;
  void ServerInfo(HttpExchange& exchange) const;

  FrontEndOptions options;
  ServeState state = ServeState::kLoading;
  std::string death;
  std::string trouble;
  bool stalled = false;
  std::unique_ptr<ServedModel> model;
  EngineFacts facts;
  EnginePort* engine = nullptr;
  Metrics* metrics = nullptr;
  std::unique_ptr<Jobs> jobs;
  std::map<std::string, Form> forms;  // by path
  RequestJournal* journal = nullptr;
  KeptAnswers kept;
  TrafficCounts traffic;
  RequestLog log;
  std::mt19937_64 seeds{RandomNumber()};
  const uint64_t salt_key = RandomNumber();
};

absl::Status FrontEnd::Parts::Refusal() const {
  switch (state) {
    case ServeState::kLoading:
      return WithCode(Unavailable("the model is still loading"), "loading");
    case ServeState::kDraining:
      return WithCode(Unavailable("the server is shutting down and takes no new requests"),
                      "draining");
    case ServeState::kDead:
      return WithCode(Unavailable("{}", death), "engine_dead");
    case ServeState::kReady:
      break;
  }
  return absl::OkStatus();
}

bool FrontEnd::Parts::Ready() const {
  if (state != ServeState::kReady || stalled) return false;
  const EngineSnapshot snapshot = engine->Snapshot();
  if (snapshot.recovering) return false;
  if (snapshot.running + snapshot.waiting == 0) return true;
  return std::chrono::steady_clock::now() - snapshot.last_step < options.stall_timeout;
}

// Waiting requests over requests that finish per second, lately.
int64_t FrontEnd::Parts::RetryAfterSeconds() const {
  if (engine == nullptr) return 1;
  const EngineSnapshot snapshot = engine->Snapshot();
  if (!(snapshot.finished_per_second > 0)) return 2;
  const double seconds =
      std::ceil(static_cast<double>(snapshot.waiting) / snapshot.finished_per_second);
  return static_cast<int64_t>(std::clamp(seconds, 1.0, 60.0));
}

void FrontEnd::Parts::Refuse(HttpExchange& exchange, const absl::Status& status) {
  HttpResponse response = ToErrorResponse(status);
  if (response.status == 429 || response.status == 503) {
    response.headers.emplace_back("retry-after", std::to_string(RetryAfterSeconds()));
  }
  if (metrics != nullptr) {
    metrics->OnRefused(response.status == 429   ? "queue_full"
                       : response.status == 503 ? "draining"
                                                : "invalid");
  }
  exchange.Respond(std::move(response));
}

void FrontEnd::Parts::Generate(const std::shared_ptr<HttpExchange>& exchange, Build build,
                               MakeAnswer make_answer) {
  if (const absl::Status refusal = Refusal(); !refusal.ok()) return Refuse(*exchange, refusal);
  const HttpRequest& http = exchange->request();
  const auto clock = std::chrono::system_clock::now().time_since_epoch();
  const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock).count();
  const uint64_t fresh_seed = seeds() >> 1;
  absl::StatusOr<BuiltRequest> built = Read(http, build, fresh_seed, now);
  if (!built.ok()) return Refuse(*exchange, built.status());
  std::shared_ptr<HttpExchange> answer = exchange;
  if (journal != nullptr) answer = kept.Keep(http, exchange);
  const std::shared_ptr<Job> job = Accept(*std::move(built), answer, make_answer);
  if (journal != nullptr) {
    job->journal_id = journal->Accept(WithoutSecrets(http), fresh_seed, now);
    journal->Commit();
  }
  if (const absl::Status status = jobs->Start(job); !status.ok()) {
    if (journal != nullptr) journal->End(job->journal_id);
    return Refuse(*exchange, status.code() == absl::StatusCode::kResourceExhausted
                                 ? WithCode(status, "queue_full")
                                 : status);
  }
  ++traffic.requests;
  SetDeadline(job);
  answer->OnGone([this, weak = std::weak_ptr<Job>(job), kept_answer = std::weak_ptr(answer)] {
    if (const auto alive = weak.lock()) jobs->Abandon(alive);
    if (const auto left = kept_answer.lock()) kept.Forget(*left);
  });
}

absl::StatusOr<BuiltRequest> FrontEnd::Parts::Read(const HttpRequest& http, Build build,
                                                   uint64_t fresh_seed, int64_t now) {
  FM_ASSIGN_OR_RETURN(const Json body, ParseBody(http.body));
  return build(body, {.model = model.get(),
                      .http = &http,
                      .salt_key = salt_key,
                      .fresh_seed = fresh_seed,
                      .now = now});
}

// A request of a process that is gone stands where it stood, and goes on if it has not ended.
void FrontEnd::Parts::GoOn(JournaledRequest journaled) {
  const auto form = forms.find(journaled.http.path);
  if (form == forms.end()) return journal->End(journaled.id);
  absl::StatusOr<BuiltRequest> built =
      Read(journaled.http, form->second.build, journaled.fresh_seed, journaled.now);
  if (!built.ok()) return journal->End(journaled.id);
  const std::shared_ptr<Job> job =
      Accept(*std::move(built), kept.Keep(journaled.http, nullptr), form->second.make_answer);
  job->so_far = Replay(journaled, *job->generation);
  if (journaled.ended) return;
  job->journal_id = journaled.id;
  if (job->generation->done()) return journal->End(journaled.id);
  ++traffic.requests;
  jobs->Resume(job);
  SetDeadline(job);
}

std::shared_ptr<Job> FrontEnd::Parts::Accept(BuiltRequest built,
                                             std::shared_ptr<HttpExchange> exchange,
                                             MakeAnswer make_answer) {
  log.Unknown(built.unknown);
  if (options.log_requests) log.Accepted(built.request);
  for (const ApiPrompt& prompt : built.request.prompts) {
    traffic.prompt_tokens += static_cast<int64_t>(prompt.ids.size());
  }
  auto job = std::make_shared<Job>();
  job->generation = std::make_unique<Generation>(std::move(built.request), *model, make_answer(),
                                                 std::move(exchange));
  return job;
}

void FrontEnd::Parts::SetDeadline(const std::shared_ptr<Job>& job) {
  std::chrono::milliseconds timeout = options.request_timeout;
  if (const auto asked = job->generation->request().timeout) {
    timeout = timeout.count() == 0 ? *asked : std::min(timeout, *asked);
  }
  if (timeout.count() == 0 || job->generation->done()) return;
  job->deadline = options.after(timeout, [this, timeout, weak = std::weak_ptr<Job>(job)] {
    const auto alive = weak.lock();
    if (alive == nullptr || alive->generation->done()) return;
    const double seconds = std::chrono::duration<double>(timeout).count();
    jobs->Fail(alive, alive->heard
                          ? WithCode(DeadlineExceeded("the deadline of {} s has passed", seconds),
                                     "deadline_exceeded")
                          : WithCode(DeadlineExceeded("the deadline of {} s has passed before the "
                                                      "first token",
                                                      seconds),
                                     "deadline_exceeded_before_first_token"));
  });
}

Route FrontEnd::Parts::GenerateRoute(const char* path, Build build, MakeAnswer make_answer) {
  forms[path] = {.build = build, .make_answer = make_answer};
  return {"POST", path, false,
          [this, build, make_answer](const std::shared_ptr<HttpExchange>& exchange) {
            Generate(exchange, build, make_answer);
          }};
}

// Answers that need the model and no engine: they are given while the server drains, too.
Handler FrontEnd::Parts::TellRoute(Tell tell) {
  return [this, tell](const std::shared_ptr<HttpExchange>& exchange) {
    if (model == nullptr) return Refuse(*exchange, Refusal());
    const absl::StatusOr<Json> json = tell(*model, exchange->request());
    exchange->Respond(json.ok() ? HttpResponse{.status = 200, .body = Dump(*json)}
                                : ToErrorResponse(json.status()));
  };
}

void FrontEnd::Parts::Load(HttpExchange& exchange) const {
  const size_t load = jobs == nullptr ? 0 : jobs->size();
  exchange.Respond({.status = 200, .body = Dump({{"server_load", load}})});
}

void FrontEnd::Parts::ServerInfo(HttpExchange& exchange) const {
  if (model == nullptr) return exchange.Respond(ToErrorResponse(Refusal()));
  Json json = ModelInfoJson(*model);
  json["served_model_name"] = model->name();
  json["version"] = options.version;
  json["context_length"] = model->options().context;
  json["tp_size"] = facts.tensor_parallel ? facts.ranks : 1;
  json["ep_size"] = facts.tensor_parallel ? 1 : facts.ranks;
  json["max_total_num_tokens"] = facts.kv_tokens;
  json["max_running_requests"] = facts.max_num_seqs;
  json["max_num_batched_tokens"] = facts.max_num_batched_tokens;
  const auto name = [](const OutputFormat* format) {
    return format == nullptr ? Json() : Json(format->name());
  };
  json["tool_call_parser"] = name(model->options().tool_format);
  json["reasoning_parser"] = name(model->options().reasoning_format);
  json["internal_states"] = Json::array({Json::object()});
  exchange.Respond({.status = 200, .body = Dump(json)});
}

FrontEnd::FrontEnd(FrontEndOptions options) : parts_(std::make_unique<Parts>(std::move(options))) {}
FrontEnd::~FrontEnd() = default;

std::vector<Route> FrontEnd::Routes() {
  Parts* parts = parts_.get();
  const auto ok = [](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->Respond({.status = 200, .body = ""});
  };
  // Live: this thread answers, and the engine has not ended.
  const Handler health = [parts, ok](const std::shared_ptr<HttpExchange>& exchange) {
    if (parts->state != ServeState::kDead) return ok(exchange);
    exchange->Respond(ToErrorResponse(parts->Refusal()));
  };
  const Handler ready = [parts, ok](const std::shared_ptr<HttpExchange>& exchange) {
    if (parts->Ready()) return ok(exchange);
    const absl::Status refusal = parts->Refusal();
    const std::string why = parts->trouble.empty() ? "no step has ended lately" : parts->trouble;
    exchange->Respond(
        ToErrorResponse(refusal.ok() ? WithCode(Unavailable("{}", why), "stalled") : refusal));
  };
  const Handler version = [parts](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->Respond({.status = 200, .body = Dump({{"version", parts->options.version}})});
  };
  const Handler load = [parts](const std::shared_ptr<HttpExchange>& exchange) {
    parts->Load(*exchange);
  };
  const Handler info = [parts](const std::shared_ptr<HttpExchange>& exchange) {
    parts->ServerInfo(*exchange);
  };
  const Handler resume = [parts](const std::shared_ptr<HttpExchange>& exchange) {
    if (parts->jobs == nullptr) return parts->Refuse(*exchange, parts->Refusal());
    parts->kept.Resume(exchange);
  };
  const auto tell = [parts](Parts::Tell function) { return parts->TellRoute(function); };
  return {
      parts->GenerateRoute("/v1/completions", BuildCompletion, MakeCompletionAnswer),
      parts->GenerateRoute("/v1/chat/completions", BuildChat, MakeChatAnswer),
      parts->GenerateRoute("/generate", BuildGenerate, MakeGenerateAnswer),
      parts->GenerateRoute("/v1/embeddings", BuildEmbedding, MakeEmbeddingAnswer),
      parts->GenerateRoute("/score", BuildScore, MakeScoreAnswer),
      parts->GenerateRoute("/v1/score", BuildScore, MakeScoreAnswer),
      parts->GenerateRoute("/rerank", BuildRerank, MakeRerankAnswer),
      parts->GenerateRoute("/v1/rerank", BuildRerank, MakeRerankAnswer),
      parts->GenerateRoute("/v2/rerank", BuildRerank, MakeRerankAnswer),
      {"GET", "/v1/requests/*", false, resume},
      {"GET", "/v1/models", false, tell(TellModels)},
      {"GET", "/v1/models/*", false, tell(TellModel)},
      {"POST", "/tokenize", false, tell(TellTokenize)},
      {"POST", "/detokenize", false, tell(TellDetokenize)},
      {"GET", "/tokenizer_info", false, tell(TellTokenizerInfo)},
      {"GET", "/get_model_info", false, tell(TellModelInfo)},
      {"GET", "/model_info", false, tell(TellModelInfo)},
      {"GET", "/server_info", false, info},
      {"GET", "/get_server_info", false, info},
      {"GET", "/health", true, health},
      {"GET", "/ready", true, ready},
      {"GET", "/ping", false, health},
      {"POST", "/ping", false, health},
      {"GET", "/load", false, load},
      {"GET", "/version", false, version},
  };
}

void FrontEnd::Attach(std::unique_ptr<ServedModel> model, const EngineFacts& facts,
                      EnginePort& engine, Metrics* metrics) {
  parts_->model = std::move(model);
  parts_->facts = facts;
  parts_->engine = &engine;
  parts_->metrics = metrics;
  parts_->jobs =
      std::make_unique<Jobs>(engine, metrics, parts_->options.after, parts_->options.ping_interval,
                             parts_->options.queue_places);
  if (parts_->state == ServeState::kLoading) parts_->state = ServeState::kReady;
}

void FrontEnd::UseJournal(RequestJournal& journal) {
  parts_->journal = &journal;
  parts_->jobs->set_journal(&journal);
  for (JournaledRequest& request : journal.TakeRequests()) parts_->GoOn(std::move(request));
  journal.Commit();
}

void FrontEnd::OnEvents(std::vector<OutputEvent> events) {
  for (const OutputEvent& event : events) {
    if (event.result.token >= 0) ++parts_->traffic.output_tokens;
  }
  if (parts_->jobs != nullptr) parts_->jobs->OnEvents(&events);
  if (parts_->metrics != nullptr) parts_->metrics->OnEvents(events);
}

void FrontEnd::SetTrouble(std::string why, bool stalled) {
  parts_->trouble = std::move(why);
  parts_->stalled = stalled;
}

void FrontEnd::Drain() {
  if (parts_->state != ServeState::kDead) parts_->state = ServeState::kDraining;
}

void FrontEnd::EngineEnded(std::string_view reason) {
  parts_->state = ServeState::kDead;
  parts_->death = reason;
  if (parts_->jobs != nullptr) parts_->jobs->FailAll(parts_->Refusal());
}

bool FrontEnd::ready() const { return parts_->Ready(); }
size_t FrontEnd::running() const { return parts_->jobs == nullptr ? 0 : parts_->jobs->size(); }
const TrafficCounts& FrontEnd::traffic() const { return parts_->traffic; }

}  // namespace folkmoot
