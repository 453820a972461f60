// SPDX-License-Identifier: Apache-2.0
// LineRouter::Route: parse a line, cut its rows into sequences, call the gate, print.
#include "launch/commands/route_command.h"

#include <array>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <vector>

#include "CLI/CLI.hpp"
#include "layers/gates/presets.h"
#include "nlohmann/json.hpp"
#include "parallel/thread_communicator.h"
#include "runtime/nearest.h"

namespace folkmoot {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxLayer = 4095;  // range of a random draw's key (runtime/random.h)

// One parsed line. Vectors have one entry per row, or are empty where the field was absent.
struct RouteInput {
  int64_t rows = 0;
  int64_t experts = 0;
  std::vector<float> logits;    // [rows, experts]
  std::vector<float> uniforms;  // [rows] or [rows, K - 1]
  std::vector<uint8_t> valid;
  std::vector<uint64_t> streams;
  std::vector<int64_t> positions;
  std::vector<int32_t> token_ids;
  int layer = 0;
};

absl::Status ReadReal(const Json& value, const std::string& field, double least, double most,
                      double* out) {
  if (!value.is_number()) {
    return InvalidArgument("{} is {}; expected a number", field, value.type_name());
  }
  *out = value.get<double>();
  if (*out >= least && *out <= most) return absl::OkStatus();
  return InvalidArgument("{}={} must be between {} and {}", field, *out, least, most);
}

absl::Status ReadInteger(const Json& value, const std::string& field, uint64_t most,
                         uint64_t* out) {
  if (!value.is_number_unsigned()) {
    return InvalidArgument("{}={} must be an integer of at least 0", field, value.dump());
  }
  *out = value.get<uint64_t>();
  if (*out <= most) return absl::OkStatus();
  return InvalidArgument("{}={} must be at most {}", field, *out, most);
}

absl::Status CheckRows(const Json& value, const std::string& field, int64_t rows) {
  if (!value.is_array()) {
    return InvalidArgument("{} is {}; expected a list", field, value.type_name());
  }
  if (value.size() == static_cast<size_t>(rows)) return absl::OkStatus();
  return InvalidArgument("{} has {} entries; give one per row of logits ({})", field, value.size(),
                         rows);
}

// A list of one integer of at most `most` per row.
template <typename T>
absl::Status ReadIntegers(const Json& value, const std::string& field, int64_t rows, uint64_t most,
                          std::vector<T>* out) {
  FM_RETURN_IF_ERROR(CheckRows(value, field, rows));
  for (size_t i = 0; i < value.size(); ++i) {
    uint64_t item = 0;
    FM_RETURN_IF_ERROR(ReadInteger(value[i], fmt::format("{}[{}]", field, i), most, &item));
    out->push_back(static_cast<T>(item));
  }
  return absl::OkStatus();
}

// Appends a list of numbers.
absl::Status ReadReals(const Json& value, const std::string& field, double least, double most,
                       std::vector<float>* out) {
  for (size_t i = 0; i < value.size(); ++i) {
    double item = 0;
    FM_RETURN_IF_ERROR(ReadReal(value[i], fmt::format("{}[{}]", field, i), least, most, &item));
    out->push_back(static_cast<float>(item));
  }
  return absl::OkStatus();
}

// A list of lists of one length, which is returned; an empty list has length 0.
absl::StatusOr<int64_t> ReadTable(const Json& value, const std::string& field, double least,
                                  double most, std::vector<float>* out) {
  if (!value.is_array()) {
    return InvalidArgument("{} is {}; expected a list of lists", field, value.type_name());
  }
  for (size_t r = 0; r < value.size(); ++r) {
    const std::string row = fmt::format("{}[{}]", field, r);
    if (!value[r].is_array() || value[r].empty()) {
      return InvalidArgument("{} must be a list of numbers", row);
    }
    if (value[r].size() != value[0].size()) {
      return InvalidArgument("{} has {} values, {}[0] has {}", row, value[r].size(), field,
                             value[0].size());
    }
    FM_RETURN_IF_ERROR(ReadReals(value[r], row, least, most, out));
  }
  return value.empty() ? 0 : static_cast<int64_t>(value[0].size());
}

absl::Status ReadUniforms(const Json& value, RouteInput* input) {
  FM_RETURN_IF_ERROR(CheckRows(value, "uniforms", input->rows));
  const double below_one = std::nextafter(1.0, 0.0);
  if (!value.empty() && value[0].is_array()) {
    return ReadTable(value, "uniforms", 0.0, below_one, &input->uniforms).status();
  }
  return ReadReals(value, "uniforms", 0.0, below_one, &input->uniforms);
}

absl::Status ReadValid(const Json& value, RouteInput* input) {
  FM_RETURN_IF_ERROR(CheckRows(value, "valid", input->rows));
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_boolean() && value[i] != 0 && value[i] != 1) {
      return InvalidArgument("valid[{}]={} must be true, false, 1 or 0", i, value[i].dump());
    }
    const bool valid = value[i].is_boolean() ? value[i].get<bool>() : value[i] == 1;
    input->valid.push_back(valid ? 1 : 0);
  }
  return absl::OkStatus();
}

absl::Status ReadStream(const Json& value, RouteInput* input) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  if (value.is_array()) {
    return ReadIntegers(value, "stream", input->rows, kMost, &input->streams);
  }
  uint64_t stream = 0;
  FM_RETURN_IF_ERROR(ReadInteger(value, "stream", kMost, &stream));
  input->streams.assign(static_cast<size_t>(input->rows), stream);
  return absl::OkStatus();
}

absl::Status ReadField(const std::string& field, const Json& value, RouteInput* input) {
  constexpr uint64_t kMostInt32 = std::numeric_limits<int32_t>::max();
  if (field == "uniforms") return ReadUniforms(value, input);
  if (field == "valid") return ReadValid(value, input);
  if (field == "stream") return ReadStream(value, input);
  if (field == "positions") {
    return ReadIntegers(value, field, input->rows, kMostInt32, &input->positions);
  }
  if (field == "token_ids") {
    return ReadIntegers(value, field, input->rows, kMostInt32, &input->token_ids);
  }
  if (field == "layer") {
    uint64_t layer = 0;
    FM_RETURN_IF_ERROR(ReadInteger(value, field, kMaxLayer, &layer));
    input->layer = static_cast<int>(layer);
    return absl::OkStatus();
  }
  static const std::vector<std::string> kFields = {"logits",    "uniforms",  "valid", "stream",
                                                   "positions", "token_ids", "layer"};
  const std::string* nearest = Nearest(field, kFields);
  return InvalidArgument("unknown field '{}'; {}", field,
                         nearest != nullptr ? fmt::format("did you mean '{}'?", *nearest)
                                            : fmt::format("known: {}", fmt::join(kFields, ", ")));
}

absl::StatusOr<RouteInput> ParseInput(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("not valid JSON");
  if (!json.is_object()) return InvalidArgument("expected an object with 'logits'");
  const auto logits = json.find("logits");
  if (logits == json.end()) return InvalidArgument("field 'logits' is missing");
  RouteInput input;
  const double most = static_cast<double>(std::numeric_limits<float>::max());
  FM_ASSIGN_OR_RETURN(input.experts, ReadTable(*logits, "logits", -most, most, &input.logits));
  input.rows = static_cast<int64_t>(logits->size());
  input.streams.assign(static_cast<size_t>(input.rows), 0);
  for (const auto& [field, value] : json.items()) {
    if (field == "stream") input.streams.clear();
    if (field != "logits") FM_RETURN_IF_ERROR(ReadField(field, value, &input));
  }
  if (input.positions.empty()) {
    for (int64_t row = 0; row < input.rows; ++row) input.positions.push_back(row);
  }
  return input;
}

// The rows cut where positions are not consecutive. A position that does not rise begins another
// sequence. `taken` holds chunk counters [E] for every piece; pieces of one chunk share them.
std::vector<GateSequence> CutSequences(const RouteInput& input, const GateConfig& config,
                                       std::vector<int32_t>* taken) {
  std::vector<GateSequence> sequences;
  const auto experts = static_cast<size_t>(config.num_experts);
  taken->assign(static_cast<size_t>(input.rows) * experts, 0);
  size_t counters = 0;
  for (int64_t row = 0; row < input.rows; ++row) {
    const int64_t position = input.positions[static_cast<size_t>(row)];
    const int64_t before = row == 0 ? -1 : input.positions[static_cast<size_t>(row) - 1];
    if (row > 0 && position == before + 1) {
      ++sequences.back().rows;
      continue;
    }
    GateSequence next = {.first_row = row, .rows = 1, .start = position, .whole = true};
    if (row > 0) next.order = sequences.back().order + (position <= before ? 1 : 0);
    const bool same_chunk =
        row > 0 && position > before && position / config.group_size == before / config.group_size;
    if (row > 0 && !same_chunk) ++counters;
    if (config.NeedsChunkCounters()) {
      next.taken = std::span(*taken).subspan(counters * experts, experts);
    }
    sequences.push_back(next);
  }
  return sequences;
}

std::string_view StateName(const RouteInput& input, std::span<const uint8_t> rerouted,
                           const Routing& routing, size_t choice) {
  const size_t token = choice / static_cast<size_t>(routing.top_k);
  if (!input.valid.empty() && input.valid[token] == 0) return "invalid";
  if (rerouted[choice] != 0) return "rerouted";
  switch (routing.state[choice]) {
    case SlotState::kKept:
      return "kept";
    case SlotState::kRejected:
      return "rejected";
    case SlotState::kOverflow:
      return "overflow";
  }
  return "";
}

std::string Print(const RouteInput& input, const GateConfig& config,
                  std::span<const uint8_t> rerouted, const Routing& routing) {
  int64_t real = input.rows;
  for (const uint8_t valid : input.valid) real -= valid == 0 ? 1 : 0;
  const auto capacity = config.Capacity(config.NeedsChunkCounters() ? config.group_size : real);
  std::string out =
      fmt::format("{{\"capacity\":{},\"tokens\":[", capacity ? std::to_string(*capacity) : "null");
  const auto k = static_cast<size_t>(config.top_k);
  for (size_t t = 0; t < static_cast<size_t>(routing.tokens); ++t) {
    std::vector<std::string> states, places;
    for (size_t c = t * k; c < (t + 1) * k; ++c) {
      states.push_back(fmt::format("\"{}\"", StateName(input, rerouted, routing, c)));
      places.push_back(routing.place[c] < 0 ? "null" : std::to_string(routing.place[c]));
    }
    fmt::format_to(std::back_inserter(out),
                   "{}{{\"experts\":[{}],\"weight\":[{}],\"state\":[{}],\"pos\":[{}]}}",
                   t == 0 ? "" : ",", fmt::join(routing.expert.subspan(t * k, k), ","),
                   fmt::join(routing.weight.subspan(t * k, k), ","), fmt::join(states, ","),
                   fmt::join(places, ","));
    if (config.shared_sinks == 0) continue;
    std::vector<float> shared;
    for (int s = 0; s < config.shared_sinks; ++s) shared.push_back(routing.SharedWeights(s)[t]);
    out.back() = ',';  // in place of the brace
    fmt::format_to(std::back_inserter(out), "\"shared_weight\":[{}]}}", fmt::join(shared, ","));
  }
  return out + "]}";
}

absl::Status CheckAgainstGate(const RouteInput& input, const GateConfig& config) {
  if (input.rows == 0) return absl::OkStatus();
  if (input.experts != config.outputs()) {
    const std::string sinks =
        config.shared_sinks > 0 ? fmt::format(" and shared_sinks={}", config.shared_sinks) : "";
    return InvalidArgument("logits have {} values per row; the gate has num_experts={}{}",
                           input.experts, config.num_experts, sinks);
  }
  const auto width = static_cast<int64_t>(input.uniforms.size()) / input.rows;
  if (width > 1 && width != config.top_k - 1) {
    return InvalidArgument("uniforms have {} values per row; give 1 or top_k - 1 = {}", width,
                           config.top_k - 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || file.bad()) return NotFound("{}: cannot be read", path);
  return text;
}

}  // namespace

absl::StatusOr<LineRouter> LineRouter::Create(const std::string& gate) {
  LineRouter router;
  router.alone_ = std::move(MakeThreadCommunicators(1).front());
  router.text_ = gate;
  router.is_json_ = !gate.empty() && gate.front() == '{';
  const bool is_list = gate.find('=') != std::string::npos;
  if (!router.is_json_ && !is_list && !MakePreset(gate).ok()) {
    const bool is_path =
        gate.find_first_of("./") != std::string::npos || std::ifstream(gate).good();
    if (is_path) {
      FM_ASSIGN_OR_RETURN(router.text_, ReadAll(gate));
      router.source_ = gate;
      router.is_json_ = true;
    }
  }
  // What can be known before the first line says how many experts there are.
  const absl::Status status = router.Parse(0).status();
  if (status.ok()) return router;
  if (router.source_.empty()) return UsageError(Message(status));
  return Annotate(status, router.source_);
}

absl::StatusOr<GateConfig> LineRouter::Parse(int experts) const {
  if (is_json_) return ParseGateConfig(text_, experts);
  GateConfig config;
  config.num_experts = experts;
  FM_RETURN_IF_ERROR(ApplyOverrides(text_, &config));
  return config;
}

absl::Status LineRouter::Prepare(int experts) {
  if (prepared_for_ == experts) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(GateConfig config, Parse(experts));
  if (config.shared_sinks > 0 && config.shared_sinks < experts) {  // these are no experts
    FM_ASSIGN_OR_RETURN(config, Parse(experts - config.shared_sinks));
  }
  FM_RETURN_IF_ERROR(config.Validate());
  gate_ = MakeGate(config);
  prepared_for_ = experts;
  return absl::OkStatus();
}

absl::StatusOr<std::string> LineRouter::Route(std::string_view line) {
  FM_ASSIGN_OR_RETURN(const RouteInput input, ParseInput(line));
  if (const absl::Status status = Prepare(static_cast<int>(input.experts)); !status.ok()) {
    return source_.empty() ? status : Annotate(status, source_);
  }
  const GateConfig& config = gate_->config();
  FM_RETURN_IF_ERROR(CheckAgainstGate(input, config));
  std::vector<int32_t> taken;
  std::vector<uint8_t> rerouted(static_cast<size_t>(input.rows * config.top_k));
  const std::vector<GateSequence> sequences = CutSequences(input, config, &taken);
  const GateInput gate_input = {.logits = {input.logits.data(), input.rows, input.experts},
                                .sequences = sequences,
                                .streams = input.streams,
                                .token_ids = input.token_ids,
                                .layer = input.layer,
                                .uniforms = input.uniforms,
                                .valid = input.valid,
                                .rerouted = rerouted};
  workspace_.Reset();
  FM_ASSIGN_OR_RETURN(const Routing routing, gate_->Route(gate_input, *alone_, workspace_));
  return Print(input, config, rerouted, routing);
}

absl::Status LineRouter::RouteAll(std::istream& in, const std::string& source, std::ostream& out) {
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const absl::StatusOr<std::string> result = Route(line);
    if (!result.ok()) {
      out.flush();
      return Annotate(result.status(), fmt::format("{} line {}", source, number));
    }
    out << *result << '\n';
  }
  out.flush();
  if (!out) return DataLoss("the results could not be written; is the disk full?");
  return absl::OkStatus();
}

Command MakeRouteCommand(CLI::App& app) {
  struct Options {
    std::string gate;
    std::string input = "-";
    std::string output = "-";
  };
  const auto options = std::make_shared<Options>();
  CLI::App* route =
      app.add_subcommand("route", "Route given logits through a gate, without a model");
  route->add_option("--gate", options->gate, "JSON file, name of a preset, or KEY=VALUE[,...]")
      ->required();
  route->add_option("--input", options->input,
                    "JSON lines {\"logits\":[[...]],...}; - is standard input");
  route->add_option("--output", options->output, "where the results go; - is standard output");
  return {route, [options]() -> absl::Status {
            FM_ASSIGN_OR_RETURN(LineRouter router, LineRouter::Create(options->gate));
            std::ifstream file;
            if (options->input != "-") {
              file.open(options->input);
              if (!file) return NotFound("--input {}: cannot be read", options->input);
            }
            std::ofstream results;
            if (options->output != "-") {
              results.open(options->output, std::ios::trunc);
              if (!results) return NotFound("--output {}: cannot be written", options->output);
            }
            return router.RouteAll(options->input == "-" ? std::cin : file,
                                   options->input == "-" ? "standard input" : options->input,
                                   options->output == "-" ? std::cout : results);
          }};
}

}  // namespace folkmoot
