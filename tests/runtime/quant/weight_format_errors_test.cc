// SPDX-License-Identifier: Apache-2.0
// What is wrong with a quantised file is refused by the name of the tensor or key, and with what to
// do about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "tests/runtime/quant/quant_case.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;

struct Damage {
  const char* name;
  const char* from;
  std::function<void(QuantCase&)> damage;
  std::vector<std::string> says;
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class DamagedQuant : public testing::TestWithParam<Damage> {};

TEST_P(DamagedQuant, IsRefusedByName) {
  QuantCase test(GetParam().from);
  ASSERT_TRUE(test.Open().ok());
  GetParam().damage(test);
  const auto codes = test.Open();
  ASSERT_FALSE(codes.ok());
  for (const std::string& part : GetParam().says) {
    EXPECT_THAT(std::string(Message(codes.status())), HasSubstr(part));
  }
}

template <typename T>
void Set(QuantCase& test, const std::string& name, size_t index, T value) {
  std::memcpy(test.tensors.at(name).bytes.data() + index * sizeof(T), &value, sizeof value);
}

void Remove(QuantCase& test, const std::string& name) { ASSERT_EQ(test.tensors.erase(name), 1u); }

// The same bytes in another shape.
void Reshape(QuantCase& test, const std::string& name, std::vector<int64_t> shape) {
  test.tensors.at(name).shape = std::move(shape);
}

nlohmann::json& Weights(QuantCase& test) {
  return test.config["config_groups"]["group_0"]["weights"];
}

const Damage kDamages[] = {
    {"CompressedScaleMissing",
     "ct-int4-group",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_scale"); },
     {"'m0.proj.weight_scale' is missing", "'m0.proj.weight' [24, 128]"}},
    {"CompressedScaleNan",
     "ct-int4-group",
     [](QuantCase& t) { Set<uint16_t>(t, "m0.proj.weight_scale", 5, 0x7fc0); },
     {"'m0.proj.weight_scale'", "row 1, group 1 is nan"}},
    {"CompressedScaleInfinite",
     "ct-int4-group",
     [](QuantCase& t) { Set<uint16_t>(t, "m0.proj.weight_scale", 0, 0xff80); },
     {"'m0.proj.weight_scale'", "row 0, group 0 is -inf"}},
    {"CompressedScaleShape",
     "ct-int4-group",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight_scale", {48, 2});
     },
     {"'m0.proj.weight_scale' has shape [48, 2]", "must be [24, 4]"}},
    {"CompressedScaleDType",
     "ct-int4-group",
     [](QuantCase& t) { t.tensors.at("m0.proj.weight_scale").dtype = DType::kI16; },
     {"'m0.proj.weight_scale' has dtype I16", "F32 or BF16 or F16"}},
    {"CompressedCodesShape",
     "ct-int4-group",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight_packed", {16, 24});
     },
     {"'m0.proj.weight_packed' has shape [16, 24]", "must be [24, 16]"}},
    {"CompressedOtherBits",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["num_bits"] = 8; },
     {"'m0.proj.weight_packed' has shape [24, 16]", "must be [24, 32]"}},
    {"CompressedGroupDoesNotDivide",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["group_size"] = 48; },
     {"'m0.proj.weight_packed'", "groups of 48 weights do not divide its rows of 128",
      "another group_size"}},
    {"CompressedWeightShapeDiffers",
     "ct-int4-group",
     [](QuantCase& t) { Set<int64_t>(t, "m0.proj.weight_shape", 1, 96); },
     {"'m0.proj.weight_shape' says [24, 96]", "asks for [24, 128]"}},
    {"CompressedZerosMissing",
     "ct-int4-group-zeros",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_zero_point"); },
     {"'m0.proj.weight_zero_point' is missing"}},
    {"CompressedZerosOfSymmetric",
     "ct-int4-group-zeros",
     [](QuantCase& t) { Weights(t)["symmetric"] = true; },
     {"'m0.proj.weight_zero_point'", "symmetric", "set symmetric to false"}},
    {"CompressedColumnsSorted",
     "ct-int4-group",
     [](QuantCase& t) {
       std::string order(128 * sizeof(int32_t), '\0');  // all in group 0
       t.tensors["m0.proj.weight_g_idx"] = {DType::kI32, {128}, order};
     },
     {"'m0.proj.weight_g_idx'", "column 32 belongs to group 0 and not 1", "quantise again"}},
    {"NaiveTypeDiffers",
     "ct-int-quantized",
     [](QuantCase& t) {
       Weights(t)["type"] = "float";
       t.config["config_groups"]["group_0"]["format"] = "naive-quantized";
     },
     {"'m0.proj.weight' has dtype I8", "'float'"}},
    {"NvGlobalScaleZero",
     "ct-nvfp4",
     [](QuantCase& t) { Set<float>(t, "m0.proj.weight_global_scale", 0, 0.0f); },
     {"'m0.proj.weight_global_scale' is 0", "greater than 0"}},
    {"NvScaleNan",
     "ct-nvfp4",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.weight_scale", 9, 0x7f); },
     {"'m0.proj.weight_scale'", "row 1, group 1 is nan"}},
    {"MxScaleNan",
     "ct-mxfp4",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.weight_scale", 0, 255); },
     {"'m0.proj.weight_scale'", "is nan"}},
    {"AwqZerosMissing",
     "awq",
     [](QuantCase& t) { Remove(t, "m0.proj.qzeros"); },
     {"'m0.proj.qzeros' is missing"}},
    {"AwqScalesMissing",
     "awq",
     [](QuantCase& t) { Remove(t, "m0.proj.scales"); },
     {"'m0.proj.scales' is missing"}},
    {"AwqScaleNan",
     "awq",
     [](QuantCase& t) { Set<uint16_t>(t, "m0.proj.scales", 25, 0x7e00); },
     {"'m0.proj.scales'", "row 1, group 1 is nan"}},
    {"AwqCodesShape",
     "awq",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.qweight", {16, 24});
     },
     {"'m0.proj.qweight' has shape [16, 24]", "must be [128, 3]"}},
    {"AwqGroup",
     "awq",
     [](QuantCase& t) { t.config["group_size"] = 96; },
     {"'m0.proj.qweight'", "groups of 96"}},
    {"GptqSorted",
     "gptq-int4",
     [](QuantCase& t) {
       t.config["desc_act"] = true;
       Set<int32_t>(t, "m0.proj.g_idx", 7, 3);
     },
     {"'m0.proj.g_idx'", "column 7 belongs to group 3 and not 0", "quantise again without"}},
    {"GptqSortedWithoutOrder",
     "gptq-int4",
     [](QuantCase& t) {
       t.config["desc_act"] = true;
       Remove(t, "m0.proj.g_idx");
     },
     {"'m0.proj.g_idx' is missing"}},
    {"GptqScaleInfinite",
     "gptq-int8",
     [](QuantCase& t) { Set<uint16_t>(t, "m0.proj.scales", 0, 0x7c00); },
     {"'m0.proj.scales'", "row 0, group 0 is inf"}},
    {"GptqNotSymmetric",
     "gptq-int4-zeros",
     [](QuantCase& t) { t.config["sym"] = true; },
     {"'m0.proj.qzeros'", "set sym to false", "gptq_v2"}},
    {"GptqOtherVersion",
     "gptq-int4",
     [](QuantCase& t) { t.config["checkpoint_format"] = "gptq_v2"; },
     {"'m0.proj.qzeros'", "is 7", "checkpoint_format to \"gptq\""}},
    {"GptqBits",
     "gptq-int4",
     [](QuantCase& t) { t.config["bits"] = 8; },
     {"'m0.proj.qweight' has shape [16, 24]", "must be [32, 24]"}},
    {"Fp8ScaleMissing",
     "fp8-block",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_scale_inv"); },
     {"'m0.proj.weight_scale_inv' is missing"}},
    {"Fp8ScaleNan",
     "fp8-block",
     [](QuantCase& t) { Set<float>(t, "m0.proj.weight_scale_inv", 3, NAN); },
     {"'m0.proj.weight_scale_inv'", "row 128, group 1 is nan"}},
    {"Fp8PowerNan",
     "fp8-powers",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.scale", 1, 255); },
     {"'m0.proj.scale'", "row 0, group 1 is nan"}},
    {"Mxfp8PowerNan",
     "mxfp8",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.weight_scale_inv", 5, 255); },
     {"'m0.proj.weight_scale_inv'", "row 1, group 1 is nan"}},
    {"Mxfp8Blocks",
     "mxfp8",
     [](QuantCase& t) {
       t.config["weight_block_size"] = {1, 64};
     },
     {"'m0.proj.weight_scale_inv' has shape [24, 4]", "must be [24, 2]"}},
    {"Mxfp8Groups",
     "ct-mxfp8",
     [](QuantCase& t) { t.config["config_groups"]["group_0"]["weights"]["group_size"] = 64; },
     {"group_size", "the format has groups of 32"}},
    {"Mxfp8Bits",
     "ct-mxfp8",
     [](QuantCase& t) { t.config["config_groups"]["group_0"]["weights"]["num_bits"] = 4; },
     {"num_bits", "the format has 8"}},
    {"BytesInPlaceOfScales",
     "ct-mxfp8",
     [](QuantCase& t) { t.config["config_groups"]["group_0"]["format"] = "float-quantized"; },
     {"'m0.proj.weight_scale'", "U8"}},
    {"ExpertsOfUnknownType",
     "fp8-block",
     [](QuantCase& t) { t.config["expert_dtype"] = "fp6"; },
     {"expert_dtype", "known: fp8, fp4"}},
    {"Fp8ScaleShape",
     "fp8-block",
     [](QuantCase& t) {
       t.config["weight_block_size"] = {64, 64};
     },
     {"'m0.proj.weight_scale_inv' has shape [2, 2]", "must be [3, 4]"}},
    {"Fp8NotPerTensor",
     "fp8-block",
     [](QuantCase& t) { t.config["weight_block_size"] = nullptr; },
     {"'m0.proj.weight_scale_inv' has shape [2, 2]"}},
    {"Fp4ScaleMissing",
     "fp4-experts",
     [](QuantCase& t) { Remove(t, "m0.proj.scale"); },
     {"'m0.proj.scale' is missing"}},
    {"Fp4ScaleNan",
     "fp4-experts",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.scale", 5, 255); },
     {"'m0.proj.scale'", "row 1, group 1 is nan"}},
    {"Fp4Shape",
     "fp4-experts",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight", {12, 128});
     },
     {"'m0.proj.weight' has shape [12, 128]", "must be [24, 64]"}},
    {"Fp4Rows",
     "fp4-experts",
     [](QuantCase& t) { t.refs[0].k = 100; },
     {"'m0.proj.weight'", "groups of 32 weights do not divide its rows of 100"}},
    {"MxfpScalesMissing",
     "mxfp4-packed",
     [](QuantCase& t) { Remove(t, "m.gate_up_proj_scales"); },
     {"'m.gate_up_proj_scales' is missing"}},
    {"MxfpBlocksShape",
     "mxfp4-packed",
     [](QuantCase& t) {
       Reshape(t, "m.gate_up_proj_blocks", {3, 32, 8, 8});
     },
     {"'m.gate_up_proj_blocks' has shape [3, 32, 8, 8]", "must be [3, 32, 4, 16]"}},
    {"MxfpScaleNan",
     "mxfp4-packed",
     [](QuantCase& t) { Set<uint8_t>(t, "m.gate_up_proj_scales", 6, 255); },
     {"'m.gate_up_proj_scales'", "row 1, group 2 is nan"}},
    {"MxfpRows",
     "mxfp4-packed",
     [](QuantCase& t) { t.refs[0].k = 100; },
     {"'m.gate_up_proj_blocks'", "groups of 32 weights do not divide its rows of 100"}},

    {"NoMethod",
     "awq",
     [](QuantCase& t) { t.config.erase("quant_method"); },
     {"'quantization_config.quant_method' is missing", "known: awq, compressed-tensors"}},
    {"UnknownMethod",
     "awq",
     [](QuantCase& t) { t.config["quant_method"] = "bitsandbytes"; },
     {"'quantization_config.quant_method' is \"bitsandbytes\"", "known:"}},
    {"UnknownKey",
     "awq",
     [](QuantCase& t) { t.config["rotate"] = 3; },
     {"'quantization_config.rotate' is 3"}},
    {"AwqGemv",
     "awq",
     [](QuantCase& t) { t.config["version"] = "gemv"; },
     {"version' is \"gemv\"", "GEMM"}},
    {"AwqBits", "awq", [](QuantCase& t) { t.config["bits"] = 3; }, {"bits' is 3", "known: 4"}},
    {"AwqWithoutZeros",
     "awq",
     [](QuantCase& t) { t.config["zero_point"] = false; },
     {"zero_point' is false"}},
    {"GptqThreeBits",
     "gptq-int4",
     [](QuantCase& t) { t.config["bits"] = 3; },
     {"bits' is 3", "known: 4, 8"}},
    {"GptqMarlin",
     "gptq-int4",
     [](QuantCase& t) { t.config["checkpoint_format"] = "marlin"; },
     {"checkpoint_format' is \"marlin\""}},
    {"GptqMixed",
     "gptq-int4",
     [](QuantCase& t) {
       t.config["dynamic"] = {{"+:.*down.*", {{"bits", 8}}}};
     },
     {"dynamic' is an object"}},
    {"Fp8OtherNumbers",
     "fp8-block",
     [](QuantCase& t) { t.config["fmt"] = "e5m2"; },
     {"fmt' is \"e5m2\"", "e4m3"}},
    {"Fp8BlockSize",
     "fp8-block",
     [](QuantCase& t) { t.config["weight_block_size"] = {128}; },
     {"weight_block_size'", "[rows, columns]"}},
    {"MxfpIgnore",
     "mxfp4-packed",
     [](QuantCase& t) { t.config["modules_to_not_convert"] = "lm_head"; },
     {"modules_to_not_convert'", "list of strings"}},
    {"CompressedFormat",
     "ct-int4-group",
     [](QuantCase& t) { t.config["config_groups"]["group_0"]["format"] = "marlin-24"; },
     {"config_groups.group_0.format' is \"marlin-24\"", "pack-quantized"}},
    {"CompressedNoGroups",
     "ct-int4-group",
     [](QuantCase& t) { t.config["config_groups"] = nlohmann::json::object(); },
     {"config_groups'", "at least one"}},
    {"CompressedMixed",
     "ct-int4-group",
     [](QuantCase& t) {
       t.config["config_groups"]["group_1"] = t.config["config_groups"]["group_0"];
       t.config["config_groups"]["group_1"]["weights"]["num_bits"] = 8;
     },
     {"config_groups'", "'group_1' differs", "mixed schemes are not supported"}},
    {"CompressedStatus",
     "ct-int4-group",
     [](QuantCase& t) { t.config["quantization_status"] = "frozen"; },
     {"quantization_status' is \"frozen\""}},
    {"CompressedSparse",
     "ct-int4-group",
     [](QuantCase& t) {
       t.config["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
     },
     {"sparsity_config'", "sparse weights"}},
    {"CompressedTransform",
     "ct-int4-group",
     [](QuantCase& t) {
       t.config["transform_config"] = {{"config_groups", {{"u", {1}}}}};
     },
     {"transform_config'", "rotated"}},
    {"CompressedBits",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["num_bits"] = 3; },
     {"config_groups.group_0.weights.num_bits' is 3", "known: 4, 8"}},
    {"CompressedTypeOfFormat",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["type"] = "float"; },
     {"weights.type' is \"float\"", "'pack-quantized' has 'int'"}},
    {"CompressedDynamic",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["dynamic"] = true; },
     {"weights.dynamic' is true"}},
    {"CompressedStrategy",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["strategy"] = "token"; },
     {"weights.strategy' is \"token\"", "known: tensor, channel, group"}},
    {"CompressedGroupSize",
     "ct-int4-group",
     [](QuantCase& t) { Weights(t)["group_size"] = nullptr; },
     {"weights.group_size' is null", "above 0"}},
    {"CompressedIgnore",
     "ct-int4-group",
     [](QuantCase& t) { t.config["ignore"] = {1}; },
     {"ignore'", "list of strings"}},
};

std::string NameOf(const testing::TestParamInfo<Damage>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Bad, DamagedQuant, testing::ValuesIn(kDamages), NameOf);

}  // namespace
}  // namespace folkmoot
