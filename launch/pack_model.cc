// SPDX-License-Identifier: Apache-2.0
#include "launch/pack_model.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "launch/weight_source.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "layers/panel_loader.h"
#include "parallel/thread_communicator.h"

namespace folkmoot {

absl::StatusOr<int64_t> PackModel(const EngineOptions& options, const std::string& path,
                                  ThreadPool& pool,
                                  const std::function<void(int64_t, int64_t)>& progress) {
  FM_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model));
  ModelOptions model_options;
  FM_ASSIGN_OR_RETURN(model_options.gate, DefaultGate(config));
  FM_ASSIGN_OR_RETURN(const WeightSource weights,
                      WeightSource::Open(options.model, DummySeed(options)));
  if (weights.packed()) return FailedPrecondition("{}: is packed already", weights.path());
  const std::unique_ptr<WeightLoader> loader = weights.MakeLoader(config, WeightOptionsOf(options));
  int64_t read = 0;
  loader->set_progress([&](int64_t bytes) {
    read += bytes;
    progress(read, std::max(read, weights.total_bytes()));
  });
  const ExpertPlacement placement =
      ExpertPlacement::Contiguous(static_cast<int>(config.moe.experts), 1);
  const std::vector<std::unique_ptr<Communicator>> alone = MakeThreadCommunicators(1);
  FM_ASSIGN_OR_RETURN(PanelFileWriter writer, PanelFileWriter::Create(path));
  const std::unique_ptr<WeightLoader> recorder = MakePanelRecorder(*loader, writer, pool);
  FM_RETURN_IF_ERROR(
      LoadModel(config, model_options, *recorder, placement, *alone[0], pool).status());
  FM_RETURN_IF_ERROR(writer.Finish());
  return writer.bytes();
}

}  // namespace folkmoot
