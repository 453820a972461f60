// SPDX-License-Identifier: Apache-2.0
// folkmoot score: the log-probability of every token of given texts, and how each was routed. One
// JSON line in, one out, in the order of the input.
#include <fstream>
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "launch/commands/commands.h"
#include "launch/launcher.h"
#include "launch/receipt.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

struct ScoreOptions {
  EngineOptions engine;
  std::string input = "-";
  int32_t top_logprobs = 0;
  bool trace_routing = false;
};

// What has come back of one line so far.
struct Scored {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;
  std::vector<TokenLogprob> top;
  std::map<int32_t, RoutingTrace> routing;  // by layer, tokens appended
  Receipt receipt;
  std::string error;
};

absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const nlohmann::json& list,
                                                  std::string_view name) {
  if (!list.is_array()) return InvalidArgument("'{}' must be a list of integers", name);
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > 2147483647) {
      return InvalidArgument("'{}' holds {}; expected integers from 0 up", name, id.dump());
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// The token ids that a line asks for, behind what an encoder reads ('source_ids').
absl::StatusOr<std::vector<int32_t>> ParseLine(const ScoreOptions& options, const std::string& line,
                                               std::unique_ptr<Tokenizer>* tokenizer,
                                               int64_t* source) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("not valid JSON");
  if (!json.is_object()) return InvalidArgument("expected an object with 'token_ids' or 'text'");
  for (const auto& [key, value] : json.items()) {
    if (key != "token_ids" && key != "text" && key != "source_ids") {
      return InvalidArgument("unknown field '{}'; expected 'token_ids', 'text' or 'source_ids'",
                             key);
    }
  }
  if (json.contains("token_ids") == json.contains("text")) {
    return InvalidArgument("give exactly one of 'token_ids' and 'text'");
  }
  std::vector<int32_t> ids;
  if (json.contains("source_ids")) {
    FM_ASSIGN_OR_RETURN(ids, ReadTokenIds(json["source_ids"], "source_ids"));
    *source = std::ssize(ids);
  }
  if (json.contains("text")) {
    if (*source > 0) return InvalidArgument("with 'source_ids' give 'token_ids', not 'text'");
    if (!json["text"].is_string()) return InvalidArgument("'text' must be a string");
    if (*tokenizer == nullptr) {
      FM_ASSIGN_OR_RETURN(*tokenizer, Tokenizer::OfModel(options.engine.model));
    }
    return (*tokenizer)->Encode(json["text"].get<std::string>());
  }
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> own, ReadTokenIds(json["token_ids"], "token_ids"));
  ids.insert(ids.end(), own.begin(), own.end());
  return ids;
}

void Append(const SequenceResult& result, Scored* scored) {
  scored->logprobs.insert(scored->logprobs.end(), result.target_logprobs.begin(),
                          result.target_logprobs.end());
  scored->top.insert(scored->top.end(), result.top_logprobs.begin(), result.top_logprobs.end());
  if (!result.drops.empty()) scored->receipt.Add(result);
  if (!result.error.empty()) scored->error = result.error;
  for (const RoutingTrace& trace : result.routing) {
    RoutingTrace& sum = scored->routing[trace.layer];
    sum.layer = trace.layer;
    sum.top_k = trace.top_k;
    const auto append = [](const auto& from, auto* to) {
      to->insert(to->end(), from.begin(), from.end());
    };
    append(trace.expert, &sum.expert);
    append(trace.weight, &sum.weight);
    append(trace.state, &sum.state);
    append(trace.place, &sum.place);
  }
}

Json RoutingJson(const RoutingTrace& trace) {
  static constexpr const char* kStates[] = {"kept", "rejected", "overflow"};
  Json tokens = Json::array();
  const auto k = static_cast<size_t>(trace.top_k);
  for (size_t t = 0; t * k < trace.expert.size(); ++t) {
    Json token = {{"experts", Json::array()},
                  {"weight", Json::array()},
                  {"state", Json::array()},
                  {"pos", Json::array()}};
    for (size_t c = t * k; c < (t + 1) * k; ++c) {
      token["experts"].push_back(trace.expert[c]);
      token["weight"].push_back(trace.weight[c]);
      token["state"].push_back(kStates[trace.state[c]]);
      token["pos"].push_back(trace.place[c] < 0 ? Json(nullptr) : Json(trace.place[c]));
    }
    tokens.push_back(std::move(token));
  }
  return {{"layer", trace.layer}, {"tokens", std::move(tokens)}};
}

Json ToJson(const ScoreOptions& options, const Scored& scored) {
  Json out = {{"token_ids", scored.token_ids}, {"logprobs", {nullptr}}};
  double sum = 0;
  for (const float logprob : scored.logprobs) {
    out["logprobs"].push_back(logprob);
    sum += static_cast<double>(logprob);
  }
  out["sum_logprob"] = sum;
  if (options.top_logprobs > 0) {
    const size_t k = scored.logprobs.empty() ? 0 : scored.top.size() / scored.logprobs.size();
    out["top_logprobs"] = {nullptr};
    for (size_t i = 0; i < scored.logprobs.size(); ++i) {
      Json best = Json::array();
      for (size_t j = i * k; j < (i + 1) * k; ++j) {
        best.push_back({{"token_id", scored.top[j].token}, {"logprob", scored.top[j].logprob}});
      }
      out["top_logprobs"].push_back(std::move(best));
    }
  }
  if (options.trace_routing) {
    out["routing"] = Json::array();
    for (const auto& [layer, trace] : scored.routing) out["routing"].push_back(RoutingJson(trace));
  }
  out["moe"] = scored.receipt.ToJson();
  return out;
}

// Lines in flight, printed in the order of the input as soon as the first of them is complete.
class Scoreboard {
 public:
  explicit Scoreboard(const ScoreOptions& options) : options_(options) {}

  void Add(int64_t id, std::vector<int32_t> ids) { open_[id].scored.token_ids = std::move(ids); }
  size_t open() const { return open_.size(); }

  void OnEvent(const RequestEvent& event) {
    Line& line = open_.at(event.id);
    if (event.result != nullptr) Append(*event.result, &line.scored);
    line.done = event.finish != FinishReason::kNone;
    while (!open_.empty() && open_.begin()->second.done) {
      const Scored& scored = open_.begin()->second.scored;
      const Json out =
          scored.error.empty() ? ToJson(options_, scored) : Json{{"error", scored.error}};
      fmt::print("{}\n", out.dump());
      if (!scored.error.empty()) status_ = DataLoss("a line could not be scored: {}", scored.error);
      open_.erase(open_.begin());
    }
    std::fflush(stdout);
  }

  // The last line that could not be scored, if any.
  const absl::Status& status() const { return status_; }

 private:
  struct Line {
    Scored scored;
    bool done = false;
  };
  const ScoreOptions& options_;
  std::map<int64_t, Line> open_;
  absl::Status status_;
};

absl::Status ScoreLines(const ScoreOptions& options, std::istream& input, Engine& engine) {
  std::unique_ptr<Tokenizer> tokenizer;  // only needed for texts
  Scoreboard board(options);
  const auto on_event = [&](const RequestEvent& event) { board.OnEvent(event); };
  std::string line;
  for (int64_t number = 1; std::getline(input, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{} line {}", options.input, number);
    Request request;
    absl::StatusOr<std::vector<int32_t>> ids =
        ParseLine(options, line, &tokenizer, &request.source);
    if (!ids.ok()) return Annotate(ids.status(), where);
    request.prompt = *ids;
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    request.top_logprobs = options.top_logprobs;
    request.trace_routing = options.trace_routing;
    ids->erase(ids->begin(), ids->begin() + static_cast<std::ptrdiff_t>(request.source));
    const absl::StatusOr<int64_t> id = engine.Submit(std::move(request));
    if (!id.ok()) return Annotate(id.status(), where);
    board.Add(*id, *std::move(ids));
    while (board.open() >= 256) FM_RETURN_IF_ERROR(engine.Step(on_event));  // read no further ahead
  }
  FM_RETURN_IF_ERROR(engine.Drain(on_event));
  return board.status();
}

absl::Status Score(const ScoreOptions& options) {
  return RunWithEngine(options.engine, [&](Engine& engine, LoadedRank&) -> absl::Status {
    if (options.input == "-") return ScoreLines(options, std::cin, engine);
    std::ifstream file(options.input);
    if (!file) return NotFound("--input {}: cannot be opened", options.input);
    return ScoreLines(options, file, engine);
  });
}

}  // namespace

Command MakeScoreCommand(CLI::App& app) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command = app.add_subcommand("score", "log-probabilities of given texts");
  AddEngineFlags(*command, &options->engine);
  command->add_option(
      "--input", options->input,
      "JSON lines {\"token_ids\":[...]} or {\"text\":\"...\"}, with \"source_ids\":[...] "
      "for models with an encoder; -: standard input");
  command->add_option("--top-logprobs", options->top_logprobs, "also the best K per position")
      ->check(CLI::Range(0, 1000));
  command->add_flag("--trace-routing", options->trace_routing,
                    "also every routing decision, per MoE layer and token");
  return {.app = command, .run = [options] { return Score(*options); }};
}

}  // namespace folkmoot
