// SPDX-License-Identifier: Apache-2.0
#include "launch/plan_codec.h"

#include <xxhash.h>

#include <cstring>

#include "proto/step.pb.h"

namespace folkmoot {
namespace {

struct FrameHeader {
  uint64_t magic = 0;
  int64_t epoch = 0;
  int64_t step = 0;
  uint64_t hash = 0;  // of the payload
};
constexpr uint64_t kMagic = 0x31'6e'61'6c'70'6d'6f'66;  // "fomplan1", little-endian

template <typename Field, typename T>
void Append(const std::vector<T>& values, Field* field) {
  field->Add(values.begin(), values.end());
}

template <typename T, typename Field>
std::vector<T> ToVector(const Field& field) {
  return {field.begin(), field.end()};
}

void ToWire(const SequenceSlice& slice, wire::Slice* out) {
  out->set_id(slice.id);
  out->set_start(slice.start);
  out->set_prompt_length(slice.prompt_length);
  Append(slice.token_ids, out->mutable_token_ids());
  Append(slice.blocks, out->mutable_blocks());
  Append(slice.targets, out->mutable_targets());
  out->set_top_logprobs(slice.top_logprobs);
  out->set_sample(slice.sample);
  out->set_trace_routing(slice.trace_routing);
  out->set_layer_digests(slice.layer_digests);
  wire::Sampling& sampling = *out->mutable_sampling();
  sampling.set_temperature(slice.sampling.temperature);
  sampling.set_top_k(slice.sampling.top_k);
  sampling.set_top_p(slice.sampling.top_p);
  sampling.set_min_p(slice.sampling.min_p);
  sampling.set_seed(slice.sampling.seed);
}

SequenceSlice FromWire(const wire::Slice& in) {
  SequenceSlice slice;
  slice.id = in.id();
  slice.start = in.start();
  slice.prompt_length = in.prompt_length();
  slice.token_ids = ToVector<int32_t>(in.token_ids());
  slice.blocks = ToVector<int32_t>(in.blocks());
  slice.targets = ToVector<int32_t>(in.targets());
  slice.top_logprobs = in.top_logprobs();
  slice.sample = in.sample();
  slice.trace_routing = in.trace_routing();
  slice.layer_digests = in.layer_digests();
  const wire::Sampling& sampling = in.sampling();
  slice.sampling = {.temperature = sampling.temperature(),
                    .top_k = sampling.top_k(),
                    .top_p = sampling.top_p(),
                    .min_p = sampling.min_p(),
                    .seed = sampling.seed()};
  return slice;
}

void ToWire(const SequenceResult& result, wire::SequenceResult* out) {
  out->set_id(result.id);
  out->set_token(result.token);
  out->set_token_logprob(result.token_logprob);
  Append(result.target_logprobs, out->mutable_target_logprobs());
  for (const TokenLogprob& top : result.top_logprobs) {
    out->add_top_tokens(top.token);
    out->add_top_values(top.logprob);
  }
  for (const DropCounts& drops : result.drops) {
    wire::Drops& wire_drops = *out->add_drops();
    wire_drops.set_layer(drops.layer);
    wire_drops.set_rejected(drops.rejected);
    wire_drops.set_overflow(drops.overflow);
  }
  for (const RoutingTrace& trace : result.routing) {
    wire::Routing& routing = *out->add_routing();
    routing.set_layer(trace.layer);
    routing.set_top_k(trace.top_k);
    Append(trace.expert, routing.mutable_expert());
    Append(trace.weight, routing.mutable_weight());
    routing.set_state(trace.state.data(), trace.state.size());
    Append(trace.place, routing.mutable_place());
  }
  Append(result.layer_digests, out->mutable_layer_digests());
  out->set_error(result.error);
}

SequenceResult FromWire(const wire::SequenceResult& in) {
  SequenceResult result;
  result.id = in.id();
  result.token = in.token();
  result.token_logprob = in.token_logprob();
  result.target_logprobs = ToVector<float>(in.target_logprobs());
  for (int i = 0; i < in.top_tokens_size(); ++i) {
    result.top_logprobs.push_back({in.top_tokens(i), in.top_values(i)});
  }
  for (const wire::Drops& drops : in.drops()) {
    result.drops.push_back({drops.layer(), drops.rejected(), drops.overflow()});
  }
  for (const wire::Routing& routing : in.routing()) {
    RoutingTrace& trace = result.routing.emplace_back();
    trace.layer = routing.layer();
    trace.top_k = routing.top_k();
    trace.expert = ToVector<int32_t>(routing.expert());
    trace.weight = ToVector<float>(routing.weight());
    trace.state.assign(routing.state().begin(), routing.state().end());
    trace.place = ToVector<int32_t>(routing.place());
  }
  result.layer_digests = ToVector<uint64_t>(in.layer_digests());
  result.error = in.error();
  return result;
}

}  // namespace

void EncodePlan(const StepPlan& plan, std::string* frame) {
  wire::Plan out;
  out.set_epoch(plan.epoch);
  out.set_step(plan.step);
  out.set_shutdown(plan.shutdown);
  for (const auto& slices : plan.ranks) {
    wire::RankPlan& rank = *out.add_ranks();
    for (const SequenceSlice& slice : slices) ToWire(slice, rank.add_slices());
  }
  Append(plan.finished, out.mutable_finished());
  frame->assign(sizeof(FrameHeader), '\0');
  out.AppendToString(frame);
  const FrameHeader header = {.magic = kMagic,
                              .epoch = plan.epoch,
                              .step = plan.step,
                              .hash = XXH3_64bits(frame->data() + sizeof(FrameHeader),
                                                  frame->size() - sizeof(FrameHeader))};
  std::memcpy(frame->data(), &header, sizeof(header));
}

absl::StatusOr<StepPlan> DecodePlan(std::string_view frame, int64_t epoch, int64_t step,
                                    int ranks) {
  FrameHeader header;
  if (frame.size() < sizeof(header)) {
    return DataLoss("plan of step {}: {} bytes are too few for a plan", step, frame.size());
  }
  std::memcpy(&header, frame.data(), sizeof(header));
  if (header.magic != kMagic) return DataLoss("plan of step {}: not a plan at all", step);
  if (header.epoch != epoch || header.step != step) {
    return DataLoss(
        "the plan received is step {} of epoch {}, but this rank is at step {} of epoch {}",
        header.step, header.epoch, step, epoch);
  }
  const std::string_view payload = frame.substr(sizeof(header));
  wire::Plan in;
  if (XXH3_64bits(payload.data(), payload.size()) != header.hash ||
      !in.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return DataLoss("plan of step {}: its content does not match its hash", step);
  }
  if (in.ranks_size() != ranks && !in.shutdown()) {
    return DataLoss("plan of step {}: made for {} ranks, but there are {}", step, in.ranks_size(),
                    ranks);
  }
  StepPlan plan;
  plan.epoch = in.epoch();
  plan.step = in.step();
  plan.shutdown = in.shutdown();
  plan.finished = ToVector<int64_t>(in.finished());
  for (const wire::RankPlan& rank : in.ranks()) {
    std::vector<SequenceSlice>& slices = plan.ranks.emplace_back();
    for (const wire::Slice& slice : rank.slices()) slices.push_back(FromWire(slice));
  }
  return plan;
}

std::string EncodeResult(const StepResult& result) {
  wire::Result out;
  for (const SequenceResult& sequence : result.sequences) ToWire(sequence, out.add_sequences());
  Append(result.expert_tokens, out.mutable_expert_tokens());
  return out.SerializeAsString();
}

absl::StatusOr<StepResult> DecodeResult(std::string_view bytes) {
  wire::Result in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DataLoss("the result of a step cannot be read ({} bytes)", bytes.size());
  }
  StepResult result;
  for (const wire::SequenceResult& sequence : in.sequences()) {
    result.sequences.push_back(FromWire(sequence));
  }
  result.expert_tokens = ToVector<int64_t>(in.expert_tokens());
  return result;
}

}  // namespace folkmoot
