// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/moe_status.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <utility>

#include "launch/metrics/expert_load.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kWindow{10};

// counts[layer * width ..][width] as a list of lists.
Json Rows(const std::vector<int64_t>& counts, size_t layers, size_t width) {
  Json rows = Json::array();
  for (size_t layer = 0; layer < layers; ++layer) {
    Json row = Json::array();
    for (size_t i = 0; i < width; ++i) {
      const size_t cell = layer * width + i;
      row.push_back(cell < counts.size() ? counts[cell] : 0);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// NaN: nothing was counted.
Json NumberOrNull(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }

Json LayoutJson(const std::string& model, const MoeLayout& layout) {
  return {{"model", model},
          {"layers", layout.layers},
          {"experts", layout.experts},
          {"top_k", layout.top_k},
          {"ranks", layout.ranks},
          {"placement", layout.placement},
          {"rank_of_expert", layout.rank_of_expert}};
}

double UsedShare(const EngineSnapshot& snapshot) {
  if (snapshot.total_blocks == 0) return 0;
  return static_cast<double>(snapshot.used_blocks) / static_cast<double>(snapshot.total_blocks);
}

std::vector<int64_t> Growth(std::vector<int64_t> now, const std::vector<int64_t>& before) {
  for (size_t i = 0; i < now.size() && i < before.size(); ++i) now[i] -= before[i];
  return now;
}

// An invalid byte in a name must not end the process.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Frame(const char* event, const Json& data) {
  return std::string("event: ") + event + "\ndata: " + Dump(data) + "\n\n";
}

}  // namespace

struct MoeStatus::Parts {
  Parts(IoLoop& on, MoeStatusOptions given)
      : loop(on), options(std::move(given)), window(options.layout.cells(), kWindow) {}

  void Answer(HttpExchange& exchange);
  void Listen(std::shared_ptr<HttpExchange> exchange);
  void StartTicking();
  void Tick();
  Json LoadFrame(SteadyTime now);
  Json LayerStatus(size_t index, const ExpertCounts& counts, const std::vector<LayerDrops>& drops,
                   const std::vector<int64_t>& recent) const;

  IoLoop& loop;
  MoeStatusOptions options;
  ExpertWindow window;
  std::list<std::shared_ptr<HttpExchange>> listeners;
  std::shared_ptr<IoLoop::Timer> timer;  // null: nobody listens
  bool closed = false;
  // What the last frame said.
  EngineSnapshot last;
  ExpertCounts last_experts;
  std::vector<LayerDrops> last_drops;
  SteadyTime last_time;
  // Callbacks of exchanges may outlive us.
  std::shared_ptr<Parts*> self = std::make_shared<Parts*>(this);
};

MoeStatus::MoeStatus(IoLoop& loop, MoeStatusOptions options)
    : parts_(std::make_unique<Parts>(loop, std::move(options))) {
  parts_->window.Add(std::chrono::steady_clock::now(), {});
}

MoeStatus::~MoeStatus() { *parts_->self = nullptr; }

std::vector<Route> MoeStatus::Routes() {
  Parts* parts = parts_.get();
  return {{.method = "GET",
           .path = "/moe/experts",
           .handler = [parts](const std::shared_ptr<HttpExchange>& x) { parts->Answer(*x); }},
          {.method = "GET",
           .path = "/moe/events",
           .handler = [parts](std::shared_ptr<HttpExchange> x) { parts->Listen(std::move(x)); }}};
}

void MoeStatus::Close() {
  parts_->closed = true;
  parts_->timer.reset();
  const std::list<std::shared_ptr<HttpExchange>> listeners = std::exchange(parts_->listeners, {});
  for (const std::shared_ptr<HttpExchange>& listener : listeners) listener->EndStream();
}

Json MoeStatus::Parts::LayerStatus(size_t index, const ExpertCounts& counts,
                                   const std::vector<LayerDrops>& drops,
                                   const std::vector<int64_t>& recent) const {
  const auto experts = static_cast<size_t>(options.layout.experts);
  const auto ranks = static_cast<size_t>(options.layout.ranks);
  const auto row = [&](const std::vector<int64_t>& cells) {
    std::vector<int64_t> part(experts, 0);
    for (size_t e = 0; e < experts && index * experts + e < cells.size(); ++e) {
      part[e] = cells[index * experts + e];
    }
    return part;
  };
  const std::vector<int64_t> recent_ranks = SumByRank(options.layout, recent);
  const LayerDrops dropped = index < drops.size() ? drops[index] : LayerDrops{};
  return {{"layer", options.layout.layers[index]},
          {"tokens", row(counts.tokens)},
          {"recent_tokens", row(recent)},
          {"overflow", row(counts.overflow)},
          {"dropped", {{"rejected", dropped.rejected}, {"overflow", dropped.overflow}}},
          {"balancedness", NumberOrNull(Balancedness(recent_ranks, index * ranks, ranks))},
          {"expert_balancedness", NumberOrNull(Balancedness(recent, index * experts, experts))}};
}

void MoeStatus::Parts::Answer(HttpExchange& exchange) {
  const EngineSnapshot snapshot = options.snapshot();
  const ExpertCounts counts = options.experts();
  const std::vector<LayerDrops> drops = options.drops();
  window.Add(std::chrono::steady_clock::now(), counts.tokens);
  const std::vector<int64_t> recent = window.Recent();
  Json body = LayoutJson(options.model_name, options.layout);
  body["steps"] = snapshot.stats.steps;
  body["step_tokens"] = snapshot.stats.tokens;
  body["recent_seconds"] = window.seconds();
  Json layers = Json::array();
  for (size_t i = 0; i < options.layout.layers.size(); ++i) {
    layers.push_back(LayerStatus(i, counts, drops, recent));
  }
  body["load"] = std::move(layers);
  exchange.Respond({.body = Dump(body)});
}

void MoeStatus::Parts::Listen(std::shared_ptr<HttpExchange> exchange) {
  if (closed || listeners.size() >= options.max_listeners) {
    HttpResponse refusal = ErrorResponse(
        503, closed ? "The server is shutting down."
                    : "Too many listeners of /moe/events; try again later or poll /moe/experts.");
    refusal.headers.emplace_back("Retry-After", "10");
    return exchange->Respond(std::move(refusal));
  }
  const std::weak_ptr<Parts*> weak = self;
  const HttpExchange* const address = exchange.get();
  exchange->OnGone([weak, address] {
    const std::shared_ptr<Parts*> parts = weak.lock();
    if (parts == nullptr || *parts == nullptr) return;
    (*parts)->listeners.remove_if(
        [address](const std::shared_ptr<HttpExchange>& x) { return x.get() == address; });
  });
  exchange->BeginStream("text/event-stream");
  exchange->Write(Frame("layout", LayoutJson(options.model_name, options.layout)));
  listeners.push_back(std::move(exchange));
  if (timer == nullptr) {
    LoadFrame(std::chrono::steady_clock::now());  // deltas begin here
    StartTicking();
  }
}

void MoeStatus::Parts::StartTicking() {
  timer = loop.After(options.interval, [this] { Tick(); });  // the timer ends with us
}

void MoeStatus::Parts::Tick() {
  if (listeners.empty()) {
    timer.reset();
    return;
  }
  const std::string frame = Frame("load", LoadFrame(std::chrono::steady_clock::now()));
  for (const std::shared_ptr<HttpExchange>& listener : listeners) {
    if (listener->unsent() <= options.max_unsent_bytes) listener->Write(frame);
  }
  StartTicking();
}

// What happened since the frame before.
Json MoeStatus::Parts::LoadFrame(SteadyTime now) {
  const EngineSnapshot snapshot = options.snapshot();
  ExpertCounts counts = options.experts();
  std::vector<LayerDrops> drops = options.drops();
  const MoeLayout& layout = options.layout;
  const auto experts = static_cast<size_t>(layout.experts);
  const double seconds = std::max(1e-6, std::chrono::duration<double>(now - last_time).count());
  const std::vector<int64_t> tokens = Growth(counts.tokens, last_experts.tokens);
  const std::vector<int64_t> overflow = Growth(counts.overflow, last_experts.overflow);
  const bool overflowed =
      std::any_of(overflow.begin(), overflow.end(), [](int64_t n) { return n; });
  std::vector<int64_t> rejected;
  for (size_t i = 0; i < drops.size(); ++i) {
    rejected.push_back(drops[i].rejected - (i < last_drops.size() ? last_drops[i].rejected : 0));
  }
  window.Add(now, counts.tokens);
  const std::vector<int64_t> recent_ranks = SumByRank(layout, window.Recent());
  const auto ranks = static_cast<size_t>(layout.ranks);
  Json balancedness = Json::array();
  for (size_t i = 0; i < layout.layers.size(); ++i) {
    balancedness.push_back(NumberOrNull(Balancedness(recent_ranks, i * ranks, ranks)));
  }
  Json frame = {
      {"seconds", seconds},
      {"tokens", Rows(tokens, layout.layers.size(), experts)},
      {"overflow", overflowed ? Rows(overflow, layout.layers.size(), experts) : Json(nullptr)},
      {"rejected", rejected},
      {"balancedness", std::move(balancedness)},
      {"tokens_per_second",
       static_cast<double>(snapshot.stats.tokens - last.stats.tokens) / seconds},
      {"running", snapshot.running},
      {"waiting", snapshot.waiting},
      {"kv_usage", UsedShare(snapshot)}};
  last = snapshot;
  last_experts = std::move(counts);
  last_drops = std::move(drops);
  last_time = now;
  return frame;
}

}  // namespace folkmoot
