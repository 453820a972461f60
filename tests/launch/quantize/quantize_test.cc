// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "launch/commands/quantize_model.h"
#include "layers/models/load_config.h"
#include "layers/weight_loader.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kGoldens = FOLKMOOT_TEST_DATA "/goldens/";

class QuantizeTest : public testing::Test {
 protected:
  QuantizeTest() {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~QuantizeTest() override { fs::remove_all(directory_); }

  absl::StatusOr<QuantizeReport> Quantize(const std::string& model, EncodeType type,
                                          int64_t group = 0, int64_t shard_bytes = 1 << 30) {
    options_.model = model.find('/') == std::string::npos ? kGoldens + model : model;
    options_.out = (directory_ / "out").string();
    options_.type = type;
    options_.group = group;
    return QuantizeModel(
        options_, pool_,
        [this](int64_t done, int64_t total) {
          done_ = {done, total};
        },
        shard_bytes);
  }

  json NewConfig() const { return json::parse(std::ifstream(directory_ / "out/config.json")); }

  // A golden checkpoint that may be changed.
  std::string Copy(const std::string& golden) const {
    const fs::path copy = directory_ / golden;
    fs::copy(kGoldens + golden, copy);
    return copy.string();
  }

  // What is in the parent directory beside these.
  std::vector<std::string> Leftovers(const std::vector<std::string>& expected) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      const std::string name = entry.path().filename();
      if (std::find(expected.begin(), expected.end(), name) == expected.end()) {
        names.push_back(name);
      }
    }
    return names;
  }

  // Every matrix of the new model against the old one: equal where it stayed plain, else within
  // `bound` of its norm. Returns how many are codes.
  int Compare(double bound) const {
    const auto config = LoadModelConfig(options_.model);
    const auto quantised = LoadModelConfig(options_.out);
    EXPECT_TRUE(quantised.ok()) << quantised.status();
    const auto from = Checkpoint::Open(options_.model);
    const auto to = Checkpoint::Open(options_.out);
    EXPECT_TRUE(to.ok()) << to.status();
    const auto inventory = TakeInventory(*quantised, to->get());
    EXPECT_THAT(inventory->missing, IsEmpty());
    EXPECT_THAT(inventory->unexpected, IsEmpty());
    EXPECT_THAT(inventory->wrong_shape, IsEmpty());
    const auto old_loader = MakeCheckpointLoader(**from, nullptr);
    const auto new_loader = MakeCheckpointLoader(**to, quantised->weight_format);
    new_loader->set_options({.dtype = DType::kF32});
    const auto plan = PlanQuantize(options_, *config, **from);
    int codes = 0;
    for (const QuantizeItem& item : plan->items) {
      if (item.from.k == 0) continue;
      const auto before = old_loader->View(item.from);
      const auto after = new_loader->View({.name = item.to, .n = item.from.n, .k = item.from.k});
      EXPECT_TRUE(after.ok()) << after.status();
      double error = 0;
      double norm = 0;
      for (int64_t i = 0; i < before->n * before->k; ++i) {
        const double value = LoadElement(before->data, before->dtype, i);
        error += std::pow(LoadElement(after->data, after->dtype, i) - value, 2);
        norm += value * value;
      }
      EXPECT_LE(std::sqrt(error), (item.encode ? bound : 0) * std::sqrt(norm)) << item.to;
      codes += item.encode ? 1 : 0;
    }
    return codes;
  }

  ThreadPool pool_{2};
  fs::path directory_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
  QuantizeOptions options_;
  std::pair<int64_t, int64_t> done_;
};

TEST_F(QuantizeTest, EveryFormatOfTheDemoModelIsCloseToIt) {
  struct Case {
    EncodeType type;
    double bound;
    int64_t group;
    const char* method;
  };
  for (const Case& c : {Case{EncodeType::kInt8, 0.008, 64, "compressed-tensors"},
                        Case{EncodeType::kInt4, 0.11, 32, "compressed-tensors"},
                        Case{EncodeType::kFp8, 0.03, 64, "fp8"},
                        Case{EncodeType::kMxfp4, 0.13, 32, "compressed-tensors"}}) {
    const auto report = Quantize(FOLKMOOT_SOURCE_DIR "/models/demo-kjv", c.type);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->group, c.group);
    EXPECT_THAT(report->odd_matrices, IsEmpty());
    EXPECT_EQ(report->encoded.tensors, 4 * (4 + 3 * 8 + 3));  // layers, attention, experts, shared
    EXPECT_LT(report->encoded.bytes_after, report->encoded.bytes_before * 11 / 20);
    EXPECT_EQ(report->plain.bytes_after, report->plain.bytes_before);
    EXPECT_EQ(done_.first, done_.second);
    EXPECT_EQ(Compare(c.bound), report->encoded.tensors);
    const json config = NewConfig()["quantization_config"];
    EXPECT_EQ(config["quant_method"], c.method);
    const json& stay =
        config.contains("ignore") ? config["ignore"] : config["modules_to_not_convert"];
    EXPECT_THAT(stay, Contains("lm_head"));
    EXPECT_THAT(stay, Contains("model.layers.3.mlp.gate"));
    EXPECT_THAT(stay, Contains("model.layers.0.mlp.shared_expert_gate"));
    for (const char* file : {"tokenizer.json", "generation_config.json", "chat_template.jinja"}) {
      EXPECT_TRUE(fs::exists(directory_ / "out" / file)) << file;
    }
    fs::remove_all(directory_ / "out");
  }
}

TEST_F(QuantizeTest, PackedExpertsBecomeMatrices) {
  const auto report = Quantize("mixtral-packed", EncodeType::kInt4);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto checkpoint = Checkpoint::Open(options_.out);
  ASSERT_TRUE(checkpoint.ok());
  const std::string expert = "model.layers.1.block_sparse_moe.experts.3.";
  EXPECT_NE((*checkpoint)->Find(expert + "w1.weight_packed"), nullptr);
  EXPECT_NE((*checkpoint)->Find(expert + "w3.weight_packed"), nullptr);
  EXPECT_NE((*checkpoint)->Find(expert + "w2.weight"), nullptr);  // 16 columns: plain
  EXPECT_NE((*checkpoint)->Find("model.layers.1.block_sparse_moe.gate.weight"), nullptr);
  EXPECT_THAT(report->odd_matrices, Contains(expert + "w2"));
  EXPECT_THAT(NewConfig()["quantization_config"]["ignore"], Contains(expert + "w2"));
  EXPECT_EQ(Compare(0.12), report->encoded.tensors);
}

TEST_F(QuantizeTest, FilesMayBeManyOnBothSides) {
  const auto report = Quantize("mixtral-window", EncodeType::kInt8, 32, 20000);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->files, 2);
  EXPECT_TRUE(fs::exists(directory_ / "out/model.safetensors.index.json"));
  EXPECT_EQ(Compare(0.008), report->encoded.tensors);
}

TEST_F(QuantizeTest, HeadOnRequest) {
  options_.head = true;
  ASSERT_TRUE(Quantize("mixtral-classic", EncodeType::kInt8, 32).ok());
  EXPECT_THAT(NewConfig()["quantization_config"]["ignore"], Not(Contains("lm_head")));
  const auto checkpoint = Checkpoint::Open(options_.out);
  EXPECT_NE((*checkpoint)->Find("lm_head.weight_packed"), nullptr);
  Compare(0.008);
  fs::remove_all(directory_ / "out");
  const auto tied = Quantize("mixtral-packed", EncodeType::kInt8, 32);
  EXPECT_THAT(std::string(Message(tied.status())), HasSubstr("--head"));
}

TEST_F(QuantizeTest, RefusesWhatIsThere) {
  fs::create_directories(directory_ / "out");
  const auto report = Quantize("mixtral-classic", EncodeType::kInt4);
  EXPECT_THAT(std::string(Message(report.status())), HasSubstr("is there already"));
  EXPECT_TRUE(fs::is_empty(directory_ / "out"));
  EXPECT_THAT(Leftovers({"out"}), IsEmpty());
}

TEST_F(QuantizeTest, RefusesAQuantisedModel) {
  ASSERT_TRUE(Quantize("mixtral-classic", EncodeType::kInt4).ok());
  fs::rename(directory_ / "out", directory_ / "first");
  const auto again = Quantize((directory_ / "first").string(), EncodeType::kInt8);
  EXPECT_THAT(std::string(Message(again.status())), HasSubstr("quantised already"));
}

TEST_F(QuantizeTest, RefusesExpertsThatReadersKnowInOneTensorOnly) {
  const auto report = Quantize("granitemoe-classic", EncodeType::kInt8);
  EXPECT_THAT(std::string(Message(report.status())),
              AllOf(HasSubstr("GraniteMoeForCausalLM"), HasSubstr("--quantization")));
}

TEST_F(QuantizeTest, RefusesAGgufFile) {
  fs::copy(FOLKMOOT_TEST_DATA "/gguf/mixtral-classic.gguf", directory_ / "m.gguf");
  for (const fs::path& model : {directory_, directory_ / "m.gguf"}) {
    const auto report = Quantize(model.string(), EncodeType::kInt8);
    EXPECT_THAT(std::string(Message(report.status())),
                AllOf(HasSubstr("m.gguf: quantize takes a directory that holds config.json"),
                      HasSubstr("made from")));
  }
  EXPECT_THAT(Leftovers({"m.gguf"}), IsEmpty());
}

TEST_F(QuantizeTest, NamesWeightsThatAreNotFinite) {
  const std::string model = Copy("mixtral-classic");
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  int64_t at = 0;
  {
    const auto checkpoint = Checkpoint::Open(model);
    const TensorInfo* first = (*checkpoint)->Find((*checkpoint)->Names().front());
    for (const std::string_view other : (*checkpoint)->Names()) {
      first = std::min(first, (*checkpoint)->Find(other),
                       [](const auto* a, const auto* b) { return a->data < b->data; });
    }
    at = static_cast<int64_t>(fs::file_size(model + "/model.safetensors")) -
         (*checkpoint)->total_bytes() + ((*checkpoint)->Find(name)->data - first->data);
  }
  std::fstream file(model + "/model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(at);
  const float nan = NAN;
  file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  file.close();
  const auto report = Quantize(model, EncodeType::kInt4);
  EXPECT_THAT(std::string(Message(report.status())), HasSubstr(name));
  EXPECT_THAT(std::string(Message(report.status())), HasSubstr("not finite"));
  EXPECT_THAT(Leftovers({"mixtral-classic"}), IsEmpty());
}

TEST_F(QuantizeTest, SaysWhenNothingWouldChange) {
  const auto report = Quantize("mixtral-classic", EncodeType::kInt8, 128);
  EXPECT_THAT(std::string(Message(report.status())), HasSubstr("smaller --group"));
}

}  // namespace
}  // namespace folkmoot
