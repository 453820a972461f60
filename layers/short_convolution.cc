// SPDX-License-Identifier: Apache-2.0
#include "layers/short_convolution.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<Attention>> ShortConvolutionMixer::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const RecurrentNames& names, ColumnExchange& columns) {
  std::unique_ptr<ShortConvolutionMixer> mixer(new ShortConvolutionMixer(config, layer, columns));
  const int64_t hidden = config.hidden;
  const int64_t first = mixer->first_unit();
  const int64_t own = mixer->own_units();
  const TensorRef in = {.name = names.in + ".weight", .n = 3 * hidden, .k = hidden};
  const TensorRef parts[] = {in.Rows(first, own), in.Rows(hidden + first, own),
                             in.Rows(2 * hidden + first, own)};
  const RecurrentConfig& recurrent = config.recurrent;
  FM_RETURN_IF_ERROR(mixer->LoadProjections(pool, loader, parts, recurrent.bias));
  const std::pair<int64_t, int64_t> channels[] = {{first, own}};
  FM_RETURN_IF_ERROR(
      mixer->LoadConvolution(loader, recurrent, {names.convolution}, hidden, channels));
  FM_RETURN_IF_ERROR(mixer->LoadOutput(pool, loader, hidden, recurrent.bias, names.o));
  mixer->params_ = {.layer = config.place_in_kind(layer), .convolution = mixer->convolution()};
  return mixer;
}

void ShortConvolutionMixer::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&,
                                   ConstMatrix x, Matrix attended) const {
  const Matrix projected = Project(ctx, x);
  FM_CHECK(step.state != nullptr);
  ShortConvolution(ctx.pool, params_, step.sequences, projected, *step.state, ctx.workspace,
                   attended);
}

}  // namespace folkmoot
