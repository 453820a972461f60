// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cmath>

#include "layers/models/encoder_decoder.h"

namespace folkmoot {
namespace {

// Of a key that stands `distance` positions behind its query: half of the buckets are for single
// distances, the others grow to max_distance (Raffel et al. 2020).
int64_t BucketOf(int64_t distance, bool both_ways, int64_t buckets, int64_t max_distance) {
  int64_t first = 0;
  if (both_ways) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(0, -distance);
  }
  const int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  const auto base = static_cast<float>(exact);
  const auto range =
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float growth = std::log(static_cast<float>(distance) / base) / range;
  const auto more = static_cast<int64_t>(growth * static_cast<float>(buckets - exact));
  return first + std::min(exact + more, buckets - 1);
}

ModelConfig EncoderView(const ModelConfig& config) {
  ModelConfig view = config;
  view.layers.resize(static_cast<size_t>(config.encoder.layers));
  view.heads = view.kv_heads = config.encoder.heads;
  view.head_dim = config.encoder.head_dim;
  view.intermediate = view.moe.intermediate = config.encoder.intermediate;
  return view;
}

ModelConfig DecoderView(const ModelConfig& config) {
  ModelConfig view = config;
  view.layers.erase(view.layers.begin(),
                    view.layers.begin() + static_cast<std::ptrdiff_t>(config.encoder.layers));
  return view;
}

}  // namespace

EncoderDecoderModel::EncoderDecoderModel(const ModelConfig& config, const ModelOptions& options)
    : config_(config), cache_dtype_(options.cache_dtype), gates_(config_, options.gate) {
  columns_ = MakeLoneColumns();
  encoder_.config = EncoderView(config);
  decoder_.config = DecoderView(config);
  decoder_.first_layer = config.encoder.layers;
  if (!config.sinusoidal) return;
  const int64_t half = config.hidden / 2;
  const auto step = static_cast<float>(-std::log(10000.0) / static_cast<double>(half - 1));
  for (int64_t i = 0; i < half; ++i) {
    frequencies_.push_back(std::exp(static_cast<float>(i) * step));
  }
}

absl::StatusOr<std::unique_ptr<Model>> EncoderDecoderModel::Load(
    const Family& family, const ModelConfig& config, const ModelOptions& options,
    WeightLoader& loader, const ExpertPlacement& placement, Communicator& experts,
    ThreadPool& pool) {
  FM_CHECK(options.tensor.ranks == nullptr);  // WhyNotTensorParallel
  std::unique_ptr<EncoderDecoderModel> model(new EncoderDecoderModel(config, options));
  model->placement_version_ = placement.Fingerprint();
  model->ranks_ = experts.size();
  if (config.moe.experts > 0) {
    FM_ASSIGN_OR_RETURN(model->dispatcher_, MakeDispatcher(options.dispatcher, experts, placement));
  }
  FM_RETURN_IF_ERROR(model->LoadStacks(family, loader, placement, experts.rank(), pool));
  model->BindGates(&model->encoder_);
  model->BindGates(&model->decoder_);
  return model;
}

absl::Status EncoderDecoderModel::List(const ModelConfig& config, WeightLoader& loader,
                                       const ExpertPlacement& placement, int expert_rank) {
  ModelOptions options;
  FM_ASSIGN_OR_RETURN(options.gate, DefaultGate(config));
  FM_ASSIGN_OR_RETURN(const Family* const family, CheckModel(config, options.gate));
  EncoderDecoderModel model(config, options);
  ThreadPool pool(1);
  return model.LoadStacks(*family, loader, placement, expert_rank, pool);
}

absl::Status EncoderDecoderModel::LoadStacks(const Family& family, WeightLoader& loader,
                                             const ExpertPlacement& placement, int expert_rank,
                                             ThreadPool& pool) {
  for (Stack* stack : {&encoder_, &decoder_}) {
    const auto names = [&](int64_t index) {
      return stack == &encoder_ ? LayerNamesOf(family, loader, index)
                                : DecoderLayerNamesOf(family, index);
    };
    stack->blocks.resize(stack->config.layers.size());
    for (int64_t i = 0; i < std::ssize(stack->blocks); ++i) {
      FM_RETURN_IF_ERROR(LoadBlock(names(i), loader, i, placement, expert_rank, pool, stack));
    }
    FM_RETURN_IF_ERROR(LoadPositionBias(names(0), loader, stack));
  }
  return LoadEnds(family.end_names(), loader, pool);
}

absl::Status EncoderDecoderModel::LoadBlock(const LayerNames& names, WeightLoader& loader,
                                            int64_t index, const ExpertPlacement& placement,
                                            int expert_rank, ThreadPool& pool, Stack* stack) {
  const ModelConfig& config = stack->config;
  Block& block = stack->blocks[static_cast<size_t>(index)];
  const auto norm = [&](const std::string& module) {
    return Norm::Load(loader, config, module, config.hidden);
  };
  FM_ASSIGN_OR_RETURN(block.attention_norm, norm(names.input_norm));
  FM_ASSIGN_OR_RETURN(block.ffn_norm, norm(names.ffn_norm));
  // The encoder keeps the keys and values of one layer only.
  const int64_t cached = stack == &encoder_ ? 0 : index;
  FM_ASSIGN_OR_RETURN(block.attention,
                      LoadAttention(pool, loader, config, cached, names, *columns_));
  if (stack == &decoder_) {
    FM_ASSIGN_OR_RETURN(block.cross_norm, norm(names.cross_norm));
    FM_ASSIGN_OR_RETURN(block.cross,
                        CrossAttention::Load(pool, loader, config, cached, names.cross));
  }
  const LayerConfig& kind = config.layers[static_cast<size_t>(index)];
  if (kind.moe) {
    FM_ASSIGN_OR_RETURN(block.moe, MoeLayer::Load(pool, loader, config, kind, names.moe, placement,
                                                  expert_rank, *columns_));
    return absl::OkStatus();
  }
  const GatedFfnTensors tensors = TensorsOfDense(names, config.hidden, config.intermediate);
  FM_ASSIGN_OR_RETURN(
      block.dense, DenseFfn::Load(pool, loader, tensors, config.activation,
                                  FfnLimit(config, kind.dense_limit), config.mlp_bias, *columns_));
  return absl::OkStatus();
}

absl::Status EncoderDecoderModel::LoadPositionBias(const LayerNames& first, WeightLoader& loader,
                                                   Stack* stack) const {
  const int64_t buckets = config_.position_buckets;
  if (buckets == 0) return absl::OkStatus();
  std::vector<std::vector<float>> rows;  // by bucket, of all heads
  for (int64_t b = 0; b < buckets; ++b) {
    FM_ASSIGN_OR_RETURN(rows.emplace_back(),
                        loader.Row(first.position_bias, stack->config.heads, b, buckets));
  }
  const int64_t reach = config_.position_distance;
  for (int64_t head = 0; head < stack->config.heads; ++head) {
    for (int64_t distance = -reach; distance <= reach; ++distance) {
      const int64_t bucket = BucketOf(distance, stack == &encoder_, buckets, reach);
      stack->position_bias.push_back(rows[static_cast<size_t>(bucket)][static_cast<size_t>(head)]);
    }
  }
  return absl::OkStatus();
}

absl::Status EncoderDecoderModel::LoadEnds(const EndNames& names, WeightLoader& loader,
                                           ThreadPool& pool) {
  const TensorRef embedding = {.name = names.embedding, .n = config_.vocab, .k = config_.hidden};
  for (Stack* stack : {&encoder_, &decoder_}) {
    const std::string& own = stack == &encoder_ ? names.encoder_embedding : names.decoder_embedding;
    TensorRef table = embedding;
    if (!config_.tied_embeddings && loader.Has(own)) table.name = own;
    FM_ASSIGN_OR_RETURN(stack->embedding, loader.Table(table));
  }
  FM_ASSIGN_OR_RETURN(encoder_.final_norm,
                      Norm::Load(loader, config_, names.encoder_norm, config_.hidden));
  FM_ASSIGN_OR_RETURN(decoder_.final_norm,
                      Norm::Load(loader, config_, names.final_norm, config_.hidden));
  TensorRef head = embedding;
  if (!config_.tied_embeddings) head.name = names.head + ".weight";
  FM_ASSIGN_OR_RETURN(head_, loader.Pack(pool, head));
  return absl::OkStatus();
}

void EncoderDecoderModel::BindGates(Stack* stack) {
  for (size_t i = 0; i < stack->blocks.size(); ++i) {
    if (!stack->blocks[i].moe) continue;
    stack->blocks[i].moe->Bind(static_cast<int>(stack->first_layer) + static_cast<int>(i),
                               static_cast<int>(moe_layers_++), *gates_.own(), 0, *dispatcher_);
  }
}

KvCache::Shape EncoderDecoderModel::CacheShape(const CachePages& pages) const {
  return {.layers = config_.decoder_layers(),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .kv_heads = config_.kv_heads,
          .head_dim = config_.head_dim,
          .value_dim = config_.head_dim,
          .dtype = cache_dtype_};
}

int64_t EncoderDecoderModel::CacheBytesPerBlock(int64_t block_size) const {
  return KvCache::BytesPerBlock(CacheShape({.blocks = 1, .block_size = block_size}));
}

// Half of the machine, shared among the ranks.
absl::StatusOr<CacheRoom> EncoderDecoderModel::CacheMemory() const {
  return CacheRoom{sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / ranks_, true};
}

absl::Status EncoderDecoderModel::MakeCache(const CachePages& pages) {
  cache_.emplace(CacheShape(pages));
  return absl::OkStatus();
}

CachePages EncoderDecoderModel::cache_pages() const {
  if (!cache_) return {};
  return {.blocks = cache_->shape().blocks, .block_size = cache_->shape().block_size};
}

}  // namespace folkmoot
