// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/upload.h"

#include <array>
#include <cmath>

#include "layers/experts.h"
#include "layers/gpu/weight_uploader.h"

namespace folkmoot {
namespace {

// Uploads the parts of one model in order of the checkpoint's names.
class ModelUpload {
 public:
  ModelUpload(const GpuUploadJob& job, WeightLoader& loader, WeightUploader& uploader,
              GpuWeights& weights)
      : job_(job), config_(job.config), loader_(loader), up_(uploader), weights_(weights) {}

  absl::Status Run() {
    const EndNames ends = job_.family.end_names();
    FM_RETURN_IF_ERROR(Plain({.name = ends.embedding, .n = config_.vocab, .k = config_.hidden},
                             weights_.embedding));
    if (!config_.tied_embeddings) {
      FM_RETURN_IF_ERROR(Plain(
          {.name = ends.head + ".weight", .n = config_.vocab, .k = config_.hidden}, weights_.head));
    }
    FM_RETURN_IF_ERROR(Vector(ends.final_norm + ".weight", config_.hidden, weights_.final_norm));
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      const LayerNames names = LayerNamesOf(job_.family, loader_, static_cast<int64_t>(i));
      GpuLayer& layer = weights_.layers[i];
      FM_RETURN_IF_ERROR(Vector(names.input_norm + ".weight", config_.hidden, layer.input_norm));
      FM_RETURN_IF_ERROR(Vector(names.ffn_norm + ".weight", config_.hidden, layer.ffn_norm));
      FM_RETURN_IF_ERROR(Attention(names.attention, layer));
      if (layer.moe) {
        FM_RETURN_IF_ERROR(Moe(names.moe, *layer.moe));
      } else {
        FM_RETURN_IF_ERROR(
            Ffn(names.dense_prefix, config_.intermediate, config_.mlp_bias, *layer.dense));
      }
    }
    return up_.Finish();
  }

 private:
  absl::Status Plain(const TensorRef& ref, const cuda::MatrixRef& to) {
    FM_ASSIGN_OR_RETURN(const WeightView view, loader_.View(ref));
    FM_RETURN_IF_ERROR(up_.Matrix(to, {}, [&](int64_t row) {
      return row < view.n ? WeightUploader::Source{&view, row} : WeightUploader::Source{};
    }));
    loader_.Report(view);
    return absl::OkStatus();
  }

  absl::Status Vector(const std::string& name, int64_t n, float* to) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> values, loader_.Vector(name, n));
    return up_.Vector(to, values);
  }

  // Heads of head_dim values, each followed by zeros up to the padded size.
  absl::Status PaddedHeads(const std::string& name, int64_t heads, float* to) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> values,
                        loader_.Vector(name, heads * config_.head_dim));
    const auto size = static_cast<size_t>(config_.head_dim);
    const auto padded = static_cast<size_t>(weights_.dims.head_dim);
    std::vector<float> spread(static_cast<size_t>(heads) * padded, 0.0f);
    for (size_t i = 0; i < values.size(); ++i) spread[i / size * padded + i % size] = values[i];
    return up_.Vector(to, spread);
  }

  // A norm over more values than there are, the rest zeros: the mean shrinks by head_dim / padded,
  // and so do the weights by its root. GpuDecoder does the same with epsilon.
  absl::Status HeadNorm(const std::string& name, float* to) {
    FM_ASSIGN_OR_RETURN(std::vector<float> values, loader_.Vector(name, config_.head_dim));
    const double shrink = std::sqrt(static_cast<double>(config_.head_dim) /
                                    static_cast<double>(weights_.dims.head_dim));
    if (config_.head_dim != weights_.dims.head_dim) {
      for (float& value : values) value = static_cast<float>(value * shrink);
    }
    values.resize(static_cast<size_t>(weights_.dims.head_dim), 0.0f);
    return up_.Vector(to, values);
  }

  // Rows of q, k or v: heads * head_dim, padded per head.
  absl::Status HeadRows(const std::string& name, int64_t heads, int64_t first_row,
                        const cuda::MatrixRef& qkv) {
    FM_ASSIGN_OR_RETURN(
        const WeightView view,
        loader_.View({.name = name, .n = heads * config_.head_dim, .k = config_.hidden}));
    const int64_t padded = weights_.dims.head_dim;
    FM_RETURN_IF_ERROR(up_.Matrix(SomeRows(qkv, first_row, heads * padded), {}, [&](int64_t row) {
      const int64_t within = row % padded;
      if (within >= config_.head_dim) return WeightUploader::Source{};
      return WeightUploader::Source{&view, row / padded * config_.head_dim + within};
    }));
    loader_.Report(view);
    return absl::OkStatus();
  }

  absl::Status Attention(const AttentionNames& names, GpuLayer& layer) {
    struct Part {
      const std::string& module;
      int64_t heads;
    };
    int64_t row = 0;
    for (const Part& part : {Part{names.q, config_.heads}, Part{names.k, config_.kv_heads},
                             Part{names.v, config_.kv_heads}}) {
      FM_RETURN_IF_ERROR(HeadRows(part.module + ".weight", part.heads, row, layer.qkv));
      if (config_.qkv_bias) {
        FM_RETURN_IF_ERROR(PaddedHeads(part.module + ".bias", part.heads, layer.qkv_bias + row));
      }
      row += part.heads * weights_.dims.head_dim;
    }
    FM_ASSIGN_OR_RETURN(const WeightView o, loader_.View({.name = names.o + ".weight",
                                                          .n = config_.hidden,
                                                          .k = config_.heads * config_.head_dim}));
    FM_RETURN_IF_ERROR(
        up_.Matrix(layer.o, {config_.head_dim, weights_.dims.head_dim}, [&](int64_t r) {
          return WeightUploader::Source{&o, r};
        }));
    loader_.Report(o);
    if (config_.output_bias) {
      FM_RETURN_IF_ERROR(Vector(names.o + ".bias", config_.hidden, layer.o_bias));
    }
    if (config_.qk_norm == QkNormKind::kHeads) {
      FM_RETURN_IF_ERROR(HeadNorm(names.q_norm + ".weight", layer.q_norm));
      FM_RETURN_IF_ERROR(HeadNorm(names.k_norm + ".weight", layer.k_norm));
    }
    return absl::OkStatus();
  }

  absl::Status PaddedVector(const std::string& name, int64_t n, int64_t padded, float* to) {
    FM_ASSIGN_OR_RETURN(std::vector<float> values, loader_.Vector(name, n));
    values.resize(static_cast<size_t>(padded), 0.0f);
    return up_.Vector(to, values);
  }

  absl::Status Ffn(const std::string& prefix, int64_t intermediate, bool bias, GpuFfn& ffn) {
    const int64_t padded = ffn.intermediate;
    FM_RETURN_IF_ERROR(
        Plain({.name = prefix + "gate_proj.weight", .n = intermediate, .k = config_.hidden},
              SomeRows(ffn.gate_up, 0, padded)));
    FM_RETURN_IF_ERROR(
        Plain({.name = prefix + "up_proj.weight", .n = intermediate, .k = config_.hidden},
              SomeRows(ffn.gate_up, padded, padded)));
    FM_RETURN_IF_ERROR(Plain(
        {.name = prefix + "down_proj.weight", .n = config_.hidden, .k = intermediate}, ffn.down));
    if (!bias) return absl::OkStatus();
    FM_RETURN_IF_ERROR(
        PaddedVector(prefix + "gate_proj.bias", intermediate, padded, ffn.gate_up_bias));
    FM_RETURN_IF_ERROR(
        PaddedVector(prefix + "up_proj.bias", intermediate, padded, ffn.gate_up_bias + padded));
    return Vector(prefix + "down_proj.bias", config_.hidden, ffn.down_bias);
  }

  // Codes as they are: one piece of the kernels' layout after the other.
  absl::Status CodedExpert(const GatedFfnTensors& tensors, int64_t slot,
                           const cuda::ExpertWeights& to) {
    FM_ASSIGN_OR_RETURN(const auto gate, CodesOf(tensors.gate));
    FM_ASSIGN_OR_RETURN(const auto up, CodesOf(tensors.up));
    FM_ASSIGN_OR_RETURN(const auto down, CodesOf(tensors.down));
    const auto place = [&](std::span<const CodeMatrix* const> parts, const std::string& name,
                           const void* codes, const float* scales) {
      const int64_t rows = parts[0]->n() * std::ssize(parts);
      const int64_t k = parts[0]->k();
      return up_.Codes(parts, fmt::format("tensor '{}'", name),
                       static_cast<std::byte*>(const_cast<void*>(codes)) + slot * rows * k,
                       const_cast<float*>(scales) + slot * rows * cuda::CodeGroups(k));
    };
    FM_RETURN_IF_ERROR(place(std::array<const CodeMatrix*, 2>{gate.get(), up.get()},
                             tensors.gate.name, to.gate_up, to.gate_up_scale));
    FM_RETURN_IF_ERROR(place(std::array<const CodeMatrix*, 1>{down.get()}, tensors.down.name,
                             to.down, to.down_scale));
    for (const CodeMatrix* codes : {gate.get(), up.get(), down.get()}) loader_.Report(*codes);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> CodesOf(const TensorRef& ref) {
    FM_ASSIGN_OR_RETURN(std::unique_ptr<CodeMatrix> codes, loader_.Codes(ref));
    if (codes != nullptr && RunsOnDevice(codes->spec(), ref.k)) return codes;
    return InvalidArgument(
        "tensor '{}' is not stored as other experts' are; --dtype bfloat16 runs all of them as "
        "plain weights",
        ref.name);
  }

  absl::Status Expert(const GatedFfnTensors& tensors, int64_t slot, const cuda::ExpertWeights& to) {
    if (to.codes) return CodedExpert(tensors, slot, to);
    const int64_t hidden = to.hidden;
    const int64_t inner = to.intermediate;
    const int64_t size = DTypeBytes(to.dtype);
    auto* gate_up = static_cast<std::byte*>(const_cast<void*>(to.gate_up));
    auto* down = static_cast<std::byte*>(const_cast<void*>(to.down));
    FM_ASSIGN_OR_RETURN(const auto views, loader_.ViewPair(tensors.gate, tensors.up));
    FM_RETURN_IF_ERROR(up_.Matrix(
        {gate_up + slot * 2 * inner * hidden * size, to.dtype, 2 * inner, hidden, hidden}, {},
        [&](int64_t row) {  // the inverse of cuda::GateUpRow
          const int64_t i = row / 16 * 8 + row % 8;
          if (i >= views.first.n) return WeightUploader::Source{};
          return WeightUploader::Source{row % 16 < 8 ? &views.first : &views.second, i};
        }));
    loader_.Report(views.first);
    loader_.Report(views.second);
    return Plain(tensors.down,
                 {down + slot * hidden * inner * size, to.dtype, hidden, inner, inner});
  }

  absl::Status Moe(const MoeNames& names, GpuMoe& moe) {
    FM_RETURN_IF_ERROR(
        Plain({.name = names.router, .n = config_.moe.experts, .k = config_.hidden}, moe.router));
    const ExpertLayout layout = LayoutOf(names.experts, loader_);
    int64_t slot = 0;
    for (const int expert : job_.placement.experts_of(job_.rank)) {
      FM_RETURN_IF_ERROR(
          Expert(TensorsOfExpert(names.experts, layout, expert, job_.placement.experts(),
                                 config_.hidden, config_.moe.intermediate),
                 slot++, moe.experts));
    }
    if (!moe.shared) return absl::OkStatus();
    FM_RETURN_IF_ERROR(
        Ffn(names.shared_prefix, config_.moe.shared_intermediate, false, *moe.shared));
    return Plain({.name = names.shared_gate, .n = 1, .k = config_.hidden}, moe.shared_gate);
  }

  const GpuUploadJob& job_;
  const ModelConfig& config_;
  WeightLoader& loader_;
  WeightUploader& up_;
  GpuWeights& weights_;
};

// Are the experts of a layer codes that the device runs? The first one here speaks for all.
absl::StatusOr<bool> HasCodedExperts(const GpuUploadJob& job, const MoeNames& names, DType dtype,
                                     WeightLoader& loader) {
  const auto& experts = job.placement.experts_of(job.rank);
  if (loader.dtype() || dtype == DType::kF32 || experts.empty()) return false;
  const GatedFfnTensors tensors =
      TensorsOfExpert(names.experts, LayoutOf(names.experts, loader), experts.front(),
                      job.placement.experts(), job.config.hidden, job.config.moe.intermediate);
  for (const TensorRef& ref : {tensors.gate, tensors.down}) {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> codes, loader.Codes(ref));
    if (codes == nullptr || !RunsOnDevice(codes->spec(), ref.k)) return false;
  }
  return true;
}

// Routers are stored in float32 by some who know that their logits decide.
absl::StatusOr<GpuWeightTraits> TraitsOf(const GpuUploadJob& job, DType dtype,
                                         WeightLoader& loader) {
  GpuWeightTraits traits;
  for (size_t i = 0; i < job.config.layers.size(); ++i) {
    GpuMoeTraits& moe = traits.moe.emplace_back();
    if (!job.config.layers[i].moe) continue;
    const LayerNames names = LayerNamesOf(job.family, loader, static_cast<int64_t>(i));
    moe.float_router = loader.Stored(names.moe.router) == DType::kF32;
    FM_ASSIGN_OR_RETURN(moe.coded_experts, HasCodedExperts(job, names.moe, dtype, loader));
  }
  return traits;
}

}  // namespace

absl::StatusOr<GpuWeights> PlanWeights(const GpuUploadJob& job, WeightLoader& loader) {
  const std::optional<DType> stored = loader.Stored(job.family.end_names().embedding);
  const DType dtype = loader.dtype().value_or(stored.value_or(job.config.dtype));
  const int local =
      job.config.moe.experts > 0 ? static_cast<int>(job.placement.experts_of(job.rank).size()) : 0;
  GpuWeights weights;
  FM_ASSIGN_OR_RETURN(weights.dims, GpuDimsOf(job.config, dtype, local));
  FM_ASSIGN_OR_RETURN(const GpuWeightTraits traits, TraitsOf(job, dtype, loader));
  DeviceArena counted;
  LayOut(job.config, traits, counted, &weights);
  weights.bytes = counted.bytes();
  return weights;
}

absl::Status UploadWeights(const GpuUploadJob& job, WeightLoader& loader, cuda::Stream& stream,
                           ThreadPool& pool, GpuWeights* weights) {
  FM_ASSIGN_OR_RETURN(weights->memory, cuda::Memory::Allocate(weights->bytes, "the weights"));
  FM_ASSIGN_OR_RETURN(const GpuWeightTraits traits, TraitsOf(job, weights->dims.dtype, loader));
  DeviceArena placed(weights->memory.data());
  LayOut(job.config, traits, placed, weights);
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<WeightUploader> uploader,
                      WeightUploader::Create(stream, pool));
  return ModelUpload(job, loader, *uploader, *weights).Run();
}

}  // namespace folkmoot
