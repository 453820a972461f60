// SPDX-License-Identifier: Apache-2.0
// ConfiguredGate::Route runs the stages over the rows of a rank: decide every token by itself,
// place the choices of each capacity group, then turn the outcome into weights and actions.
#include "layers/gates/gate.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "layers/gates/placement.h"
#include "layers/gates/step_group.h"
#include "layers/gates/token_stage.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

class ConfiguredGate final : public Gate {
 public:
  ConfiguredGate(const GateConfig& config, std::span<const int64_t> layer_top_k);
  const GateConfig& config() const override { return config_; }
  absl::StatusOr<Routing> Route(const GateInput& input, Communicator& comm,
                                Workspace& workspace) const override;

 private:
  absl::Status Decide(const GateInput& input, Workspace& workspace, std::span<uint8_t> bad,
                      Decisions& d) const;
  // `bad`: the row's logits are not finite.
  absl::Status DecideRow(const GateInput& input, int64_t row, bool bad, Workspace& workspace,
                         Decisions& d) const;
  absl::StatusOr<std::span<const int32_t>> Forced(const GateInput& input, int64_t row) const;
  absl::Status Place(const GateInput& input, Communicator& comm, Workspace& workspace,
                     Decisions& d) const;
  void PlaceRows(Workspace& workspace, Decisions& d) const;
  void PlaceSequences(const GateInput& input, Workspace& workspace, Decisions& d) const;
  void PlaceChunks(const GateInput& input, Workspace& workspace, Decisions& d) const;
  void Finish(const GateInput& input, Decisions& d, Routing& routing) const;
  void FinishToken(Decisions& d, int64_t token, Routing& routing) const;

  const GateConfig config_;
  std::map<int, std::unique_ptr<const ConfiguredGate>> narrower_;  // by their number of choices
};

ConfiguredGate::ConfiguredGate(const GateConfig& config, std::span<const int64_t> layer_top_k)
    : config_(config) {
  for (const int64_t top_k : layer_top_k) {
    GateConfig narrow = config;
    narrow.top_k = ChoicesOfLayer(config, top_k);
    if (narrow.top_k == config.top_k || narrower_.contains(narrow.top_k)) continue;
    narrower_[narrow.top_k] = std::make_unique<ConfiguredGate>(narrow, std::span<const int64_t>());
  }
}

bool IsValid(const GateInput& input, int64_t row) {
  return input.valid.empty() || input.valid[static_cast<size_t>(row)] != 0;
}

bool IsLive(Claim claim) { return claim == Claim::kKept || claim == Claim::kRerouted; }

void CheckShapes(const GateConfig& config, const GateInput& input) {
  const auto rows = static_cast<size_t>(input.logits.rows);
  const auto experts = static_cast<size_t>(config.num_experts);
  FM_CHECK(input.logits.rows == 0 || input.logits.cols == config.outputs());
  FM_CHECK(input.streams.size() == rows || (input.streams.empty() && !config.UsesRandom()));
  FM_CHECK(input.valid.empty() || input.valid.size() == rows);
  FM_CHECK(input.uniforms.empty() || input.uniforms.size() == rows ||
           input.uniforms.size() == rows * static_cast<size_t>(config.top_k - 1));
  FM_CHECK(input.rerouted.empty() ||
           input.rerouted.size() == rows * static_cast<size_t>(config.top_k));
  FM_CHECK(input.router_bias.empty() || input.router_bias.size() == experts);
  FM_CHECK(input.selection_bias.empty() || input.selection_bias.size() == experts);
  FM_CHECK(input.token_table.empty() || config.selection == Selection::kTokenTable ||
           input.token_experts >= config.top_k);
  int64_t covered = 0;
  for (const GateSequence& sequence : input.sequences) {
    FM_CHECK(sequence.first_row == covered && sequence.rows >= 0);
    FM_CHECK(!config.NeedsChunkCounters() || sequence.taken.size() == experts);
    covered += sequence.rows;
  }
  FM_CHECK(covered == input.logits.rows);
}

absl::StatusOr<std::span<const int32_t>> ConfiguredGate::Forced(const GateInput& input,
                                                                int64_t row) const {
  const bool of_layer = config_.selection == Selection::kLearned;
  if (of_layer && input.token_table.empty()) return std::span<const int32_t>{};
  const std::span<const int32_t> table =
      of_layer ? input.token_table : std::span<const int32_t>(config_.token_table);
  const auto k = static_cast<size_t>(config_.top_k);
  const size_t width = of_layer ? static_cast<size_t>(input.token_experts) : k;
  const auto ids = static_cast<int64_t>(table.size() / width);
  const bool given = static_cast<size_t>(row) < input.token_ids.size();
  int64_t id = given ? input.token_ids[static_cast<size_t>(row)] : -1;
  if (!IsValid(input, row) && (id < 0 || id >= ids)) id = 0;  // padding may hold anything
  if (!given && id < 0) {
    return InvalidArgument("layer {}: a token table needs the token id of row {}", input.layer,
                           row);
  }
  if (id < 0 || id >= ids) {
    return InvalidArgument("layer {} row {}: token id {} is outside of the token_table of {} rows",
                           input.layer, row, id, ids);
  }
  return table.subspan(static_cast<size_t>(id) * width, k);
}

absl::Status ConfiguredGate::DecideRow(const GateInput& input, int64_t row, bool bad,
                                       Workspace& workspace, Decisions& d) const {
  const auto at = static_cast<size_t>(row);
  const auto width = input.uniforms.size() / static_cast<size_t>(input.logits.rows);
  TokenInput token;
  token.logits = input.logits.RowSpan(row);
  token.router_bias = input.router_bias.empty() ? config_.router_bias : input.router_bias;
  token.selection_bias =
      input.selection_bias.empty() ? config_.selection_bias : input.selection_bias;
  token.uniforms = input.uniforms.subspan(at * width, width);
  token.valid = IsValid(input, row) && !bad;
  token.draws = {.seed = config_.seed,
                 .stream = input.streams.empty() ? 0 : input.streams[at],
                 .layer = static_cast<uint32_t>(input.layer),
                 .position = static_cast<uint32_t>(d.position[at])};
  FM_ASSIGN_OR_RETURN(token.forced, Forced(input, row));

  const Workspace::Position mark = workspace.Mark();
  if (bad) {
    const auto zeros = workspace.Get<float>(config_.outputs());
    std::fill(zeros.begin(), zeros.end(), 0.0f);
    token.logits = zeros;
  }
  DecideToken(config_, token, row, workspace, d);
  workspace.Release(mark);
  return absl::OkStatus();
}

absl::Status ConfiguredGate::Decide(const GateInput& input, Workspace& workspace,
                                    std::span<uint8_t> bad, Decisions& d) const {
  for (const GateSequence& sequence : input.sequences) {
    for (int64_t i = 0; i < sequence.rows; ++i) {
      const auto row = static_cast<size_t>(sequence.first_row + i);
      d.order[row] = sequence.order;
      d.position[row] = sequence.start + i;
      const std::span<const float> logits = input.logits.RowSpan(sequence.first_row + i);
      const bool finite = AllFinite(logits);
      bad[row] = !finite && IsValid(input, sequence.first_row + i) ? 1 : 0;
      FM_RETURN_IF_ERROR(DecideRow(input, sequence.first_row + i, !finite, workspace, d));
    }
  }
  return absl::OkStatus();
}

absl::Status ConfiguredGate::Place(const GateInput& input, Communicator& comm, Workspace& workspace,
                                   Decisions& d) const {
  if (config_.NeedsChunkCounters()) {
    PlaceChunks(input, workspace, d);
    return absl::OkStatus();
  }
  if (config_.CanDrop() && config_.group == CapacityGroup::kSequence) {
    PlaceSequences(input, workspace, d);
    return absl::OkStatus();
  }
  if (config_.CanDrop() && config_.group == CapacityGroup::kStep && comm.size() > 1) {
    const WaitLabel label = {.phase = "gate", .layer = input.layer, .step = input.step};
    return PlaceAcrossRanks(config_, comm, label, workspace, d);
  }
  PlaceRows(workspace, d);
  return absl::OkStatus();
}

// All rows of this rank as one group.
void ConfiguredGate::PlaceRows(Workspace& workspace, Decisions& d) const {
  const auto tokens = workspace.Get<int64_t>(d.tokens);
  SortTokens(d, tokens);
  const auto used = workspace.Get<int32_t>(config_.num_experts);
  std::fill(used.begin(), used.end(), 0);
  const int64_t real = std::count_if(tokens.begin(), tokens.end(), [&](int64_t token) {
    return d.claim[d.At(token, 0)] != Claim::kPadding;
  });
  PlaceGroup(config_, {tokens, config_.Capacity(real), used}, workspace, d);
}

// Every source as one group, every other row as a group of its own.
void ConfiguredGate::PlaceSequences(const GateInput& input, Workspace& workspace,
                                    Decisions& d) const {
  const auto rows = workspace.Get<int64_t>(d.tokens);
  std::iota(rows.begin(), rows.end(), 0);
  const auto used = workspace.Get<int32_t>(config_.num_experts);
  for (const GateSequence& sequence : input.sequences) {
    const int64_t size = sequence.whole ? std::max<int64_t>(sequence.rows, 1) : 1;
    for (int64_t done = 0; done < sequence.rows; done += size) {
      const auto group =
          rows.subspan(static_cast<size_t>(sequence.first_row + done), static_cast<size_t>(size));
      const int64_t real = std::count_if(group.begin(), group.end(), [&](int64_t token) {
        return d.claim[d.At(token, 0)] != Claim::kPadding;
      });
      std::fill(used.begin(), used.end(), 0);
      PlaceGroup(config_, {group, config_.Capacity(real), used}, workspace, d);
    }
  }
}

// Every sequence by itself, cut where a chunk of positions ends, and where a page ends if that is
// asked for: between tokens, which changes nothing for token_major order.
void ConfiguredGate::PlaceChunks(const GateInput& input, Workspace& workspace, Decisions& d) const {
  const int64_t size = config_.group_size;
  const auto capacity = config_.Capacity(size);
  const auto rows = workspace.Get<int64_t>(d.tokens);
  for (const GateSequence& sequence : input.sequences) {
    size_t page = 0;
    for (int64_t done = 0; done < sequence.rows;) {
      const int64_t position = sequence.start + done;
      int64_t count = std::min(sequence.rows - done, size - position % size);
      if (!sequence.page_ends.empty()) {
        count = std::min(count, sequence.page_size - position % sequence.page_size);
      }
      if (position % size == 0) std::fill(sequence.taken.begin(), sequence.taken.end(), 0);
      const auto part = rows.first(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) {
        part[static_cast<size_t>(i)] = sequence.first_row + done + i;
      }
      PlaceGroup(config_, {part, capacity, sequence.taken}, workspace, d);
      done += count;
      if (!sequence.page_ends.empty() && (position + count) % sequence.page_size == 0) {
        std::copy(sequence.taken.begin(), sequence.taken.end(),
                  sequence.page_ends[page++] + sequence.page_offset);
      }
    }
  }
}

// Stages 8 and 9: weights, scale, and what the layer has to do for each choice.
void ConfiguredGate::FinishToken(Decisions& d, int64_t token, Routing& routing) const {
  double sum = 0.0;
  for (int j = 0; j < d.top_k; ++j) {
    const size_t at = d.At(token, j);
    if (d.claim[at] == Claim::kRerouted) {  // the weight follows the expert
      d.raw[at] = d.score[static_cast<size_t>(token * config_.num_experts + d.expert[at])];
    }
    if (config_.normalize == Normalize::kBeforeDrop || IsLive(d.claim[at])) sum += d.raw[at];
  }
  const std::span<const double> sinks = d.SinksOf(config_, token);
  for (const double sink : sinks) sum += sink;
  const double divisor = config_.normalize == Normalize::kNone ? 1.0 : NormDivisor(config_, sum);
  for (size_t s = 0; s < sinks.size(); ++s) {
    const double weight = divisor > 0 ? config_.scale * (sinks[s] / divisor) : 0.0;
    routing.SharedWeights(static_cast<int64_t>(s))[static_cast<size_t>(token)] =
        static_cast<float>(weight);
  }
  for (int j = 0; j < d.top_k; ++j) {
    const size_t at = d.At(token, j);
    const Claim claim = d.claim[at];
    const bool passes = claim == Claim::kOverflow && config_.overflow == Overflow::kPassthrough;
    const bool zero_expert = d.expert[at] >= config_.num_experts - config_.zero_experts;
    const bool nothing = zero_expert && config_.zero_output == ZeroOutput::kNothing;
    const double weight = divisor > 0 && !nothing ? config_.scale * (d.raw[at] / divisor) : 0.0;
    routing.expert[at] = d.expert[at];
    routing.place[at] = d.place[at];
    routing.weight[at] = IsLive(claim) || passes ? static_cast<float>(weight) : 0.0f;
    routing.state[at] = IsLive(claim)               ? SlotState::kKept
                        : claim == Claim::kOverflow ? SlotState::kOverflow
                                                    : SlotState::kRejected;
    routing.action[at] = nothing                                    ? SlotAction::kNone
                         : passes || (IsLive(claim) && zero_expert) ? SlotAction::kIdentity
                         : IsLive(claim)                            ? SlotAction::kExpert
                                                                    : SlotAction::kNone;
  }
}

void ConfiguredGate::Finish(const GateInput& input, Decisions& d, Routing& routing) const {
  for (int64_t token = 0; token < d.tokens; ++token) FinishToken(d, token, routing);
  for (size_t c = 0; c < input.rerouted.size(); ++c) {
    input.rerouted[c] = d.claim[c] == Claim::kRerouted ? 1 : 0;
  }
}

absl::StatusOr<Routing> ConfiguredGate::Route(const GateInput& input, Communicator& comm,
                                              Workspace& workspace) const {
  if (const int choices = ChoicesOfLayer(config_, input.top_k); choices != config_.top_k) {
    const auto narrower = narrower_.find(choices);
    FM_CHECK(narrower != narrower_.end());
    return narrower->second->Route(input, comm, workspace);
  }
  CheckShapes(config_, input);
  Routing routing =
      Routing::Allocate(workspace, input.logits.rows, config_.top_k, config_.shared_sinks);
  routing.weight_on_input = config_.apply_to == ApplyTo::kInput;
  routing.bad = workspace.Get<uint8_t>(input.logits.rows);

  const Workspace::Position mark = workspace.Mark();
  Decisions d = AllocateDecisions(config_, workspace, input.logits.rows);
  d.raw = workspace.Get<double>(d.tokens * d.top_k);
  d.sinks = workspace.Get<double>(d.tokens * config_.shared_sinks);
  if (Reroutes(config_)) d.score = workspace.Get<double>(d.tokens * config_.num_experts);
  FM_RETURN_IF_ERROR(Decide(input, workspace, routing.bad, d));
  FM_RETURN_IF_ERROR(Place(input, comm, workspace, d));
  Finish(input, d, routing);
  workspace.Release(mark);
  return routing;
}

}  // namespace

int ChoicesOfLayer(const GateConfig& gate, int64_t top_k) {
  if (top_k == 0 || gate.selection == Selection::kTokenTable) return gate.top_k;
  return static_cast<int>(std::min<int64_t>(gate.top_k, top_k));
}

std::unique_ptr<Gate> MakeGate(const GateConfig& config, std::span<const int64_t> layer_top_k) {
  FM_CHECK(config.Validate().ok());
  return std::make_unique<ConfiguredGate>(config, layer_top_k);
}

}  // namespace folkmoot
