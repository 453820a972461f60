// SPDX-License-Identifier: Apache-2.0
// Pieces of routing.cu, route_many.cu and route_step.cu that the others start as well.
#pragma once

#include "runtime/cuda/routing.h"

namespace folkmoot::cuda {

void CheckRouting(const RoutingParams& params, const RoutingInput& input,
                  const RoutingRef& routing);
void CheckGrouping(const RoutingRef& routing, const ChoiceGrouping& grouping);

// Warps of a block that ranks `choices` choices by `keys` keys: as many as its shared memory bears.
int RankWarps(int choices, int keys);

// RouteStep up to its logits, for any number of rows.
void RouterOfManyRows(Stream& stream, const RouteStepInput& step);

// Gives places to rows that are decided and finishes them.
void PlaceRows(Stream& stream, const RoutingParams& params, const RoutingInput& input,
               const RoutingRef& routing);

}  // namespace folkmoot::cuda
