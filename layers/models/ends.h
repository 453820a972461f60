// SPDX-License-Identifier: Apache-2.0
// What decoders with and without an encoder do before their first layer and behind the last.
#pragma once

#include <cstdint>
#include <span>

#include "layers/layer_context.h"
#include "layers/weight_loader.h"

namespace folkmoot {

// hidden [T, H] = the rows `ids` of the table, times `multiplier`.
void EmbedTokens(LayerContext& ctx, const RowTable& table, std::span<const int32_t> ids,
                 float multiplier, Matrix hidden);

// The rows of x whose logits are wanted, one below the other.
Matrix RowsOf(LayerContext& ctx, ConstMatrix x, std::span<const int32_t> rows);

}  // namespace folkmoot
