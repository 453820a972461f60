// SPDX-License-Identifier: Apache-2.0
// The way of a result (launch/plan_codec.h).
#include "launch/plan_codec.h"
#include "launch/wire_fields.h"
#include "proto/step.pb.h"

namespace folkmoot {
namespace {

using wire_fields::Append;
using wire_fields::ToVector;

template <typename Ids, typename Values>
void ToWire(const std::vector<TokenLogprob>& best, Ids* ids, Values* values) {
  for (const TokenLogprob& entry : best) {
    ids->Add(entry.token);
    values->Add(entry.logprob);
  }
}

template <typename Ids, typename Values>
absl::Status FromWire(const Ids& ids, const Values& values, std::vector<TokenLogprob>* best) {
  if (ids.size() != values.size()) {
    return DataLoss("{} tokens have {} log-probabilities", ids.size(), values.size());
  }
  for (int i = 0; i < ids.size(); ++i) best->push_back({ids[i], values[i]});
  return absl::OkStatus();
}

void ToWire(const std::vector<DropCounts>& drops, wire::Drops* out) {
  for (const DropCounts& layer : drops) {
    out->add_layer(layer.layer);
    out->add_rejected(layer.rejected);
    out->add_overflow(layer.overflow);
    out->add_prompt_rejected(layer.prompt_rejected);
    out->add_prompt_overflow(layer.prompt_overflow);
  }
}

absl::Status FromWire(const wire::Drops& in, std::vector<DropCounts>* drops) {
  const int layers = in.layer_size();
  if (in.rejected_size() != layers || in.overflow_size() != layers ||
      in.prompt_rejected_size() != layers || in.prompt_overflow_size() != layers) {
    return DataLoss("counts of {} layers are not complete", layers);
  }
  for (int i = 0; i < layers; ++i) {
    drops->push_back({.layer = in.layer(i),
                      .rejected = in.rejected(i),
                      .overflow = in.overflow(i),
                      .prompt_rejected = in.prompt_rejected(i),
                      .prompt_overflow = in.prompt_overflow(i)});
  }
  return absl::OkStatus();
}

void ToWire(const RoutingTrace& trace, wire::Routing* out) {
  out->set_layer(trace.layer);
  out->set_top_k(trace.top_k);
  Append(trace.expert, out->mutable_expert());
  Append(trace.weight, out->mutable_weight());
  out->set_state(trace.state.data(), trace.state.size());
  Append(trace.place, out->mutable_place());
}

absl::Status FromWire(const wire::Routing& in, RoutingTrace* trace) {
  trace->layer = in.layer();
  trace->top_k = in.top_k();
  trace->expert = ToVector<int32_t>(in.expert());
  trace->weight = ToVector<float>(in.weight());
  trace->state.assign(in.state().begin(), in.state().end());
  trace->place = ToVector<int32_t>(in.place());
  const size_t choices = trace->expert.size();
  if (trace->top_k < 1 || choices % static_cast<size_t>(trace->top_k) != 0 ||
      trace->weight.size() != choices || trace->state.size() != choices ||
      trace->place.size() != choices) {
    return DataLoss("the trace of layer {} is not complete", trace->layer);
  }
  return absl::OkStatus();
}

void ToWire(const SequenceResult& result, wire::SequenceResult* out) {
  out->set_id(result.id);
  out->set_token(result.token);
  out->set_token_logprob(result.token_logprob);
  ToWire(result.token_top, out->mutable_token_top_ids(), out->mutable_token_top_values());
  Append(result.target_logprobs, out->mutable_target_logprobs());
  Append(result.target_ranks, out->mutable_target_ranks());
  ToWire(result.top_logprobs, out->mutable_top_tokens(), out->mutable_top_values());
  if (!result.drops.empty()) ToWire(result.drops, out->mutable_drops());
  for (const RoutingTrace& trace : result.routing) ToWire(trace, out->add_routing());
  Append(result.layer_digests, out->mutable_layer_digests());
  Append(result.embedding, out->mutable_embedding());
  if (!result.error.empty()) out->set_error(result.error);
}

absl::Status FromWire(const wire::SequenceResult& in, SequenceResult* out) {
  out->id = in.id();
  out->token = in.token();
  out->token_logprob = in.token_logprob();
  FM_RETURN_IF_ERROR(FromWire(in.token_top_ids(), in.token_top_values(), &out->token_top));
  out->target_logprobs = ToVector<float>(in.target_logprobs());
  out->target_ranks = ToVector<int32_t>(in.target_ranks());
  FM_RETURN_IF_ERROR(FromWire(in.top_tokens(), in.top_values(), &out->top_logprobs));
  FM_RETURN_IF_ERROR(FromWire(in.drops(), &out->drops));
  out->routing.resize(static_cast<size_t>(in.routing_size()));
  for (int i = 0; i < in.routing_size(); ++i) {
    FM_RETURN_IF_ERROR(FromWire(in.routing(i), &out->routing[static_cast<size_t>(i)]));
  }
  out->layer_digests = ToVector<uint64_t>(in.layer_digests());
  out->embedding = ToVector<float>(in.embedding());
  out->error = in.error();
  return absl::OkStatus();
}

}  // namespace

std::string EncodeResult(const StepResult& result) {
  wire::Result out;
  for (const SequenceResult& sequence : result.sequences) ToWire(sequence, out.add_sequences());
  Append(result.expert_tokens, out.mutable_expert_tokens());
  Append(result.expert_overflow, out.mutable_expert_overflow());
  return out.SerializeAsString();
}

absl::StatusOr<StepResult> DecodeResult(std::string_view bytes) {
  wire::Result in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DataLoss("the result of a step cannot be read ({} bytes)", bytes.size());
  }
  StepResult result;
  result.sequences.resize(static_cast<size_t>(in.sequences_size()));
  for (int i = 0; i < in.sequences_size(); ++i) {
    FM_RETURN_IF_ERROR(
        Annotate(FromWire(in.sequences(i), &result.sequences[static_cast<size_t>(i)]),
                 fmt::format("the result of sequence {}", in.sequences(i).id())));
  }
  result.expert_tokens = ToVector<int64_t>(in.expert_tokens());
  result.expert_overflow = ToVector<int64_t>(in.expert_overflow());
  return result;
}

}  // namespace folkmoot
