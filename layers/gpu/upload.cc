// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/upload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "layers/experts.h"

namespace folkmoot {
namespace {

constexpr int64_t kStagingBytes = int64_t{64} << 20;

void Convert(const void* from, DType from_type, int64_t count, void* to, DType to_type) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(count * DTypeBytes(to_type)));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    StoreElement(LoadElement(from, from_type, i), to, to_type, i);
  }
}

void FillRow(const WeightUploader::Source& source, int64_t from, int64_t to_piece,
             const cuda::MatrixRef& shape, std::byte* row) {
  const int64_t size = DTypeBytes(shape.dtype);
  std::memset(row, 0, static_cast<size_t>(shape.stride * size));
  if (source.view == nullptr) return;
  const WeightView& view = *source.view;
  const auto* first =
      static_cast<const std::byte*>(view.data) + source.row * view.k * DTypeBytes(view.dtype);
  for (int64_t piece = 0; piece * from < view.k; ++piece) {
    Convert(first + piece * from * DTypeBytes(view.dtype), view.dtype, from,
            row + piece * to_piece * size, shape.dtype);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightUploader>> WeightUploader::Create(cuda::Stream& stream,
                                                                       ThreadPool& pool) {
  std::unique_ptr<WeightUploader> uploader(new WeightUploader(stream, pool));
  FM_ASSIGN_OR_RETURN(uploader->staging_,
                      cuda::Memory::Allocate(kStagingBytes, "the staging buffer of weights",
                                             cuda::MemoryKind::kPinnedHost));
  return uploader;
}

absl::StatusOr<std::byte*> WeightUploader::Room(int64_t bytes) {
  FM_CHECK(bytes <= kStagingBytes);
  if (used_ + bytes > kStagingBytes) {
    FM_RETURN_IF_ERROR(stream_.Synchronize());
    used_ = 0;
  }
  std::byte* room = staging_.As<std::byte>() + used_;
  used_ += (bytes + 255) / 256 * 256;
  return room;
}

absl::Status WeightUploader::Matrix(const cuda::MatrixRef& to, Pieces pieces,
                                    const std::function<Source(int64_t row)>& source) {
  const int64_t row_bytes = to.stride * DTypeBytes(to.dtype);
  const int64_t most = std::max<int64_t>(1, kStagingBytes / 4 / row_bytes);
  for (int64_t first = 0; first < to.rows; first += most) {
    const int64_t rows = std::min(most, to.rows - first);
    FM_ASSIGN_OR_RETURN(std::byte* const room, Room(rows * row_bytes));
    pool_.ParallelFor(rows, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const Source from = source(first + r);
        const int64_t k = from.view == nullptr ? 1 : from.view->k;
        FillRow(from, pieces.from > 0 ? pieces.from : k, pieces.to, to, room + r * row_bytes);
      }
    });
    cuda::CopyToDevice(stream_, static_cast<std::byte*>(to.data) + first * row_bytes, room,
                       rows * row_bytes);
  }
  return stream_.status();
}

absl::Status WeightUploader::Vector(float* to, const std::vector<float>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
  FM_ASSIGN_OR_RETURN(std::byte* const room, Room(bytes));
  std::memcpy(room, values.data(), static_cast<size_t>(bytes));
  cuda::CopyToDevice(stream_, to, room, bytes);
  return stream_.status();
}

absl::Status WeightUploader::Finish() {
  used_ = 0;
  return stream_.Synchronize();
}

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

  absl::Status Expert(const GatedFfnTensors& tensors, int64_t slot, const cuda::ExpertWeights& to) {
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

// Routers are stored in float32 by some who know that their logits decide.
GpuWeightTraits TraitsOf(const GpuUploadJob& job, const WeightLoader& loader) {
  GpuWeightTraits traits;
  for (size_t i = 0; i < job.config.layers.size(); ++i) {
    bool wide = false;
    if (job.config.layers[i].moe) {
      const LayerNames names = LayerNamesOf(job.family, loader, static_cast<int64_t>(i));
      wide = loader.Stored(names.moe.router) == DType::kF32;
    }
    traits.float_router.push_back(wide);
  }
  return traits;
}

}  // namespace

absl::StatusOr<GpuWeights> PlanWeights(const GpuUploadJob& job, const WeightLoader& loader) {
  const std::optional<DType> stored = loader.Stored(job.family.end_names().embedding);
  const DType dtype = loader.dtype().value_or(stored.value_or(job.config.dtype));
  const int local =
      job.config.moe.experts > 0 ? static_cast<int>(job.placement.experts_of(job.rank).size()) : 0;
  GpuWeights weights;
  FM_ASSIGN_OR_RETURN(weights.dims, GpuDimsOf(job.config, dtype, local));
  DeviceArena counted;
  LayOut(job.config, TraitsOf(job, loader), counted, &weights);
  weights.bytes = counted.bytes();
  return weights;
}

absl::Status UploadWeights(const GpuUploadJob& job, WeightLoader& loader, cuda::Stream& stream,
                           ThreadPool& pool, GpuWeights* weights) {
  FM_ASSIGN_OR_RETURN(weights->memory, cuda::Memory::Allocate(weights->bytes, "the weights"));
  DeviceArena placed(weights->memory.data());
  LayOut(job.config, TraitsOf(job, loader), placed, weights);
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<WeightUploader> uploader,
                      WeightUploader::Create(stream, pool));
  return ModelUpload(job, loader, *uploader, *weights).Run();
}

}  // namespace folkmoot
