// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/control.h"

#include <limits>

#include "launch/plan_codec.h"
#include "proto/control.pb.h"

namespace folkmoot {
namespace {

constexpr int32_t kMostRanks = 1 << 16;
constexpr int64_t kLongestName = 255;  // of a host

template <typename Wire>
absl::Status Parse(std::string_view bytes, const char* name, Wire* wire) {
  if (wire->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return DataLoss("a {} of {} bytes cannot be read", name, bytes.size());
}

absl::Status CheckRange(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return DataLoss("{} is {}: it must be {} to {}", field, value, least, most);
}

// One life per rank, none after `epoch`.
template <typename Lives>
absl::Status CheckSince(const Lives& since, int64_t ranks, int64_t epoch) {
  FM_RETURN_IF_ERROR(CheckRange("since", since.size(), ranks, ranks));
  for (const int64_t life : since) FM_RETURN_IF_ERROR(CheckRange("since", life, 0, epoch));
  return absl::OkStatus();
}

void ToWire(const ThreadBeat& thread, wire::FrontEndBeat::Thread* out) {
  out->set_progress(thread.progress);
  out->set_waiting(thread.waiting);
  out->set_phase(thread.phase);
  out->set_cpu_seconds(thread.cpu_seconds);
}

ThreadBeat FromWire(const wire::FrontEndBeat::Thread& in) {
  return {.progress = in.progress(),
          .waiting = in.waiting(),
          .phase = in.phase(),
          .cpu_seconds = in.cpu_seconds()};
}

}  // namespace

std::string Encode(const RankHello& message) {
  wire::RankHello out;
  out.set_epoch(message.epoch);
  out.set_number(message.number);
  out.set_ranks(message.ranks);
  out.set_spares(message.spares);
  out.set_host(message.host);
  out.set_process(message.process);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, RankHello* message) {
  wire::RankHello in;
  FM_RETURN_IF_ERROR(Parse(bytes, "RankHello", &in));
  FM_RETURN_IF_ERROR(CheckRange("ranks", in.ranks(), 1, kMostRanks));
  FM_RETURN_IF_ERROR(CheckRange("spares", in.spares(), 0, kMostRanks));
  FM_RETURN_IF_ERROR(CheckRange("number", in.number(), 0, in.ranks() + in.spares() - 1));
  FM_RETURN_IF_ERROR(
      CheckRange("bytes of host", static_cast<int64_t>(in.host().size()), 0, kLongestName));
  FM_RETURN_IF_ERROR(CheckRange("process", in.process(), 0, std::numeric_limits<int32_t>::max()));
  *message = {.epoch = in.epoch(),
              .number = in.number(),
              .ranks = in.ranks(),
              .spares = in.spares(),
              .host = in.host(),
              .process = in.process()};
  return absl::OkStatus();
}

std::string Encode(const RankBeat& message) {
  wire::RankBeat out;
  out.set_progress(message.progress);
  out.set_waiting(message.waiting);
  out.set_phase(message.phase);
  out.set_layer(message.layer);
  out.set_step(message.step);
  out.set_state(static_cast<uint32_t>(message.state));
  out.set_cpu_seconds(message.cpu_seconds);
  out.set_steps(message.steps);
  out.set_epoch(message.epoch);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, RankBeat* message) {
  wire::RankBeat in;
  FM_RETURN_IF_ERROR(Parse(bytes, "RankBeat", &in));
  FM_RETURN_IF_ERROR(
      CheckRange("state", in.state(), 0, static_cast<int64_t>(RankActivity::kLeaving)));
  *message = {.progress = in.progress(),
              .waiting = in.waiting(),
              .phase = in.phase(),
              .layer = in.layer(),
              .step = in.step(),
              .state = static_cast<RankActivity>(in.state()),
              .cpu_seconds = in.cpu_seconds(),
              .steps = in.steps(),
              .epoch = in.epoch()};
  return absl::OkStatus();
}

std::string Encode(const RepairOrder& message) {
  wire::RepairOrder out;
  out.set_epoch(message.epoch);
  for (const int32_t member : message.members) out.add_members(member);
  for (const int64_t epoch : message.since) out.add_since(epoch);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, RepairOrder* message) {
  wire::RepairOrder in;
  FM_RETURN_IF_ERROR(Parse(bytes, "RepairOrder", &in));
  FM_RETURN_IF_ERROR(CheckRange("members", in.members_size(), 1, kMostRanks));
  FM_RETURN_IF_ERROR(CheckSince(in.since(), in.members_size(), in.epoch()));
  for (const int32_t member : in.members()) {
    FM_RETURN_IF_ERROR(CheckRange("members", member, 0, 2 * kMostRanks));
  }
  *message = {.epoch = in.epoch(),
              .members = {in.members().begin(), in.members().end()},
              .since = {in.since().begin(), in.since().end()}};
  return absl::OkStatus();
}

std::string Encode(const EngineHello& message) {
  wire::EngineHello out;
  out.set_epoch(message.epoch);
  for (const auto& [name, value] : message.fields) {
    wire::EngineHello::Field* field = out.add_fields();
    field->set_name(name);
    field->set_value(value);
  }
  out.set_ranks(message.ranks);
  out.set_tensor_parallel(message.tensor_parallel);
  out.set_context(message.context);
  out.set_blocks_per_rank(message.blocks_per_rank);
  out.set_slots_per_rank(message.slots_per_rank);
  out.set_snapshots_per_rank(message.snapshots_per_rank);
  out.set_placement_version(message.placement_version);
  for (const int32_t rank : message.rank_of_expert) out.add_rank_of_expert(rank);
  out.set_embeddings(message.embeddings);
  for (const int64_t epoch : message.since) out.add_since(epoch);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, EngineHello* message) {
  wire::EngineHello in;
  FM_RETURN_IF_ERROR(Parse(bytes, "EngineHello", &in));
  FM_RETURN_IF_ERROR(CheckRange("ranks", in.ranks(), 1, kMostRanks));
  FM_RETURN_IF_ERROR(CheckRange("context", in.context(), 1, int64_t{1} << 40));
  FM_RETURN_IF_ERROR(CheckRange("blocks_per_rank", in.blocks_per_rank(), 1, int64_t{1} << 31));
  FM_RETURN_IF_ERROR(CheckSince(in.since(), in.ranks(), in.epoch()));
  FM_RETURN_IF_ERROR(CheckRange("slots_per_rank", in.slots_per_rank(), 0, int64_t{1} << 31));
  FM_RETURN_IF_ERROR(CheckRange("snapshots_per_rank", in.snapshots_per_rank(), 0, 1 << 20));
  *message = {.epoch = in.epoch(),
              .ranks = in.ranks(),
              .tensor_parallel = in.tensor_parallel(),
              .context = in.context(),
              .blocks_per_rank = in.blocks_per_rank(),
              .slots_per_rank = in.slots_per_rank(),
              .snapshots_per_rank = in.snapshots_per_rank(),
              .placement_version = in.placement_version(),
              .embeddings = in.embeddings(),
              .since = {in.since().begin(), in.since().end()}};
  for (const wire::EngineHello::Field& field : in.fields()) {
    message->fields.emplace_back(field.name(), field.value());
  }
  for (const int32_t rank : in.rank_of_expert()) {
    FM_RETURN_IF_ERROR(CheckRange("rank_of_expert", rank, 0, in.ranks() - 1));
    message->rank_of_expert.push_back(rank);
  }
  return absl::OkStatus();
}

std::string Encode(const EngineWelcome& message) {
  wire::EngineWelcome out;
  out.set_first_step(message.first_step);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, EngineWelcome* message) {
  wire::EngineWelcome in;
  FM_RETURN_IF_ERROR(Parse(bytes, "EngineWelcome", &in));
  FM_RETURN_IF_ERROR(CheckRange("first_step", in.first_step(), 0, int64_t{1} << 62));
  message->first_step = in.first_step();
  return absl::OkStatus();
}

std::string Encode(const StepReply& message) {
  wire::StepReply out;
  out.set_code(static_cast<int32_t>(message.status.code()));
  out.set_error(std::string(Message(message.status)));
  for (const StepResult& result : message.results) out.add_results(EncodeResult(result));
  out.set_broadcast(message.seconds.broadcast);
  out.set_model(message.seconds.model);
  out.set_sample(message.seconds.sample);
  out.set_gather(message.seconds.gather);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, StepReply* message) {
  wire::StepReply in;
  FM_RETURN_IF_ERROR(Parse(bytes, "StepReply", &in));
  message->status = absl::Status(static_cast<absl::StatusCode>(in.code()), in.error());
  message->results.clear();
  for (const std::string& result : in.results()) {
    FM_ASSIGN_OR_RETURN(StepResult decoded, DecodeResult(result));
    message->results.push_back(std::move(decoded));
  }
  message->seconds = {.broadcast = in.broadcast(),
                      .model = in.model(),
                      .sample = in.sample(),
                      .gather = in.gather()};
  return absl::OkStatus();
}

std::string Encode(const EngineNews& message) {
  wire::EngineNews out;
  out.set_state(static_cast<uint32_t>(message.state));
  out.set_reason(message.reason);
  out.set_restarts(message.restarts);
  out.set_repairs(message.repairs);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, EngineNews* message) {
  wire::EngineNews in;
  FM_RETURN_IF_ERROR(Parse(bytes, "EngineNews", &in));
  FM_RETURN_IF_ERROR(
      CheckRange("state", in.state(), 0, static_cast<int64_t>(EngineState::kFailed)));
  *message = {.state = static_cast<EngineState>(in.state()),
              .reason = in.reason(),
              .restarts = in.restarts(),
              .repairs = in.repairs()};
  return absl::OkStatus();
}

std::string Encode(const FrontEndBeat& message) {
  wire::FrontEndBeat out;
  ToWire(message.events, out.mutable_events());
  ToWire(message.engine, out.mutable_engine());
  out.set_culprits(message.culprits);
  out.set_steps(message.steps);
  return out.SerializeAsString();
}

absl::Status Decode(std::string_view bytes, FrontEndBeat* message) {
  wire::FrontEndBeat in;
  FM_RETURN_IF_ERROR(Parse(bytes, "FrontEndBeat", &in));
  FM_RETURN_IF_ERROR(CheckRange("culprits", in.culprits(), 0, int64_t{1} << 31));
  *message = {.events = FromWire(in.events()),
              .engine = FromWire(in.engine()),
              .culprits = in.culprits(),
              .steps = in.steps()};
  return absl::OkStatus();
}

}  // namespace folkmoot
