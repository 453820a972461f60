// SPDX-License-Identifier: Apache-2.0
// Models to and from packed files (runtime/checkpoint/panel_file.h). The recorder stands between a
// model that loads and its loader, and writes down what the model asks for; the panel loader gives
// the same answers out of the file. So a family of models needs no code to be packed.
#pragma once

#include <memory>

#include "layers/weight_loader.h"
#include "runtime/checkpoint/panel_file.h"

namespace folkmoot {

// `file` must outlive the loader and the model: weights stay where they are mapped. For the CPU
// only: View and its kin are errors. Rows of a matrix can be asked for where a panel begins.
std::unique_ptr<WeightLoader> MakePanelLoader(const PanelFile& file);

// What is loaded through it comes from `from` and goes to `to`; both must outlive it. Matrices are
// handed out without their weights, so that the model that asked for them cannot run and takes no
// memory. All experts must be asked for, each matrix whole.
std::unique_ptr<WeightLoader> MakePanelRecorder(WeightLoader& from, PanelFileWriter& to,
                                                ThreadPool& pool);

}  // namespace folkmoot
