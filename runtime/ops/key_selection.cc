// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/key_selection.h"

#include "runtime/check.h"
#include "runtime/cpu/key_selection.h"

namespace folkmoot {

void SelectKeys(ThreadPool& pool, const KeySelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const KvCache& keys, Workspace& workspace, const ChosenKeys& chosen) {
  FM_CHECK(keys.heads(params.layer) == 1 && params.heads > 0);
  FM_CHECK(q.cols == params.heads * keys.shape().head_dim);
  const bool blocks = params.block > 0;
  FM_CHECK(weights.rows == q.rows && weights.cols == (blocks ? 0 : params.heads));
  FM_CHECK(chosen.most > 0 && chosen.sets == (blocks ? params.heads : 1));
  FM_CHECK(params.block >= 0 && params.local_blocks >= 0);
  FM_CHECK(blocks ? chosen.most % params.block == 0 : params.local_blocks == 0);
  FM_CHECK(params.local_blocks * params.block <= chosen.most);
  FM_CHECK(std::ssize(chosen.counts) == q.rows * chosen.sets);
  FM_CHECK(std::ssize(chosen.positions) == q.rows * chosen.sets * chosen.most);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_row >= 0 && sequence.start >= 0);
    FM_CHECK(sequence.first_row + sequence.rows <= q.rows);
    const auto pages = static_cast<int64_t>(sequence.blocks.size());
    FM_CHECK(sequence.start + sequence.rows <= pages * keys.shape().block_size);
    FM_CHECK(sequence.first_key == 0 && sequence.keys_end == 0);
  }
  cpu::SelectKeys(pool, params, sequences, q, weights, keys, workspace, chosen);
}

void ExpandPools(ThreadPool& pool, int64_t size, std::span<const AttentionSequence> sequences,
                 const ChosenKeys& pools, const ChosenKeys& chosen) {
  FM_CHECK(size > 0 && pools.most > 0 && pools.sets == 1 && chosen.sets == 1);
  FM_CHECK(chosen.most >= pools.most * size + size - 1);
  const int64_t rows = std::ssize(pools.counts);
  FM_CHECK(std::ssize(pools.positions) == rows * pools.most);
  FM_CHECK(std::ssize(chosen.counts) == rows);
  FM_CHECK(std::ssize(chosen.positions) == rows * chosen.most);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_row >= 0 && sequence.start >= 0);
    FM_CHECK(sequence.first_row + sequence.rows <= rows);
  }
  cpu::ExpandPools(pool, size, sequences, pools, chosen);
}

int64_t MostBesidePrompt(int64_t window, const AttentionSequence& sequence) {
  const int64_t most = sequence.prompt + window;
  return sequence.start + sequence.rows > most ? most : 0;
}

void ChooseBesidePrompt(ThreadPool& pool, int64_t window,
                        std::span<const AttentionSequence> sequences, const ChosenKeys& chosen) {
  const int64_t rows = std::ssize(chosen.counts);
  FM_CHECK(window > 0 && chosen.most > 0 && chosen.sets == 1);
  FM_CHECK(std::ssize(chosen.positions) == rows * chosen.most);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_row >= 0 && sequence.start >= 0 && sequence.prompt >= 0);
    FM_CHECK(sequence.first_row + sequence.rows <= rows);
    FM_CHECK(MostBesidePrompt(window, sequence) <= chosen.most);
  }
  cpu::ChooseBesidePrompt(pool, window, sequences, chosen);
}

}  // namespace folkmoot
