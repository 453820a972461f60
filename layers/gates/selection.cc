// SPDX-License-Identifier: Apache-2.0
#include "layers/gates/selection.h"

#include <algorithm>

namespace folkmoot {
namespace {

int KeysPerGroup(const GateConfig& config) {
  switch (config.group_score) {
    case GroupScore::kMax:
      return 1;
    case GroupScore::kSumTop2:
      return 2;
    case GroupScore::kSumTopn:
      return config.top_k / config.topk_group;
  }
  return 1;
}

// Writes group_fill into the groups that are not among the topk_group best.
void LimitGroups(const GateConfig& config, Workspace& workspace, std::span<double> key) {
  const Workspace::Position mark = workspace.Mark();
  const auto groups = static_cast<size_t>(config.n_group);
  const size_t width = key.size() / groups;
  const auto summed = std::min(width, static_cast<size_t>(KeysPerGroup(config)));
  const auto best = workspace.Get<int32_t>(static_cast<int64_t>(summed));
  const auto group_score = workspace.Get<double>(config.n_group);
  for (size_t g = 0; g < groups; ++g) {
    const auto members = key.subspan(g * width, width);
    TopIndices(members, best);
    group_score[g] = 0.0;
    for (const int32_t member : best) group_score[g] += members[static_cast<size_t>(member)];
  }
  const auto kept = workspace.Get<int32_t>(config.topk_group);
  TopIndices(group_score, kept);
  for (size_t g = 0; g < groups; ++g) {
    if (std::find(kept.begin(), kept.end(), static_cast<int32_t>(g)) != kept.end()) continue;
    const auto members = key.subspan(g * width, width);
    std::fill(members.begin(), members.end(), config.group_fill);
  }
  workspace.Release(mark);
}

}  // namespace

void SelectionKey(const GateConfig& config, std::span<const double> logits,
                  std::span<const double> score, std::span<const float> bias, Workspace& workspace,
                  std::span<double> key) {
  const auto& base = config.select_on == SelectOn::kScore ? score : logits;
  std::copy(base.begin(), base.end(), key.begin());
  if (!bias.empty()) {
    for (size_t e = 0; e < key.size(); ++e) key[e] += static_cast<double>(bias[e]);
  }
  if (config.n_group > 1) LimitGroups(config, workspace, key);
}

void TopIndices(std::span<const double> key, std::span<int32_t> chosen) {
  // Insertion into a sorted list of the best so far: one pass over the keys, which come by rising
  // index, so that a strict comparison leaves ties with the lower one.
  size_t filled = 0;
  for (size_t e = 0; e < key.size(); ++e) {
    if (filled == chosen.size() && !(key[e] > key[static_cast<size_t>(chosen[filled - 1])])) {
      continue;
    }
    size_t at = filled < chosen.size() ? filled++ : filled - 1;
    for (; at > 0 && key[e] > key[static_cast<size_t>(chosen[at - 1])]; --at) {
      chosen[at] = chosen[at - 1];
    }
    chosen[at] = static_cast<int32_t>(e);
  }
}

}  // namespace folkmoot
