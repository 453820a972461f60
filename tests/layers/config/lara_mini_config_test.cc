// SPDX-License-Identifier: Apache-2.0
// What config.json of Lara-4 Mini means, and what of it is refused (RefusalTest:
// model_config_errors_test.cc).
#include <algorithm>

#include "layers/models/tensor_list.h"
#include "tests/layers/config/parsed_config.h"
#include "tests/layers/config/refusal.h"

namespace folkmoot {
namespace {

constexpr const char* kLinear = "linear_attention";

TEST(LaraMini, Defaults) {
  const ModelConfig config = Parsed(Of("lara_mini", {{"num_hidden_layers", 7}}));
  EXPECT_EQ(Kinds(config), "LM SRM LM M SRM LM SRM");
  EXPECT_EQ(config.layers[1].sliding_window, 512);
  EXPECT_EQ(config.recurrent.key_heads, 8);
  EXPECT_EQ(config.recurrent.value_heads, 16);
  EXPECT_EQ(config.norm, NormKind::kRms);
  EXPECT_EQ(config.attention_gate, AttentionGate::kNone);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{151643});
  EXPECT_EQ(GateOf(config).shared_gate, SharedGate::kNone);
  EXPECT_EQ(WhyCpuOnly(config), "linear attention");
  EXPECT_EQ(WhyNotTensorParallel(config), "");
}

// Rows of q, k, v, z, b and a; those of b and a are not to be rounded, so none of the matrix is.
TEST(LaraMini, ProjectionsInOneMatrix) {
  const auto tensors = ListTensors(Parsed(Of("lara_mini", {{"num_hidden_layers", 2}})), nullptr);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  const auto found = std::find_if(tensors->begin(), tensors->end(), [](const ListedTensor& tensor) {
    return tensor.name == "model.layers.0.linear_attn.in_proj.weight";
  });
  ASSERT_NE(found, tensors->end());
  const int64_t rows = 2 * 8 * 128 + 2 * 16 * 128 + 2 * 16;
  EXPECT_EQ(found->shape, (std::vector<int64_t>{rows, 1024}));
  EXPECT_EQ(found->values, rows * 1024);
  EXPECT_TRUE(found->matrix && found->exact);
}

INSTANTIATE_TEST_SUITE_P(
    LaraMini, RefusalTest,
    ::testing::Values(
        Refusal{"NoWindow",
                Of("lara_mini", {{"sliding_window", nullptr}}),
                {"'sliding_window' is null"}},
        Refusal{"NoAttention",
                Of("lara_mini", {{"num_hidden_layers", 1}, {"layer_types", {kLinear}}}),
                {"'layer_types'", "at least one layer"}},
        Refusal{"OneLayer",
                Of("lara_mini", {{"num_hidden_layers", 1}}),
                {"'num_hidden_layers' is 1", "at least one layer"}},
        Refusal{"Kind",
                Of("lara_mini", {{"num_hidden_layers", 1}, {"layer_types", {"conv"}}}),
                {"'layer_types'", "entry 0 is 'conv'", "linear_attention, sliding_attention"}},
        Refusal{"HeadShare",
                Of("lara_mini", {{"linear_num_value_heads", 12}}),
                {"'linear_num_value_heads' is 12", "8"}},
        Refusal{"Interval",
                Of("lara_mini", {{"full_attention_interval", 4}}),
                {"'full_attention_interval' is 4", "no such key"}},
        Refusal{"Part",
                Of("lara_mini", {{"partial_rotary_factor", 0.25}}),
                {"'partial_rotary_factor' is 0.25"}}),
    NameOf);

}  // namespace
}  // namespace folkmoot
