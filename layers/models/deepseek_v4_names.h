// SPDX-License-Identifier: Apache-2.0
// The names of DeepSeek-V4's tensors: those that the authors published, and those that Transformers
// writes (its conversion_mapping.py makes the ones of the others, and, of a model that was read
// from the authors' files, most of these again).
#pragma once

#include <string>

#include "layers/layer_names.h"

namespace folkmoot {

// `prefix` is "layers.3.".
LayerNames AuthorsLayerNames(const std::string& prefix);
EndNames AuthorsEndNames();
// `prefix` is "model.layers.3.".
LayerNames TransformersLayerNames(const std::string& prefix);
EndNames TransformersEndNames();
// The same prefix.
LayerNames MixedLayerNames(const std::string& prefix);
EndNames MixedEndNames();

}  // namespace folkmoot
