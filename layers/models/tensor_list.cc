// SPDX-License-Identifier: Apache-2.0
#include "layers/models/tensor_list.h"

#include <charconv>
#include <map>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "layers/column_splits.h"
#include "layers/models/decoder.h"
#include "layers/models/encoder_decoder.h"

namespace folkmoot {
namespace {

// Over all layers; the largest published models have some 25,000 experts.
constexpr int64_t kMaxExperts = 100'000;
constexpr int64_t kMaxVectors = int64_t{1} << 28;  // numbers in all of them
constexpr int64_t kMaxHeads = 1'000'000;  // over all layers, where these have matrices of their own

// Whose tensor it is, by its name: "...experts.7.up_proj.weight".
int ExpertOf(std::string_view name, bool sliced) {
  constexpr std::string_view kExperts = ".experts.";
  const int unnumbered = sliced ? ListedTensor::kAllExperts : ListedTensor::kNoExpert;
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return unnumbered;
  constexpr std::string_view kNumbered = "expert_";  // Switch, NLLB
  std::string_view rest = name.substr(at + kExperts.size());
  if (rest.starts_with(kNumbered)) rest.remove_prefix(kNumbered.size());
  int expert = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), expert);
  return error == std::errc() && end != rest.data() + rest.size() && *end == '.' ? expert
                                                                                 : unnumbered;
}

class ListingLoader : public WeightLoader {
 public:
  explicit ListingLoader(const WeightLoader* stored) : stored_(stored) {}

  std::vector<ListedTensor> Take() { return std::move(tensors_); }

  bool Has(std::string_view name) const override {
    return stored_ != nullptr && stored_->Has(name);
  }
  bool Coded(std::string_view name) const override {
    return stored_ != nullptr && stored_->Coded(name);
  }
  std::vector<int64_t> Shape(std::string_view name) const override {
    return stored_ == nullptr ? std::vector<int64_t>{} : stored_->Shape(name);
  }
  std::optional<DType> Stored(std::string_view name) const override {
    return stored_ == nullptr ? std::nullopt : stored_->Stored(name);
  }

  absl::StatusOr<PackedMatrix> Pack(ThreadPool&, const TensorRef& ref) override {
    AddMatrix(ref);
    return Empty(ref.n, ref.k);
  }
  absl::StatusOr<PackedMatrix> PackGateUp(ThreadPool&, const TensorRef& gate,
                                          const TensorRef& up) override {
    AddMatrix(gate);
    AddMatrix(up);
    return Empty(2 * gate.n, gate.k);
  }
  absl::StatusOr<std::vector<PackedMatrix>> PackStack(ThreadPool&,
                                                      std::span<const TensorRef> refs) override {
    std::vector<PackedMatrix> stack;
    for (const TensorRef& ref : refs) {
      AddMatrix(ref);
      stack.push_back(Empty(ref.n, ref.k));
    }
    return stack;
  }
  absl::StatusOr<std::vector<float>> Vector(const std::string& name, int64_t n,
                                            int64_t taps) override {
    Add(name, VectorShape(n, taps), ExpertOf(name, false)).values += n;
    return Zeros(name, n);
  }
  absl::StatusOr<std::vector<float>> Row(const std::string& name, int64_t n, int64_t,
                                         int64_t rows) override {
    Add(name, {rows, n}, ExpertOf(name, false)).values += n;
    return Zeros(name, n);
  }
  absl::StatusOr<RowTable> Table(const TensorRef& ref) override {
    ListedTensor& table = Add(ref.name, StoredShape(ref), ListedTensor::kNoExpert);
    table.matrix = true;
    table.exact |= ref.exact;
    return RowTable{.plain = {.n = ref.n, .k = ref.k}};
  }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override { return Past(ref.name); }
  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override { return Past(ref.name); }
  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) override {
    return Past(ref.name);
  }
  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef&) override {
    return Past(a.name);
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t, int64_t) override {
    return Past(name);
  }
  absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows, int64_t n,
                                                int64_t below) override {
    Add(name, {rows, n}, ListedTensor::kNoExpert).values += rows * n;
    FM_RETURN_IF_ERROR(Zeros(name, rows * n).status());  // counts them
    std::vector<int32_t> ids(static_cast<size_t>(rows * n));
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) % n % below);
    }
    return ids;
  }
  void Release(std::span<const std::byte>) override {}

 private:
  static absl::Status Past(const std::string& name) {
    return FailedPrecondition("'{}' was read past the list", name);
  }
  static PackedMatrix Empty(int64_t n, int64_t k) {
    return PackedMatrix::Borrow(n, k, DType::kF32, std::nullopt, nullptr);
  }
  absl::StatusOr<std::vector<float>> Zeros(const std::string& name, int64_t n) {
    vector_numbers_ += n;
    if (vector_numbers_ > kMaxVectors) {
      return InvalidArgument("config.json asks for over {} numbers in vectors, '{}' among them",
                             kMaxVectors, name);
    }
    return std::vector<float>(static_cast<size_t>(n));
  }
  // The entry of a tensor, a new one where it has none.
  ListedTensor& Add(const std::string& name, std::vector<int64_t> shape, int expert) {
    const auto [at, is_new] = index_.try_emplace(name, tensors_.size());
    if (is_new) tensors_.push_back({.name = name, .shape = std::move(shape), .expert = expert});
    return tensors_[at->second];
  }
  void AddMatrix(const TensorRef& ref) {
    const int expert =
        ref.everywhere ? ListedTensor::kNoExpert : ExpertOf(ref.name, ref.slices > 0);
    ListedTensor& tensor = Add(ref.name, StoredShape(ref), expert);
    tensor.values += ref.n * ref.k;
    tensor.matrix = true;
    tensor.exact |= ref.exact;
  }

  const WeightLoader* stored_;
  std::vector<ListedTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;  // into tensors_
  int64_t vector_numbers_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<ListedTensor>> ListTensors(const ModelConfig& config,
                                                      const WeightLoader* stored,
                                                      const ListedPart& part) {
  const int64_t experts = config.moe.experts * static_cast<int64_t>(config.layers.size());
  if (experts > kMaxExperts) {
    return InvalidArgument("config.json asks for {} experts over all layers; the limit is {}",
                           experts, kMaxExperts);
  }
  const int64_t heads = config.heads * static_cast<int64_t>(config.layers.size());
  const bool by_head =
      config.latent.kv_rank > 0 || config.compressed_layers() > 0 || config.convolved();
  if (by_head && heads > kMaxHeads) {
    return InvalidArgument("config.json asks for {} heads over all layers; the limit is {}", heads,
                           kMaxHeads);
  }
  const ExpertPlacement all = ExpertPlacement::Contiguous(static_cast<int>(config.moe.experts), 1);
  ListingLoader loader(stored);
  if (config.has_encoder()) {
    FM_RETURN_IF_ERROR(EncoderDecoderModel::List(
        config, loader, part.placement ? *part.placement : all, part.expert_rank));
    return loader.Take();
  }
  FM_RETURN_IF_ERROR(DecoderModel::List(config, loader, part.placement ? *part.placement : all,
                                        part.expert_rank, part.rank, part.ranks));
  return loader.Take();
}

absl::StatusOr<int64_t> WeightsToLoad(const ModelConfig& config, const ListedPart& part) {
  constexpr int64_t kMost = int64_t{1} << 56;
  FM_ASSIGN_OR_RETURN(const std::vector<ListedTensor> tensors, ListTensors(config, nullptr, part));
  int64_t weights = 0;
  for (const ListedTensor& tensor : tensors) {
    if (!tensor.matrix) continue;
    if (tensor.values > kMost - weights) {
      return InvalidArgument("config.json asks for more than {} weights", kMost);
    }
    weights += tensor.values;
  }
  return weights;
}

absl::StatusOr<std::vector<int64_t>> WeightsOfRanks(const ModelConfig& config, int ranks) {
  std::vector<ColumnSplit> splits = {KvHeadSplit(config, ranks),
                                     RecurrentSplit(config, ranks),
                                     OutputGroupSplit(config, ranks),
                                     OutputSplit(config.hidden, ranks),
                                     OutputSplit(config.expert_width(), ranks),
                                     OutputSplit(config.vocab, ranks),
                                     IntermediateSplit(config.intermediate, ranks),
                                     IntermediateSplit(config.moe.intermediate, ranks),
                                     IntermediateSplit(config.moe.shared_intermediate, ranks)};
  for (const LayerConfig& layer : config.layers) {
    if (layer.kv_heads > 0) splits.push_back(KvHeadSplit(config, layer, ranks));
    if (layer.intermediate > 0) splits.push_back(IntermediateSplit(layer.intermediate, ranks));
  }
  std::map<std::vector<int64_t>, int64_t> weights_by_widths;
  std::vector<int64_t> result;
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<int64_t> widths;
    for (const ColumnSplit& split : splits) widths.push_back(split.width(rank));
    const auto [entry, is_new] = weights_by_widths.try_emplace(std::move(widths), 0);
    if (is_new) {
      FM_ASSIGN_OR_RETURN(entry->second, WeightsToLoad(config, {.rank = rank, .ranks = ranks}));
    }
    result.push_back(entry->second);
  }
  return result;
}

}  // namespace folkmoot
