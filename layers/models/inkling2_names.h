// SPDX-License-Identifier: Apache-2.0
// The names of Inkling 2's tensors and of its looped form's: those that the authors published, and
// those of Transformers' modules.
#pragma once

#include <string>

#include "layers/layer_names.h"

namespace folkmoot {

// `prefix` is "model.llm.layers.3.".
LayerNames PublishedInkling2Names(const std::string& prefix);
EndNames PublishedInkling2Ends();
// `prefix` is "model.layers.3." of text models, "model.language_model.layers.3." of others.
LayerNames Inkling2Names(const std::string& prefix);
EndNames Inkling2TextEnds();
EndNames Inkling2InnerEnds();

}  // namespace folkmoot
