// SPDX-License-Identifier: Apache-2.0
#include "parallel/dispatch_header.h"

namespace folkmoot {

absl::Status CheckSamePlan(int rank, const DispatchHeader& mine, int peer,
                           const DispatchHeader& theirs, const WaitLabel& label) {
  // Names are made only for errors: this runs in every layer of every step.
  const auto name = [&] { return WaitName(rank, label); };
  if (theirs.step != mine.step || theirs.layer != mine.layer) {
    return DataLoss(
        "{}: the ranks disagree about the plan: rank {} is at layer {} of step {}, "
        "this rank at layer {} of step {}",
        name(), peer, theirs.layer, theirs.step, mine.layer, mine.step);
  }
  if (theirs.placement != mine.placement) {
    return DataLoss("{}: rank {} uses another expert placement; give all ranks the same one",
                    name(), peer);
  }
  if (theirs.hidden != mine.hidden) {
    return DataLoss(
        "{}: rank {} has rows of {} numbers, this rank of {}; do all ranks load the "
        "same model?",
        name(), peer, theirs.hidden, mine.hidden);
  }
  if (theirs.rows < 0 || theirs.choices < 0) {
    return DataLoss("{}: rank {} announced {} rows for {} choices", name(), peer, theirs.rows,
                    theirs.choices);
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
