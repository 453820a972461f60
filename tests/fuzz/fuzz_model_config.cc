// SPDX-License-Identifier: Apache-2.0
// Input: a config.json. Whatever is accepted must be a model that can be built.
#include <cstddef>
#include <cstdint>

#include "layers/models/load_config.h"
#include "runtime/check.h"
#include "runtime/rope.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config =
      folkmoot::ParseModelConfig({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (!config.ok()) {
    FM_CHECK(folkmoot::Message(config.status()).starts_with("fuzz.json: "));
    return 0;
  }
  FM_CHECK(config->hidden > 0 && config->vocab > 0 && !config->layers.empty());
  FM_CHECK(config->heads > 0 && config->heads % config->kv_heads == 0);
  FM_CHECK(config->head_dim > 0 && config->head_dim % 2 == 0);
  FM_CHECK(config->moe.top_k <= config->moe.experts);
  for (const folkmoot::LayerConfig& layer : config->layers) FM_CHECK(layer.sliding_window >= 0);
  const folkmoot::Rope rope(config->rope, config->head_dim, config->max_positions);
  FM_CHECK(rope.rotary_dim() > 0 && rope.rotary_dim() % 2 == 0);
  FM_CHECK(rope.rotary_dim() <= config->head_dim);
  return 0;
}
