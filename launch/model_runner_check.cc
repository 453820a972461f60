// SPDX-License-Identifier: Apache-2.0
// What a rank demands of a plan before it computes it: a plan that fits nothing that it knows is an
// error by name, never a read beyond an end.
#include "launch/model_runner.h"

namespace folkmoot {

absl::Status ModelRunner::CheckStart(const SequenceStart& start) const {
  const auto known = static_cast<int64_t>(start.tokens.size());
  const auto cached_pages = static_cast<int64_t>(start.cached_blocks.size());
  if (states_.contains(start.id)) {
    return DataLoss("sequence {} starts, but this rank already holds it", start.id);
  }
  if (start.prompt_length < 1 || start.prompt_length > known) {
    return DataLoss("sequence {} has a prompt of {} tokens, but starts with {}", start.id,
                    start.prompt_length, known);
  }
  if (start.written < 0 || start.written >= start.prompt_length) {
    return DataLoss("sequence {} has written {} tokens of a prompt of {}", start.id, start.written,
                    start.prompt_length);
  }
  if (start.source < 0 || start.source >= start.prompt_length ||
      (start.source > 0) != model_.config().has_encoder() ||
      (start.cached > 0 && start.cached < start.source)) {
    return DataLoss("sequence {} has a source of {} of {} tokens, {} of them in cached pages",
                    start.id, start.source, start.prompt_length, start.cached);
  }
  if (start.cached < 0 || start.cached >= known ||
      start.cached != cached_pages * pages_.block_size()) {
    return DataLoss("sequence {} starts with {} of {} tokens in {} cached pages of {}", start.id,
                    start.cached, known, cached_pages, pages_.block_size());
  }
  if (start.pooling != Pooling::kNone && !model_.KeepsHidden()) {
    return DataLoss("sequence {} is to be pooled, but this model keeps no hidden states", start.id);
  }
  if (start.pooling == Pooling::kMean && start.cached > 0) {
    return DataLoss("sequence {} needs the mean of its rows, but {} of them are in cached pages",
                    start.id, start.cached);
  }
  for (const int32_t block : start.cached_blocks) {
    if (block < 0 || block >= pages_.blocks()) {
      return DataLoss("sequence {}: page {} is not one of {}", start.id, block, pages_.blocks());
    }
  }
  for (const int32_t token : start.tokens) {
    if (token < 0 || token >= model_.config().vocab) {
      return DataLoss("sequence {}: token {} is not one of {}", start.id, token,
                      model_.config().vocab);
    }
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::CheckSlice(const SequenceSlice& slice, int64_t step,
                                     const SequenceState& state) const {
  const int64_t end = slice.start + slice.count;
  const auto known = static_cast<int64_t>(state.tokens.size());
  const auto masks = static_cast<size_t>(1 + slice.drafts);
  const auto pages = static_cast<int64_t>(state.blocks.size());
  const auto words = static_cast<size_t>((model_.config().vocab + 31) / 32);
  if (state.last_step == step) return DataLoss("sequence {} has two slices", slice.id);
  FM_RETURN_IF_ERROR(CheckGuesses(slice, state));
  if (slice.start != state.computed || slice.count < 1) {
    return DataLoss("sequence {} goes on with {} tokens at position {}, but {} are computed",
                    slice.id, slice.count, slice.start, state.computed);
  }
  if (slice.start < state.start.source && end < state.start.source) {
    return DataLoss("sequence {} goes on to position {} of a source of {}", slice.id, end,
                    state.start.source);
  }
  if (end > known) {
    return DataLoss("sequence {} goes on to position {}, but has only {} tokens", slice.id, end,
                    known);
  }
  if (slice.sample && end != known) {
    return DataLoss("sequence {} is sampled at position {}, but goes on to {}", slice.id, end,
                    known);
  }
  if (slice.end() > pages * pages_.block_size()) {
    return DataLoss("sequence {} goes on to position {}, but has only {} pages of {}", slice.id,
                    slice.end(), pages, pages_.block_size());
  }
  for (const int32_t block : slice.new_blocks) {
    if (block < 0 || block >= pages_.blocks()) {
      return DataLoss("sequence {}: page {} is not one of {}", slice.id, block, pages_.blocks());
    }
  }
  if (slice.snapshot >= model_.cache_pages().snapshots) {
    return DataLoss("sequence {}: copy {} of its state is not one of {}", slice.id, slice.snapshot,
                    model_.cache_pages().snapshots);
  }
  if (!slice.allowed.empty() && slice.allowed.size() != masks * words) {
    return DataLoss("sequence {}: a token mask of {} words, where the vocabulary has {}{}",
                    slice.id, slice.allowed.size(), words, masks > 1 ? " for each token" : "");
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::CheckGuesses(const SequenceSlice& slice,
                                       const SequenceState& state) const {
  if (slice.drafts == 0 && slice.draft.empty()) return absl::OkStatus();
  if (slice.drafts < 1 || slice.count != 1 || !slice.sample) {
    return DataLoss("sequence {} has {} guesses behind {} tokens", slice.id, slice.drafts,
                    slice.count);
  }
  if (state.slot >= 0) {
    return DataLoss("sequence {} has {} guesses, which its recurrent state could not take back",
                    slice.id, slice.drafts);
  }
  if (draft_ == nullptr && slice.draft.empty()) {
    return DataLoss("sequence {} wants guesses, but this rank has no model that guesses", slice.id);
  }
  if (!slice.draft.empty() && std::ssize(slice.draft) != slice.drafts) {
    return DataLoss("sequence {} should have {} guesses, but has {}", slice.id, slice.drafts,
                    slice.draft.size());
  }
  for (const int32_t token : slice.draft) {
    if (token < 0 || token >= model_.config().vocab) {
      return DataLoss("sequence {}: its guess {} is no token of {}", slice.id, token,
                      model_.config().vocab);
    }
  }
  if (state.gate != nullptr && !state.gate->config().CanSpeculate()) {
    return DataLoss("sequence {} has guesses, but its gate '{}' looks at all rows of a step",
                    slice.id, state.start.gate);
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
