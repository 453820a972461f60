// SPDX-License-Identifier: Apache-2.0
#include "launch/sequence_state.h"

#include <xxhash.h>

#include <algorithm>

#include "runtime/status.h"

namespace folkmoot {

uint64_t ExtendStream(uint64_t stream, int32_t token) {
  return XXH3_64bits_withSeed(&token, sizeof(token), stream);
}

PageLedger::PageLedger(int64_t blocks, int64_t block_size, int64_t moe_layers, int64_t experts)
    : block_size_(block_size),
      moe_layers_(moe_layers),
      experts_(experts),
      records_(static_cast<size_t>(blocks)) {}

// Keys and values depend on tokens and gate. Never 0, which means that nothing is known.
uint64_t PageLedger::Content(const SequenceState& state, uint64_t stream) {
  const std::string& gate = state.start.gate;
  return XXH3_64bits_withSeed(gate.data(), gate.size(), stream) | 1;
}

void PageLedger::Write(const SequenceState& state, int64_t begin, int64_t end, uint64_t stream,
                       std::vector<int32_t*>* page_ends) {
  for (int64_t position = begin; position < end; ++position) {
    Record& record =
        records_[static_cast<size_t>(state.blocks[static_cast<size_t>(position / block_size_)])];
    stream = ExtendStream(stream, state.tokens[static_cast<size_t>(position)]);
    if (position % block_size_ == 0) {
      record.content = 0;
      if (state.keeps_pages && state.can_lose) {
        record.lost.assign(static_cast<size_t>(moe_layers_ * (1 + block_size_) * 2), 0);
      }
    }
    if ((position + 1) % block_size_ != 0) continue;
    record.content = Content(state, stream);
    if (!state.keeps_pages || state.expert_places.empty()) continue;
    // Layers that compute none of the page's positions leave zeros.
    record.places.assign(static_cast<size_t>(moe_layers_ * experts_), 0);
    page_ends->push_back(record.places.data());
  }
}

void PageLedger::CountLost(const SequenceState& state, size_t moe_layer, int64_t position,
                           int rejected, int overflow) {
  Record& record =
      records_[static_cast<size_t>(state.blocks[static_cast<size_t>(position / block_size_)])];
  int32_t* lost = record.lost.data() + moe_layer * static_cast<size_t>(1 + block_size_) * 2;
  const int64_t offset = position % block_size_;
  if (offset == 0) {
    lost[0] = static_cast<int32_t>(state.drops[moe_layer].rejected);
    lost[1] = static_cast<int32_t>(state.drops[moe_layer].overflow);
  }
  lost[2 + 2 * offset] = rejected;
  lost[3 + 2 * offset] = overflow;
}

absl::Status PageLedger::Restore(SequenceState* state) const {
  const Record* last = nullptr;
  for (int64_t position = 0; position < state->computed; ++position) {
    const auto at = static_cast<size_t>(position);
    state->stream = ExtendStream(state->stream, state->tokens[at]);
    if ((position + 1) % block_size_ != 0) continue;
    const int32_t block = state->blocks[static_cast<size_t>(position / block_size_)];
    last = &records_[static_cast<size_t>(block)];
    if (last->content != Content(*state, state->stream)) {
      return DataLoss(
          "sequence {}: page {} should hold its positions {} to {}, but holds something else",
          state->start.id, block, position + 1 - block_size_, position);
    }
  }
  if (last == nullptr || !state->keeps_pages) return absl::OkStatus();
  if (!state->expert_places.empty()) {
    std::copy(last->places.begin(), last->places.end(), state->expert_places.begin());
  }
  if (state->can_lose) RestoreLost(state);
  return absl::OkStatus();
}

void PageLedger::RestoreLost(SequenceState* state) const {
  AddLost(*state, state->computed, false, &state->drops);
  AddLost(*state, std::min(state->computed, state->start.prompt_length), true, &state->drops);
}

// Adds what the first `positions` lost: the sum before their last page, then token by token.
void PageLedger::AddLost(const SequenceState& state, int64_t positions, bool prompt,
                         std::vector<DropCounts>* drops) const {
  const int64_t page = (positions - 1) / block_size_;
  const Record& record = records_[static_cast<size_t>(state.blocks[static_cast<size_t>(page)])];
  for (size_t layer = 0; layer < drops->size(); ++layer) {
    const int32_t* lost = record.lost.data() + layer * static_cast<size_t>(1 + block_size_) * 2;
    int64_t rejected = 0;
    int64_t overflow = 0;
    for (int64_t i = 0; i <= positions - page * block_size_; ++i) {
      rejected += lost[2 * i];
      overflow += lost[2 * i + 1];
    }
    DropCounts& sum = (*drops)[layer];
    (prompt ? sum.prompt_rejected : sum.rejected) += rejected;
    (prompt ? sum.prompt_overflow : sum.overflow) += overflow;
  }
}

}  // namespace folkmoot
