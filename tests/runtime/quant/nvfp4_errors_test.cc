// SPDX-License-Identifier: Apache-2.0
// What is wrong with files of ModelOpt, or with the experts of Inkling 2's looped form, is refused
// by the name of the tensor or key.
#include <cmath>
#include <limits>

#include "tests/runtime/quant/damage.h"

namespace folkmoot {
namespace {

class DamagedNvfp4 : public testing::TestWithParam<Damage> {};

TEST_P(DamagedNvfp4, IsRefusedByName) { ExpectRefused(GetParam()); }

nlohmann::json& Group(QuantCase& test) { return test.config["config_groups"]["group_0"]; }

const Damage kDamages[] = {
    {"ScaleMissing",
     "modelopt-nvfp4",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_scale"); },
     {"'m0.proj.weight_scale' is missing", "'m0.proj.weight' [24, 128]"}},
    {"SecondScaleMissing",
     "modelopt-nvfp4",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_scale_2"); },
     {"'m0.proj.weight_scale_2' is missing", "'m0.proj.weight' [24, 128]"}},
    {"SecondScaleNan",
     "modelopt-nvfp4",
     [](QuantCase& t) { Set<float>(t, "m0.proj.weight_scale_2", 0, NAN); },
     {"'m0.proj.weight_scale_2' is nan", "a finite number"}},
    {"SecondScaleNegative",
     "modelopt-nvfp4",
     [](QuantCase& t) { Set<float>(t, "m0.proj.weight_scale_2", 0, -1.0f); },
     {"'m0.proj.weight_scale_2' is -1", "not below 0"}},
    {"SecondScaleShape",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       t.tensors.at("m0.proj.weight_scale_2") = {DType::kF32, {2}, std::string(8, '\0')};
     },
     {"'m0.proj.weight_scale_2' has shape [2]"}},
    {"ScaleNan",
     "modelopt-nvfp4",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.weight_scale", 9, 0x7f); },
     {"'m0.proj.weight_scale'", "row 1, group 1 is nan"}},
    {"ScaleInfinite",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       Set<float>(t, "m0.proj.weight_scale_2", 0, std::numeric_limits<float>::max());
     },
     {"'m0.proj.weight_scale'", "is inf"}},
    {"ScaleShape",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight_scale", {12, 16});
     },
     {"'m0.proj.weight_scale' has shape [12, 16]", "must be [24, 8]"}},
    {"ScaleDType",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.tensors.at("m0.proj.weight_scale").dtype = DType::kU8; },
     {"'m0.proj.weight_scale' has dtype U8", "F8_E4M3"}},
    {"CodesShape",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight", {12, 128});
     },
     {"'m0.proj.weight' has shape [12, 128]", "must be [24, 64]"}},
    {"Rows",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.refs[0].k = 100; },
     {"'m0.proj.weight'", "groups of 16 weights do not divide its rows of 100"}},
    {"GroupDoesNotDivide",
     "modelopt-nvfp4",
     [](QuantCase& t) { Group(t)["weights"]["group_size"] = 48; },
     {"'m0.proj.weight'", "groups of 48 weights do not divide its rows of 128"}},
    {"OtherGroup",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.config["group_size"] = 32; },
     {"'m0.proj.weight_scale' has shape [24, 8]", "must be [24, 4]"}},
    {"ScaledForActivations",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       t.tensors["m0.proj.pre_quant_scale"] = {DType::kF32, {128}, std::string(512, '\0')};
     },
     {"'m0.proj.pre_quant_scale'", "AWQ", "quantise without"}},
    {"Fp8ScaleMissing",
     "modelopt-fp8",
     [](QuantCase& t) { Remove(t, "m0.proj.weight_scale"); },
     {"'m0.proj.weight_scale' is missing"}},
    {"Fp8ScaleNan",
     "modelopt-fp8",
     [](QuantCase& t) { Set<float>(t, "m0.proj.weight_scale", 0, NAN); },
     {"'m0.proj.weight_scale'", "is nan"}},
    {"Fp8RowsShape",
     "modelopt-fp8-rows",
     [](QuantCase& t) { t.refs[0].n = 12; },
     {"'m0.proj.weight' has shape [24, 100]", "must be [12, 100]"}},
    {"Fp8RowScales",
     "modelopt-fp8-rows",
     [](QuantCase& t) {
       t.tensors.at("m0.proj.weight_scale") = {DType::kF32, {2}, std::string(8, '\0')};
     },
     {"'m0.proj.weight_scale' has shape [2]", "must be [24, 1]"}},
    {"Fp8BlockScales",
     "modelopt-fp8-blocks",
     [](QuantCase& t) {
       Reshape(t, "m0.proj.weight_scale", {1, 2, 2, 1});
     },
     {"'m0.proj.weight_scale' has shape [1, 2, 2, 1]", "must be [2, 2]"}},
    {"Mxfp8ScaleNan",
     "modelopt-mxfp8",
     [](QuantCase& t) { Set<uint8_t>(t, "m0.proj.weight_scale", 5, 255); },
     {"'m0.proj.weight_scale'", "row 1, group 1 is nan"}},
    {"PackedOfOthers",
     "modelopt-nvfp4-packed",
     [](QuantCase& t) {
       t.tensors["m.gate_up_proj_weight_scale"] = t.tensors.at("m.gate_up_proj.scale");
       Remove(t, "m.gate_up_proj.scale");
     },
     {"'m.gate_up_proj'", "known of Inkling only", "one by one"}},
    {"PackedSecondScales",
     "modelopt-nvfp4-packed",
     [](QuantCase& t) {
       Reshape(t, "m.gate_up_proj.scale2", {1, 3});
     },
     {"'m.gate_up_proj.scale2' has shape [1, 3]", "must be [3]"}},
    {"PackedFp8Scales",
     "modelopt-fp8-packed",
     [](QuantCase& t) {
       t.tensors.at("m.gate_up_proj_weight_scale") = {DType::kF32, {2}, std::string(8, '\0')};
     },
     {"'m.gate_up_proj_weight_scale' has shape [2]", "must be [3]"}},

    {"LoopScaleMissing",
     "inkling2-nvfp4",
     [](QuantCase& t) { Remove(t, "m.experts.w13_weight_scale"); },
     {"'m.experts.w13_weight_scale' is missing"}},
    {"LoopAmaxMissing",
     "inkling2-nvfp4",
     [](QuantCase& t) { Remove(t, "m.experts.w13_weight_amax"); },
     {"'m.experts.w13_weight_amax' is missing"}},
    {"LoopDenominatorMissing",
     "inkling2-nvfp4",
     [](QuantCase& t) { Remove(t, "m.experts.w13_weight_outer_scale_denominator"); },
     {"'m.experts.w13_weight_outer_scale_denominator' is missing"}},
    {"LoopAmaxNan",
     "inkling2-nvfp4",
     [](QuantCase& t) { Set<float>(t, "m.experts.w13_weight_amax", 0, NAN); },
     {"'m.experts.w13_weight_amax' is nan"}},
    {"LoopAmaxShape",
     "inkling2-nvfp4",
     [](QuantCase& t) {
       Reshape(t, "m.experts.w13_weight_amax", {3, 1});
     },
     {"'m.experts.w13_weight_amax' has shape [3, 1]", "must be [3]"}},
    {"LoopDenominatorZero",
     "inkling2-nvfp4",
     [](QuantCase& t) { Set<float>(t, "m.experts.w13_weight_outer_scale_denominator", 0, 0.0f); },
     {"'m.experts.w13_weight_outer_scale_denominator'", "expert 0 has 0", "not finite"}},
    {"LoopScaleNan",
     "inkling2-nvfp4",
     [](QuantCase& t) { Set<uint8_t>(t, "m.experts.w13_weight_scale", 9, 0x7f); },
     {"'m.experts.w13_weight_scale'", "row 1, group 1 is nan"}},
    {"LoopScaleShape",
     "inkling2-nvfp4",
     [](QuantCase& t) {
       Reshape(t, "m.experts.w13_weight_scale", {3, 64, 4});
     },
     {"'m.experts.w13_weight_scale' has shape [3, 64, 4]", "must be [3, 32, 8]"}},
    {"LoopCodesShape",
     "inkling2-nvfp4",
     [](QuantCase& t) {
       Reshape(t, "m.experts.w13_weight", {3, 16, 128});
     },
     {"'m.experts.w13_weight' has shape [3, 16, 128]", "must be [3, 32, 64]"}},
    {"LoopRows",
     "inkling2-nvfp4",
     [](QuantCase& t) { t.refs[0].k = 100; },
     {"'m.experts.w13_weight'", "groups of 16 weights do not divide its rows of 100"}},
    {"LoopCodesOfFp8WithAmax",
     "inkling2-mxfp8",
     [](QuantCase& t) {
       const std::string ones = std::string("\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f", 12);
       t.tensors["m.experts.w13_weight_amax"] = {DType::kF32, {3}, ones};
       t.tensors["m.experts.w13_weight_outer_scale_denominator"] = {DType::kF32, {3}, ones};
     },
     {"'m.experts.w13_weight' has dtype F8_E4M3", "must be U8"}},
    {"LoopFp8ScaleNan",
     "inkling2-mxfp8",
     [](QuantCase& t) { Set<uint8_t>(t, "m.experts.w13_weight_scale", 5, 255); },
     {"'m.experts.w13_weight_scale'", "row 1, group 1 is nan"}},

    {"NoAlgorithm",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.config["quant_algo"] = "NVFP4_AWQ"; },
     {"quantization_config.quant_algo' is \"NVFP4_AWQ\"", "known: FP8, FP8_PB_WO"}},
    {"UnknownKey",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.config["rotate"] = true; },
     {"quantization_config.rotate' is true"}},
    {"ScaledKey",
     "modelopt-nvfp4",
     [](QuantCase& t) { Group(t)["pre_quant_scale"] = true; },
     {"config_groups.group_0.pre_quant_scale' is true", "scaled for their activations"}},
    {"IntegersOfFp4",
     "modelopt-nvfp4",
     [](QuantCase& t) { Group(t)["weights"]["type"] = "int"; },
     {"config_groups.group_0.weights.type' is \"int\"", "known: float"}},
    {"NoWeights",
     "modelopt-nvfp4",
     [](QuantCase& t) { Group(t).erase("weights"); },
     {"config_groups.group_0.weights' is missing", "an object"}},
    {"Excluded",
     "modelopt-nvfp4",
     [](QuantCase& t) { t.config["exclude_modules"] = "lm_head"; },
     {"exclude_modules'", "list of strings"}},
    {"MixedModule",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       t.config["quant_algo"] = "MIXED_PRECISION";
       t.config["quantized_layers"]["m0.proj"] = {{"quant_algo", "W4A8_AWQ"}};
     },
     {"quantized_layers.m0.proj.quant_algo' is \"W4A8_AWQ\"", "known:"}},
    {"Producer",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       t.config = {{"producer", {{"name", "quark"}}}, {"quantization", {{"quant_algo", "FP8"}}}};
     },
     {"hf_quant_config.json: key 'producer'", "modelopt"}},
    {"InnerKey",
     "modelopt-nvfp4",
     [](QuantCase& t) {
       t.config = {{"producer", {{"name", "modelopt"}}},
                   {"quantization", {{"quant_algo", "INT4"}, {"group_size", 16}}}};
     },
     {"hf_quant_config.json: key 'quantization.quant_algo' is \"INT4\""}},
};

INSTANTIATE_TEST_SUITE_P(Bad, DamagedNvfp4, testing::ValuesIn(kDamages), NameOfDamage);

// Files of ModelOpt's own, and keys in small letters.
TEST(ModelOptFile, IsReadAsConfigJsonIs) {
  QuantCase test("modelopt-nvfp4");
  const auto open = [&](const nlohmann::json& quantization) {
    test.config = {{"producer", {{"name", "modelopt"}, {"version", "0.29.0"}}},
                   {"quantization", quantization}};
    return test.Open();
  };
  const auto codes = open({{"quant_algo", "nvfp4"},
                           {"kv_cache_quant_algo", "FP8"},
                           {"group_size", 16},
                           {"exclude_modules", {"lm_head", "model.layers.*.self_attn*"}}});
  ASSERT_TRUE(codes.ok()) << codes.status();
  EXPECT_EQ((*test.Format())->description(), "NVFP4");
  EXPECT_THAT(std::string(Message(open({{"quant_algo", "NVFP4"}, {"group_size", 32}}).status())),
              testing::HasSubstr("must be [24, 4]"));
}

// What is stored decides which of its layouts a matrix has.
TEST(ModelOptFile, MixesAlgorithms) {
  for (const char* name : {"modelopt-nvfp4", "modelopt-fp8", "modelopt-fp8-rows",
                           "modelopt-fp8-blocks", "modelopt-mxfp8"}) {
    QuantCase test(name);
    test.config = {{"quant_method", "modelopt"},
                   {"quant_algo", "MIXED_PRECISION"},
                   {"quantized_layers",
                    {{"m0.proj", {{"quant_algo", "W4A16_NVFP4"}, {"group_size", 16}}},
                     {"m1.proj", {{"quant_algo", "fp8_pb_wo"}}}}}};
    const auto codes = test.Open();
    EXPECT_TRUE(codes.ok()) << name << codes.status();
    EXPECT_EQ((*test.Format())->description(), "FP4 and FP8, by module");
  }
}

// Only a cache was quantised.
TEST(ModelOptFile, MayLeaveWeightsPlain) {
  const nlohmann::json file = {
      {"producer", {{"name", "modelopt"}}},
      {"quantization", {{"quant_algo", nullptr}, {"kv_cache_quant_algo", "FP8"}}}};
  const auto format = MakeModelOptFormat(file, "hf_quant_config.json: key '");
  ASSERT_TRUE(format.ok()) << format.status();
  EXPECT_EQ(*format, nullptr);
}

// The factor of an expert comes last in numbers, and is a part of the scales for kernels.
TEST(InklingExperts, RowsForKernelsHaveTheWholeScale) {
  QuantCase test("inkling2-nvfp4");
  const auto codes = test.Open();
  ASSERT_TRUE(codes.ok()) << codes.status();
  CodeRowBuffer buffer(**codes);
  const CodeRow row = buffer.row();
  std::vector<float> numbers(128);
  (*codes)->ReadNumbers(3, row, numbers);
  (*codes)->ReadRow(3, row);
  size_t rounded_otherwise = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float product = row.scales[i / 16] * CodeNumber(CodeType::kFp4, row.codes[i]);
    EXPECT_FLOAT_EQ(product, numbers[i]);
    rounded_otherwise += product != numbers[i] ? 1 : 0;
  }
  EXPECT_GT(rounded_otherwise, 0u);
}

}  // namespace
}  // namespace folkmoot
