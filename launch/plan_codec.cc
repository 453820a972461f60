// SPDX-License-Identifier: Apache-2.0
// The way of a plan. Results are in launch/result_codec.cc.
#include "launch/plan_codec.h"

#include <xxhash.h>

#include <cstring>

#include "launch/wire_fields.h"
#include "proto/step.pb.h"

namespace folkmoot {
namespace {

using wire_fields::Append;
using wire_fields::ToVector;

struct FrameHeader {
  uint64_t magic = 0;
  int64_t epoch = 0;
  int64_t step = 0;
  uint64_t hash = 0;  // of the payload
};
constexpr uint64_t kMagic = 0x32'6e'61'6c'70'6d'6f'66;  // "fomplan2", little-endian

void ToWire(const SamplingParams& params, wire::Sampling* out) {
  out->set_temperature(params.temperature);
  out->set_top_k(params.top_k);
  out->set_top_p(params.top_p);
  out->set_min_p(params.min_p);
  out->set_seed(params.seed);
  out->set_presence_penalty(params.presence_penalty);
  out->set_frequency_penalty(params.frequency_penalty);
  out->set_repetition_penalty(params.repetition_penalty);
  for (const auto& [id, bias] : params.logit_bias) {
    out->add_bias_ids(id);
    out->add_bias_values(bias);
  }
  Append(params.allowed_ids, out->mutable_allowed_ids());
  for (const std::vector<int32_t>& word : params.bad_words) {
    out->add_bad_word_lengths(static_cast<int32_t>(word.size()));
    Append(word, out->mutable_bad_word_tokens());
  }
  out->set_min_tokens(params.min_tokens);
  Append(params.suppressed_ids, out->mutable_suppressed_ids());
}

absl::Status FromWire(const wire::Sampling& in, SamplingParams* out) {
  out->temperature = in.temperature();
  out->top_k = in.top_k();
  out->top_p = in.top_p();
  out->min_p = in.min_p();
  out->seed = in.seed();
  out->presence_penalty = in.presence_penalty();
  out->frequency_penalty = in.frequency_penalty();
  out->repetition_penalty = in.repetition_penalty();
  if (in.bias_ids_size() != in.bias_values_size()) {
    return DataLoss("{} tokens have {} biases", in.bias_ids_size(), in.bias_values_size());
  }
  for (int i = 0; i < in.bias_ids_size(); ++i) {
    out->logit_bias.emplace_back(in.bias_ids(i), in.bias_values(i));
  }
  out->allowed_ids = ToVector<int32_t>(in.allowed_ids());
  int begin = 0;
  for (const int32_t length : in.bad_word_lengths()) {
    if (length < 0 || length > in.bad_word_tokens_size() - begin) {
      return DataLoss("a bad word of {} tokens, where {} are left", length,
                      in.bad_word_tokens_size() - begin);
    }
    const auto first = in.bad_word_tokens().begin() + begin;
    out->bad_words.emplace_back(first, first + length);
    begin += length;
  }
  out->min_tokens = in.min_tokens();
  out->suppressed_ids = ToVector<int32_t>(in.suppressed_ids());
  return absl::OkStatus();
}

void ToWire(const SequenceStart& start, wire::Start* out) {
  out->set_id(start.id);
  Append(start.tokens, out->mutable_tokens());
  out->set_prompt_length(start.prompt_length);
  out->set_source(start.source);
  out->set_written(start.written);
  out->set_cached(start.cached);
  Append(start.cached_blocks, out->mutable_cached_blocks());
  out->set_snapshot(start.snapshot);
  out->set_answered(start.answered);
  out->set_gate(start.gate);
  ToWire(start.sampling, out->mutable_sampling());
  out->set_logprobs(start.logprobs);
  out->set_prompt_logprobs(start.prompt_logprobs);
  out->set_top_logprobs(start.top_logprobs);
  out->set_trace_routing(start.trace_routing);
  out->set_layer_digests(start.layer_digests);
  out->set_pooling(static_cast<uint32_t>(start.pooling));
}

absl::Status FromWire(const wire::Start& in, SequenceStart* out) {
  out->id = in.id();
  out->tokens = ToVector<int32_t>(in.tokens());
  out->prompt_length = in.prompt_length();
  out->source = in.source();
  out->written = in.written();
  out->cached = in.cached();
  out->cached_blocks = ToVector<int32_t>(in.cached_blocks());
  out->snapshot = in.snapshot();
  out->answered = in.answered();
  out->gate = in.gate();
  out->logprobs = in.logprobs();
  out->prompt_logprobs = in.prompt_logprobs();
  out->top_logprobs = in.top_logprobs();
  out->trace_routing = in.trace_routing();
  out->layer_digests = in.layer_digests();
  if (in.pooling() > static_cast<uint32_t>(Pooling::kMean)) {
    return DataLoss("sequence {}: there is no pooling {}", in.id(), in.pooling());
  }
  out->pooling = static_cast<Pooling>(in.pooling());
  return Annotate(FromWire(in.sampling(), &out->sampling), fmt::format("sequence {}", in.id()));
}

void ToWire(const SequenceSlice& slice, wire::Slice* out) {
  out->set_id(slice.id);
  out->set_start(slice.start);
  out->set_count(slice.count);
  Append(slice.new_blocks, out->mutable_new_blocks());
  out->set_sample(slice.sample);
  out->set_drafts(slice.drafts);
  Append(slice.draft, out->mutable_draft());
  out->set_snapshot(slice.snapshot);
  if (!slice.allowed.empty()) {
    out->set_allowed(slice.allowed.data(), slice.allowed.size() * sizeof(uint32_t));
  }
}

absl::Status FromWire(const wire::Slice& in, SequenceSlice* out) {
  out->id = in.id();
  out->start = in.start();
  out->count = in.count();
  out->new_blocks = ToVector<int32_t>(in.new_blocks());
  out->sample = in.sample();
  out->drafts = in.drafts();
  out->snapshot = in.snapshot();
  out->draft = ToVector<int32_t>(in.draft());
  const std::string& allowed = in.allowed();
  if (allowed.size() % sizeof(uint32_t) != 0) {
    return DataLoss("sequence {}: a token mask of {} bytes is not made of words", in.id(),
                    allowed.size());
  }
  out->allowed.resize(allowed.size() / sizeof(uint32_t));
  if (!allowed.empty()) std::memcpy(out->allowed.data(), allowed.data(), allowed.size());
  return absl::OkStatus();
}

absl::Status FromWire(const wire::RankPlan& in, RankPlan* out) {
  out->finished = ToVector<int64_t>(in.finished());
  out->starts.resize(static_cast<size_t>(in.starts_size()));
  for (int i = 0; i < in.starts_size(); ++i) {
    FM_RETURN_IF_ERROR(FromWire(in.starts(i), &out->starts[static_cast<size_t>(i)]));
  }
  out->slices.resize(static_cast<size_t>(in.slices_size()));
  for (int i = 0; i < in.slices_size(); ++i) {
    FM_RETURN_IF_ERROR(FromWire(in.slices(i), &out->slices[static_cast<size_t>(i)]));
  }
  return absl::OkStatus();
}

absl::Status CheckContent(const wire::Plan& in, const ExpectedPlan& expected) {
  if (in.epoch() != expected.epoch || in.step() != expected.step) {
    return DataLoss("its content is step {} of epoch {}", in.step(), in.epoch());
  }
  if (in.shutdown()) return absl::OkStatus();
  if (in.ranks_size() != expected.ranks) {
    return DataLoss("made for {} ranks, but there are {}", in.ranks_size(), expected.ranks);
  }
  if (in.placement_version() != expected.placement_version) {
    return DataLoss("made for the placement {:016x} of the experts, but this rank holds {:016x}",
                    in.placement_version(), expected.placement_version);
  }
  for (int i = 1; i < in.gates_size(); ++i) {
    if (!(in.gates(i - 1) < in.gates(i))) {
      return DataLoss("its gates '{}' and '{}' are out of order", in.gates(i - 1), in.gates(i));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void EncodePlan(const StepPlan& plan, std::string* frame) {
  wire::Plan out;
  out.set_epoch(plan.epoch);
  out.set_step(plan.step);
  out.set_shutdown(plan.shutdown);
  out.set_placement_version(plan.placement_version);
  for (const std::string& gate : plan.gates) out.add_gates(gate);
  for (const RankPlan& rank : plan.ranks) {
    wire::RankPlan& wire_rank = *out.add_ranks();
    Append(rank.finished, wire_rank.mutable_finished());
    for (const SequenceStart& start : rank.starts) ToWire(start, wire_rank.add_starts());
    for (const SequenceSlice& slice : rank.slices) ToWire(slice, wire_rank.add_slices());
  }
  frame->assign(sizeof(FrameHeader), '\0');
  out.AppendToString(frame);
  const FrameHeader header = {.magic = kMagic,
                              .epoch = plan.epoch,
                              .step = plan.step,
                              .hash = XXH3_64bits(frame->data() + sizeof(FrameHeader),
                                                  frame->size() - sizeof(FrameHeader))};
  std::memcpy(frame->data(), &header, sizeof(header));
}

absl::StatusOr<StepPlan> DecodePlan(std::string_view frame, const ExpectedPlan& expected) {
  const std::string name = fmt::format("plan of step {}", expected.step);
  FrameHeader header;
  if (frame.size() < sizeof(header)) {
    return DataLoss("{}: {} bytes are too few for a plan", name, frame.size());
  }
  std::memcpy(&header, frame.data(), sizeof(header));
  if (header.magic != kMagic) return DataLoss("{}: not a plan at all", name);
  if (header.epoch != expected.epoch || header.step != expected.step) {
    return DataLoss(
        "the plan received is step {} of epoch {}, but this rank is at step {} of epoch {}",
        header.step, header.epoch, expected.step, expected.epoch);
  }
  const std::string_view payload = frame.substr(sizeof(header));
  wire::Plan in;
  if (XXH3_64bits(payload.data(), payload.size()) != header.hash ||
      !in.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return DataLoss("{}: its content does not match its hash", name);
  }
  FM_RETURN_IF_ERROR(Annotate(CheckContent(in, expected), name));
  StepPlan plan;
  plan.epoch = in.epoch();
  plan.step = in.step();
  plan.shutdown = in.shutdown();
  plan.placement_version = in.placement_version();
  plan.gates.assign(in.gates().begin(), in.gates().end());
  plan.ranks.resize(static_cast<size_t>(in.ranks_size()));
  for (int r = 0; r < in.ranks_size(); ++r) {
    FM_RETURN_IF_ERROR(Annotate(FromWire(in.ranks(r), &plan.ranks[static_cast<size_t>(r)]), name));
  }
  return plan;
}

}  // namespace folkmoot
