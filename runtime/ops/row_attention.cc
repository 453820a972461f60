// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/row_attention.h"

#include "runtime/check.h"
#include "runtime/cpu/row_attention.h"

namespace folkmoot {
namespace {

void CheckPages(std::span<const AttentionSequence> sequences, const RowPages& pages, int64_t rows) {
  for (const AttentionSequence& s : sequences) {
    FM_CHECK(s.first_row >= 0 && s.rows >= 0 && s.start >= 0 && s.first_row + s.rows <= rows);
    FM_CHECK(s.start + s.rows <= std::ssize(s.blocks) * pages.shape().block_size);
    for (const int32_t block : s.blocks) FM_CHECK(block >= 0 && block < pages.shape().blocks);
  }
}

}  // namespace

void RowAttention(ThreadPool& pool, const RowAttentionParams& params,
                  std::span<const AttentionSequence> sequences, ConstMatrix q,
                  const RowPages& pages, Workspace& workspace, Matrix out) {
  CheckPages(sequences, pages, q.rows);
  const int64_t width = pages.track(params.tokens).width;
  FM_CHECK(params.heads > 0 && params.window > 0);
  FM_CHECK(pages.track(params.tokens).rate == 1);
  FM_CHECK(params.entries < 0 || pages.track(params.entries).width == width);
  FM_CHECK(std::ssize(params.sinks) == params.heads);
  FM_CHECK(params.chosen == nullptr || std::ssize(params.chosen->counts) == q.rows);
  FM_CHECK(q.cols == params.heads * width && out.rows == q.rows && out.cols == q.cols);
  cpu::RowAttention(pool, params, sequences, q, pages, workspace, out);
}

void SelectRows(ThreadPool& pool, const RowSelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const RowPages& pages, Workspace& workspace, const ChosenKeys& chosen) {
  CheckPages(sequences, pages, q.rows);
  FM_CHECK(params.heads > 0 && q.cols == params.heads * pages.track(params.track).width);
  FM_CHECK(weights.rows == q.rows && weights.cols == params.heads);
  FM_CHECK(chosen.most > 0 && std::ssize(chosen.counts) == q.rows);
  FM_CHECK(std::ssize(chosen.positions) == q.rows * chosen.most);
  cpu::SelectRows(pool, params, sequences, q, weights, pages, workspace, chosen);
}

}  // namespace folkmoot
