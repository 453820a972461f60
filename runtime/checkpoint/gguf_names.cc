// SPDX-License-Identifier: Apache-2.0
// Names: the tables of llama.cpp's gguf-py/gguf/tensor_mapping.py, read backwards.
#include "runtime/checkpoint/gguf_names.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace folkmoot {
namespace {

constexpr std::array<GgufFamily, 6> kFamilies = {{
    {.architecture = "llama",
     .dense = "LlamaForCausalLM",
     .moe = "MixtralForCausalLM",
     .interleaved = true,
     .one_width = true},
    {.architecture = "olmoe",
     .moe = "OlmoeForCausalLM",
     .one_width = true,
     .normalised = false,
     .row_norms = true},
    {.architecture = "qwen2", .dense = "Qwen2ForCausalLM"},
    {.architecture = "qwen2moe", .moe = "Qwen2MoeForCausalLM", .normalised = false},
    {.architecture = "qwen3", .dense = "Qwen3ForCausalLM"},
    {.architecture = "qwen3moe", .moe = "Qwen3MoeForCausalLM"},
}};

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array<Pair, 3> kModelTensors = {{
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
}};

// Behind "blk.N.", with .weight or .bias behind them.
constexpr std::array<Pair, 14> kLayerTensors = {{
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj"},
}};

// A matrix of the routed experts: its name behind "ffn_", in Mixtral, and in the others.
struct ExpertMatrix {
  std::string_view name;
  std::string_view mixtral;
  std::string_view other;
};
constexpr std::array<ExpertMatrix, 3> kExpertMatrices = {{
    {"gate", "w1", "gate_proj"},
    {"up", "w3", "up_proj"},
    {"down", "w2", "down_proj"},
}};

template <size_t kSize>
std::optional<std::string_view> Lookup(const std::array<Pair, kSize>& pairs,
                                       std::string_view name) {
  for (const auto& [from, to] : pairs) {
    if (from == name) return to;
  }
  return std::nullopt;
}

// The number that `text` is, if it is one.
std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && value >= 0;
  return whole ? std::optional(value) : std::nullopt;
}

// Names one tensor after the other.
class Namer {
 public:
  Namer(const GgufFamily& family, int64_t experts, int64_t head_dim)
      : mixtral_(family.interleaved),
        experts_(experts),
        order_{.head_dim = family.interleaved ? head_dim : 0} {}

  // Appends what `tensor` is. False: no supported model has it.
  bool Add(const GgufTensor& tensor) {
    if (const auto name = Lookup(kModelTensors, tensor.name)) {
      Append(tensor, std::string(*name), tensor.shape, {});
      return true;
    }
    std::string_view rest = tensor.name;
    if (!rest.starts_with("blk.")) return false;
    rest.remove_prefix(4);
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return false;
    const auto layer = ParseNumber(rest.substr(0, dot));
    if (!layer) return false;
    prefix_ = fmt::format("model.layers.{}.", *layer);
    rest.remove_prefix(dot + 1);
    return AddOfLayer(tensor, rest) || AddExperts(tensor, rest);
  }

  std::vector<NamedTensor> Take() { return std::move(tensors_); }

 private:
  void Append(const GgufTensor& tensor, std::string name, std::vector<int64_t> shape,
              RowOrder order) {
    tensors_.push_back(
        {std::move(name), std::move(shape), tensor.offset, tensor.bytes, order, &tensor});
  }

  std::string ExpertsPrefix() const { return prefix_ + (mixtral_ ? "block_sparse_moe." : "mlp."); }

  bool AddOfLayer(const GgufTensor& tensor, std::string_view name) {
    if (name == "ffn_gate_inp.weight") {
      Append(tensor, ExpertsPrefix() + "gate.weight", tensor.shape, {});
      return true;
    }
    if (name == "ffn_gate_inp_shexp.weight") {  // written without its dimension of 1
      std::vector<int64_t> shape = tensor.shape;
      if (shape.size() == 1) shape.insert(shape.begin(), 1);
      Append(tensor, prefix_ + "mlp.shared_expert_gate.weight", std::move(shape), {});
      return true;
    }
    const size_t dot = name.find('.');
    const std::string_view suffix = dot == std::string_view::npos ? "" : name.substr(dot);
    const auto known = Lookup(kLayerTensors, name.substr(0, dot));
    if (!known || (suffix != ".weight" && suffix != ".bias")) return false;
    const bool rotated = name.starts_with("attn_q.") || name.starts_with("attn_k.");
    Append(tensor, fmt::format("{}{}{}", prefix_, *known, suffix), tensor.shape,
           rotated ? order_ : RowOrder{});
    return true;
  }

  std::string ExpertName(const ExpertMatrix& matrix, int64_t expert) const {
    return fmt::format("{}experts.{}.{}.weight", ExpertsPrefix(), expert,
                       mixtral_ ? matrix.mixtral : matrix.other);
  }

  // Packed, "ffn_gate_exps.weight" [experts, n, k], or one of many, "ffn_gate.3.weight", as files
  // of before April 2024 have them.
  bool AddExperts(const GgufTensor& tensor, std::string_view name) {
    for (const ExpertMatrix& matrix : kExpertMatrices) {
      const std::string stem = fmt::format("ffn_{}", matrix.name);
      if (name == stem + "_exps.weight") return AddPacked(tensor, matrix);
      if (!name.starts_with(stem + ".") || !name.ends_with(".weight")) continue;
      const size_t begin = stem.size() + 1;
      if (name.size() < begin + 7) return false;
      const auto expert = ParseNumber(name.substr(begin, name.size() - 7 - begin));
      if (!expert || *expert >= experts_) return false;
      Append(tensor, ExpertName(matrix, *expert), tensor.shape, {});
      return true;
    }
    return false;
  }

  bool AddPacked(const GgufTensor& tensor, const ExpertMatrix& matrix) {
    if (tensor.shape.size() != 3 || tensor.shape[0] != experts_) return false;
    const uint64_t bytes = tensor.bytes / static_cast<uint64_t>(experts_);
    for (int64_t e = 0; e < experts_; ++e) {
      Append(tensor, ExpertName(matrix, e), {tensor.shape[1], tensor.shape[2]}, {});
      tensors_.back().offset += static_cast<uint64_t>(e) * bytes;
      tensors_.back().bytes = bytes;
    }
    return true;
  }

  bool mixtral_;
  int64_t experts_;
  RowOrder order_;
  std::string prefix_;
  std::vector<NamedTensor> tensors_;
};

// rope_freqs.weight is read with the configuration.
bool IsConfiguration(std::string_view name) { return name == "rope_freqs.weight"; }

}  // namespace

absl::StatusOr<const GgufFamily*> FamilyOf(const GgufModel& model) {
  std::vector<std::string_view> known;
  for (const GgufFamily& family : kFamilies) {
    if (model.architecture() == family.architecture) return &family;
    known.push_back(family.architecture);
  }
  return model.Wrong("general.architecture", fmt::format("known: {}", fmt::join(known, ", ")));
}

std::string GgufKey(const GgufModel& model, std::string_view key) {
  return fmt::format("{}.{}", model.architecture(), key);
}

absl::StatusOr<int64_t> GgufHeadDim(const GgufModel& model) {
  constexpr GgufRange kRange = {1, 1 << 16};
  const std::string key = GgufKey(model, "attention.key_length");
  FM_ASSIGN_OR_RETURN(const auto length, model.Int(key, kRange));
  FM_ASSIGN_OR_RETURN(const int64_t hidden, model.RequiredInt(GgufKey(model, "embedding_length")));
  FM_ASSIGN_OR_RETURN(const int64_t heads,
                      model.RequiredInt(GgufKey(model, "attention.head_count"), kRange));
  if (!length && hidden % heads != 0) {
    return model.Wrong(key, fmt::format("without it embedding_length = {} must be a multiple of "
                                        "attention.head_count = {}",
                                        hidden, heads));
  }
  const int64_t head_dim = length.value_or(hidden / heads);
  if (head_dim % 2 != 0) {
    return model.Wrong(
        key, fmt::format("rotary embeddings need an even head width (it is {})", head_dim));
  }
  return head_dim;
}

absl::StatusOr<int64_t> GgufExperts(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const auto experts, model.Int(GgufKey(model, "expert_count"), {0, 1 << 16}));
  return experts.value_or(0);
}

absl::StatusOr<std::vector<NamedTensor>> NameTensors(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const GgufFamily* family, FamilyOf(model));
  FM_ASSIGN_OR_RETURN(const int64_t head_dim, GgufHeadDim(model));
  FM_ASSIGN_OR_RETURN(const int64_t experts, GgufExperts(model));
  Namer namer(*family, experts, head_dim);
  for (const GgufTensor& tensor : model.parsed().tensors) {
    if (IsConfiguration(tensor.name) || namer.Add(tensor)) continue;
    return InvalidArgument(
        "{}: tensor '{}' of shape [{}]: a model of architecture '{}' with {} "
        "experts has no such tensor",
        model.path(), tensor.name, fmt::join(tensor.shape, ", "), model.architecture(), experts);
  }
  std::vector<NamedTensor> tensors = namer.Take();
  for (const NamedTensor& tensor : tensors) {
    if (tensor.order.head_dim == 0 || tensor.shape[0] % head_dim == 0) continue;
    return InvalidArgument("{}: tensor '{}' has {} rows, no multiple of the head width {}",
                           model.path(), tensor.source->name, tensor.shape[0], head_dim);
  }
  return tensors;
}

}  // namespace folkmoot
