// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/inspect_config.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "launch/terminal.h"
#include "layers/models/model.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

std::string_view RopeName(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kLongrope:
      return "longrope";
    case RopeType::kProportional:
      return "proportional";
  }
  return "";
}

std::string_view ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kClampedSwiglu:
      return "clamped_swiglu";
    case Activation::kReluSquared:
      return "relu_squared";
    case Activation::kLimitedSwiglu:
      return "limited_swiglu";
    case Activation::kCappedSwiglu:
      return "capped_swiglu";
    case Activation::kSoftcappedSwiglu:
      return "softcapped_swiglu";
  }
  return "";
}

struct LayerCounts {
  int64_t moe = 0;
  int64_t dense = 0;
  int64_t recurrent = 0;
  int64_t sliding = 0;
  int64_t window = 0;
};

LayerCounts CountLayers(const ModelConfig& config) {
  LayerCounts counts = {.recurrent = config.recurrent_layers()};
  for (const LayerConfig& layer : config.layers) {
    if (layer.ffn) (layer.moe ? counts.moe : counts.dense) += 1;
    if (layer.sliding_window == 0) continue;
    counts.sliding += 1;
    counts.window = layer.sliding_window;
  }
  return counts;
}

std::string LayersText(const ModelConfig& config) {
  const LayerCounts counts = CountLayers(config);
  std::string text =
      fmt::format("{} ({} MoE, {} dense", config.layers.size(), counts.moe, counts.dense);
  if (config.has_encoder()) text += fmt::format("; {} encode", config.encoder.layers);
  if (const LoopConfig& loop = config.loop; loop.passes > 1) {
    text += fmt::format("; {} to {} run {} times", loop.first, loop.end - 1, loop.passes);
  }
  if (counts.recurrent > 0) {
    text += fmt::format("; {} with {}", counts.recurrent, RecurrenceName(config.recurrent.kind));
  }
  if (counts.sliding > 0) {
    text += fmt::format("; {} with a sliding window of {}{}", counts.sliding, counts.window,
                        config.windows_keep_prompt ? " beside the prompt" : "");
  }
  return text + ")";
}

std::string CompressedText(const ModelConfig& config) {
  const CompressedConfig& compressed = config.compressed;
  int64_t sparse = 0, heavy = 0;
  for (const LayerConfig& layer : config.layers) {
    if (layer.compression > 0) (layer.overlapping ? sparse : heavy) += 1;
  }
  std::string text =
      fmt::format("{} heads of {} over one key and value", config.heads, config.head_dim);
  for (const LayerConfig& layer : config.layers) {
    int64_t& count = layer.overlapping ? sparse : heavy;
    if (layer.compression == 0 || count == 0) continue;
    text += fmt::format(", entries of {} tokens in {} layers", layer.compression, count);
    if (layer.overlapping) {
      text += fmt::format(", {} of them chosen by {} index heads of {}", compressed.indexer.top_k,
                          compressed.indexer.heads, compressed.indexer.head_dim);
    }
    count = 0;  // all of a kind are alike
  }
  return text + fmt::format(", outputs in {} groups of rank {}", compressed.output_groups,
                            compressed.output_rank);
}

// What indexers choose for all heads.
std::string ChosenText(const ModelConfig& config) {
  const IndexerConfig& indexer = config.indexer;
  std::string text = fmt::format(", sparse: {} keys", indexer.top_k);
  if (indexer.pool > 1) text += fmt::format(" in pools of {}", indexer.pool);
  return text + fmt::format(" chosen by {} index heads of {} in {} layers", indexer.heads,
                            indexer.head_dim, config.indexers());
}

std::string HeadsText(const ModelConfig& config) {
  if (config.compressed_layers() > 0) return CompressedText(config);
  const LatentConfig& latent = config.latent;
  const IndexerConfig& indexer = config.indexer;
  if (latent.kv_rank == 0) {
    const std::string heads = fmt::format("{} heads, {} key/value heads, head_dim {}", config.heads,
                                          config.kv_heads, config.head_dim);
    if (indexer.top_k == 0) return heads;
    if (indexer.pool > 0) return heads + ChosenText(config);
    return heads + fmt::format(
                       ", sparse: each key/value head sees {} blocks of {} keys, chosen by "
                       "an index head of {}, in {} layers",
                       indexer.top_k / indexer.block, indexer.block, indexer.head_dim,
                       config.indexers());
  }
  std::string text = fmt::format("{} heads of {} over a latent of {}", config.heads,
                                 config.head_dim, latent.kv_rank);
  if (latent.rope_dim > 0) text += fmt::format(" and a rotated key of {}", latent.rope_dim);
  return indexer.top_k == 0 ? text : text + ChosenText(config);
}

std::string_view QkNormText(QkNormKind kind) {
  switch (kind) {
    case QkNormKind::kNone:
      return "";
    case QkNormKind::kHeads:
    case QkNormKind::kUnit:
      return ", q/k norms";
    case QkNormKind::kRows:
      return ", q/k norms over all heads";
    case QkNormKind::kHeadsAfterRope:
    case QkNormKind::kUnitAfterRope:
      return ", norms of rotated q/k";
    case QkNormKind::kUnitScaledKeys:
      return ", q/k norms, keys scaled by heads";
  }
  return "";
}

std::string AttentionText(const ModelConfig& config) {
  std::string text = HeadsText(config);
  if (config.qkv_bias) text += config.output_bias ? ", biases" : ", q/k/v biases";
  text += QkNormText(config.qk_norm);
  if (config.clip_qkv > 0) text += fmt::format(", q/k/v clipped to {}", config.clip_qkv);
  if (!config.uniform_heads()) text += ", other heads in some layers";
  const auto lent = std::count_if(config.layers.begin(), config.layers.end(),
                                  [](const LayerConfig& layer) { return layer.kv_layer >= 0; });
  if (lent > 0) text += fmt::format(", {} layers read keys and values of others", lent);
  if (config.clip.heads > 0) text += fmt::format(", q/k no longer than {}", config.clip.heads);
  if (config.query_scales) text += ", queries scaled by the position";
  if (config.sinks()) text += ", sinks";
  if (config.attention_gate != AttentionGate::kNone || config.latent.gated) text += ", gated";
  if (config.norm_gate_rank > 0) {
    text += fmt::format(", norms with gates of rank {}", config.norm_gate_rank);
  }
  if (config.attention_experts > 0) {
    text += fmt::format(", queries and outputs of {} in {} experts", config.heads / config.kv_heads,
                        config.attention_experts);
  }
  if (config.relative.profiles > 0) {
    text += fmt::format(", scores by distance out of {} profiles", config.relative.profiles);
  }
  if (config.attention_softcap > 0) {
    text += fmt::format(", scores capped at {}", config.attention_softcap);
  }
  return text;
}

bool Rotates(const ModelConfig& config) {
  return std::any_of(config.layers.begin(), config.layers.end(), [](const LayerConfig& layer) {
    return (layer.mixer == Mixer::kAttention || layer.mixer == Mixer::kCompressed) && layer.rope;
  });
}

std::string RopeText(const RopeConfig& rope) {
  std::string text = fmt::format("{}, theta {}", RopeName(rope.type), FormatNumber(rope.theta));
  if (rope.type != RopeType::kDefault)
    text += fmt::format(", factor {}", FormatNumber(rope.factor));
  return text;
}

std::string RecurrentText(const RecurrentConfig& recurrent) {
  switch (recurrent.kind) {
    case Recurrence::kDeltaRule:
      break;
    case Recurrence::kStateSpace:
      return fmt::format("{} heads of {} in {} groups, state {}, convolution over {} rows",
                         recurrent.value_heads, recurrent.value_dim, recurrent.key_heads,
                         recurrent.key_dim, recurrent.kernel);
    case Recurrence::kShortConvolution:
      return fmt::format("over {} rows", recurrent.kernel);
    case Recurrence::kSelectiveScan:
      return fmt::format("{} channels, state {}, steps of rank {}, convolution over {} rows",
                         recurrent.value_dim, recurrent.key_dim, recurrent.step_rank,
                         recurrent.kernel);
    case Recurrence::kLightning:
      return fmt::format("{} heads of {}", recurrent.value_heads, recurrent.value_dim);
    case Recurrence::kConvolvedAttention:
      return fmt::format("q and k over {} rows by numbers and {} rows by heads", recurrent.kernel,
                         recurrent.head_kernel);
    case Recurrence::kResidualConvolutions:
      return fmt::format("k, v and what attention and FFN give, over {} rows", recurrent.kernel);
  }
  return fmt::format("{} value heads of {}, {} key heads of {}, convolution over {} rows",
                     recurrent.value_heads, recurrent.value_dim, recurrent.key_heads,
                     recurrent.key_dim, recurrent.kernel);
}

std::string ResidualText(const ModelConfig& config) {
  const auto text = [](std::string_view part, const ResidualFactors& factors) {
    return fmt::format("{} of the norm and {} of {}", FormatNumber(factors.kept),
                       FormatNumber(factors.added), part);
  };
  const ResidualConfig& residual = config.residual;
  std::string all = text("attention", residual.attention);
  if (config.recurrent_layers() > 0) {
    all += "; " + text(RecurrenceName(config.recurrent.kind), residual.recurrent);
  }
  return all + "; " + text("FFN", residual.ffn);
}

std::string StreamsText(const HyperConfig& hyper) {
  const std::string text = fmt::format("{} streams, ", hyper.streams);
  if (hyper.gate_rank > 0) return text + fmt::format("gates of rank {}", hyper.gate_rank);
  if (hyper.independent) return text + "each by itself";
  return text + fmt::format("mixed in {} iterations", hyper.iterations);
}

void AddNgramRow(const ModelConfig& config, KeyValues& table) {
  const NgramConfig& ngrams = config.ngrams;
  if (config.ngram_layers() == 0) return;
  table.Add("n-grams",
            fmt::format("of up to {} tokens, {} hashes of each length, {} numbers, in {} "
                        "layers",
                        ngrams.size, ngrams.heads, ngrams.width, config.ngram_layers()));
}

void AddRecurrentRows(const ModelConfig& config, KeyValues& table) {
  if (config.recurrent_layers() == 0) return;
  table.Add(std::string(RecurrenceName(config.recurrent.kind)), RecurrentText(config.recurrent));
}

void AddMoeRows(const ModelConfig& config, KeyValues& table) {
  const MoeConfig& moe = config.moe;
  if (moe.experts == 0) return;
  std::string experts =
      fmt::format("{}, top {} chosen, intermediate {}, weights {}", moe.experts, moe.top_k,
                  moe.intermediate, moe.norm_topk_prob ? "renormalised" : "as they are");
  if (moe.expert_bias) experts += ", biases";
  const auto hashed = std::count_if(config.layers.begin(), config.layers.end(),
                                    [](const LayerConfig& layer) { return layer.hashed; });
  if (hashed > 0) experts += fmt::format(", by a table of tokens in {} layers", hashed);
  if (moe.latent > 0) experts += fmt::format(", on vectors of {}", moe.latent);
  if (moe.router_hidden > 0) {
    experts += fmt::format(", by networks on vectors of {} that go on from layer to layer",
                           moe.router_hidden);
  }
  if (moe.zero_experts > 0) experts += fmt::format(", {} that do nothing", moe.zero_experts);
  if (moe.groups > 1) {
    experts += fmt::format(", of {} of {} groups", moe.chosen_groups, moe.groups);
  }
  table.Add("experts", experts);
  const std::string parts =
      moe.shared_sinks > 0 ? fmt::format(" in {} parts that the router weighs", moe.shared_sinks)
                           : "";
  table.Add("shared expert", moe.shared_intermediate > 0
                                 ? fmt::format("intermediate {}{}", moe.shared_intermediate, parts)
                                 : "none");
}

nlohmann::ordered_json RopeJson(const RopeConfig& rope) {
  nlohmann::ordered_json json = {{"type", RopeName(rope.type)}, {"theta", rope.theta}};
  if (rope.type != RopeType::kDefault) json["factor"] = rope.factor;
  if (rope.type == RopeType::kYarn || rope.type == RopeType::kLlama3 ||
      rope.type == RopeType::kLongrope) {
    json["original_max_positions"] = rope.original_max_positions;
  }
  return json;
}

}  // namespace

void AddConfigRows(const ModelConfig& config, KeyValues& table) {
  table.Add("architecture", config.architecture);
  table.Add("layers", LayersText(config));
  table.Add("hidden", fmt::format("{}, dense FFN {}, {}", config.hidden, config.intermediate,
                                  ActivationName(config.activation)));
  if (config.hyper.streams > 0) table.Add("residual", StreamsText(config.hyper));
  AddNgramRow(config, table);
  if (config.residual.of_norm) table.Add("residual", ResidualText(config));
  if (config.residual.learned) table.Add("residual", "shifted and scaled, as what joins it is");
  if (config.residual.by_depth) table.Add("residual", "scaled by depth, as what joins it is");
  if (config.residual.gate_temperature > 0) table.Add("residual", "mixed by learned gates");
  if (const int64_t layers = config.residual.sum_layers; layers > 0) {
    table.Add("residual", fmt::format("mixtures of sums of {} layers each", layers));
  }
  table.Add("attention", AttentionText(config));
  AddRecurrentRows(config, table);
  AddMoeRows(config, table);
  if (config.has_encoder()) {
    table.Add("positions", config.sinusoidal
                               ? "sines"
                               : fmt::format("{} biases by distance, up to {}",
                                             config.position_buckets, config.position_distance));
  } else {
    table.Add("rope", Rotates(config) ? RopeText(config.rope) : "none");
  }
  table.Add("vocabulary",
            fmt::format("{}{}", FormatCount(config.vocab),
                        config.tied_embeddings ? ", head tied to the embedding" : "") +
                (config.head_bias ? ", head with a bias" : "") +
                (config.scored_vocab > 0
                     ? fmt::format(", of which {} are predicted", FormatCount(config.scored_vocab))
                     : ""));
  table.Add("context", FormatCount(config.max_positions) + " tokens");
}

nlohmann::ordered_json ConfigJson(const ModelConfig& config) {
  const LayerCounts counts = CountLayers(config);
  nlohmann::ordered_json json;
  json["architecture"] = config.architecture;
  json["model_type"] = config.model_type;
  json["layers"] = config.layers.size();
  json["moe_layers"] = counts.moe;
  json["dense_layers"] = counts.dense;
  json["recurrent_layers"] = counts.recurrent;
  json["sliding_layers"] = counts.sliding;
  json["sliding_window"] = counts.window;
  json["hidden"] = config.hidden;
  json["intermediate"] = config.intermediate;
  json["heads"] = config.heads;
  json["kv_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["qkv_bias"] = config.qkv_bias;
  json["output_bias"] = config.output_bias;
  json["mlp_bias"] = config.mlp_bias;
  json["latent_rank"] = config.latent.kv_rank;
  json["index_top_k"] = config.indexer.top_k;
  json["index_heads"] = config.indexer.heads;
  json["index_head_dim"] = config.indexer.head_dim;
  json["index_block"] = config.indexer.block;
  json["index_pool"] = config.indexer.pool;
  json["index_layers"] = config.indexers();
  json["compressed_layers"] = config.compressed_layers();
  json["residual_streams"] = std::max<int64_t>(1, config.hyper.streams);
  json["ngram_layers"] = config.ngram_layers();
  json["qk_norm"] = config.qk_norm != QkNormKind::kNone;
  json["qk_norm_rows"] = config.qk_norm == QkNormKind::kRows;
  json["clip_qkv"] = config.clip_qkv;
  json["sinks"] = config.sinks();
  json["activation"] = ActivationName(config.activation);
  json["experts"] = config.moe.experts;
  json["top_k"] = config.moe.top_k;
  json["moe_intermediate"] = config.moe.intermediate;
  json["expert_bias"] = config.moe.expert_bias;
  json["router_bias"] = config.moe.router_bias;
  json["norm_topk_prob"] = config.moe.norm_topk_prob;
  json["shared_intermediate"] = config.moe.shared_intermediate;
  json["shared_sinks"] = config.moe.shared_sinks;
  json["expert_groups"] = config.moe.groups;
  json["expert_width"] = config.expert_width();
  json["zero_experts"] = config.moe.zero_experts;
  json["rope"] = nullptr;
  if (!config.has_encoder() && Rotates(config)) json["rope"] = RopeJson(config.rope);
  json["encoder_layers"] = config.encoder.layers;
  json["vocab"] = config.vocab;
  json["context"] = config.max_positions;
  json["tied_embeddings"] = config.tied_embeddings;
  json["head_bias"] = config.head_bias;
  json["eos_token_ids"] = config.eos_ids;
  json["cpu_only"] = WhyCpuOnly(config);
  json["not_tensor_parallel"] = WhyNotTensorParallel(config);
  json["quantization"] = nullptr;
  if (config.weight_format != nullptr) json["quantization"] = config.weight_format->description();
  return json;
}

}  // namespace folkmoot
