// SPDX-License-Identifier: Apache-2.0
#include "tests/support/golden_case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/json_text.h"

namespace folkmoot {
namespace {

void ExpectLayers(const nlohmann::json& expected, const RunOutcome& outcome, double tolerance) {
  for (const auto& layer : expected) {
    const auto found = outcome.routing.find(layer["layer"].get<int32_t>());
    ASSERT_NE(found, outcome.routing.end()) << "layer " << layer["layer"] << " was not routed";
    std::vector<int32_t> experts;
    std::vector<float> weights;
    for (const auto& row : layer["experts"]) {
      for (const auto& expert : row) experts.push_back(expert.get<int32_t>());
    }
    for (const auto& row : layer["weights"]) {
      for (const auto& weight : row) weights.push_back(weight.get<float>());
    }
    EXPECT_EQ(found->second.expert, experts) << "layer " << layer["layer"];
    ASSERT_EQ(found->second.weight.size(), weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_NEAR(found->second.weight[i], weights[i], tolerance) << "layer " << layer["layer"];
    }
  }
  EXPECT_EQ(outcome.routing.size(), expected.size()) << "number of MoE layers";
}

// The first position where a layer chose other experts than the reference, or where the weight of
// one is off by more than `jump`; `positions` if none did.
size_t FirstOtherChoice(const nlohmann::json& expected, const RunOutcome& outcome, size_t positions,
                        double jump) {
  size_t first = positions;
  for (const auto& layer : expected) {
    const RoutingTrace& trace = outcome.routing.at(layer["layer"].get<int32_t>());
    const auto& rows = layer["experts"];
    for (size_t p = 0; p < rows.size() && p < first; ++p) {
      auto wanted = rows[p].get<std::vector<int32_t>>();  // in any order
      const auto begin = trace.expert.begin() + static_cast<std::ptrdiff_t>(p * wanted.size());
      if (!std::is_permutation(wanted.begin(), wanted.end(), begin)) {
        first = p;
        continue;
      }
      for (size_t j = 0; j < wanted.size(); ++j) {
        const auto at = std::find(begin, trace.expert.end(), wanted[j]) - trace.expert.begin();
        const auto weight = static_cast<double>(trace.weight[static_cast<size_t>(at)]);
        if (std::abs(weight - layer["weights"][p][j].get<double>()) > jump) first = p;
      }
    }
  }
  return first;
}

// What an encoder reads, where the golden has it, and what follows.
Request PromptOf(const nlohmann::json& json, const char* source, const char* prompt) {
  Request request;
  if (json.contains(source)) request.prompt = json[source].get<std::vector<int32_t>>();
  request.source = std::ssize(request.prompt);
  for (const auto& token : json[prompt]) request.prompt.push_back(token.get<int32_t>());
  return request;
}

}  // namespace

Request BeamsOf(const nlohmann::json& search, const nlohmann::json& config) {
  Request request;
  const bool has_source = search.contains("source");
  request.prompt = search[has_source ? "source" : "prompt"].get<std::vector<int32_t>>();
  if (has_source) request.source = std::ssize(request.prompt);
  if (has_source) request.prompt.push_back(config["decoder_start_token_id"]);
  const bool forced = search.contains("forced_bos");
  if (forced) request.prompt.push_back(search["forced_bos"].get<int32_t>());
  request.max_tokens = search["max_new_tokens"].get<int64_t>() - (forced ? 1 : 0);
  if (config.contains("eos_token_id")) request.stop_ids = {config["eos_token_id"].get<int32_t>()};
  request.n = search.value("num_return_sequences", 1);
  request.beams.width = search["num_beams"];
  request.beams.length_penalty = search.value("length_penalty", 1.0);
  request.beams.begun = forced ? 1 : 0;
  const auto early = search.value("early_stopping", nlohmann::json(false));
  request.beams.early_stopping = early == "never" ? EarlyStopping::kNever
                                 : early == true  ? EarlyStopping::kYes
                                                  : EarlyStopping::kNo;
  return request;
}

// Others than those of the tree: of tools/cross_goldens.py.
std::string FolderOf(const std::string& folder) {
  const char* other = folder == "goldens" ? std::getenv("FOLKMOOT_GOLDENS") : nullptr;
  return other != nullptr ? other : fmt::format("{}/{}", FOLKMOOT_TEST_DATA, folder);
}

std::vector<std::string> GoldenVariants(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(FolderOf(folder))) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string GoldenTestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

GoldenCase::GoldenCase(const std::string& name, const std::string& folder) : variant(name) {
  setup.options.model = FolderOf(folder) + "/" + name;
  golden = nlohmann::json::parse(std::ifstream(setup.options.model + "/golden.json"));
  std::ifstream file(setup.options.model + "/config.json");  // GGUF files have none
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto config =
      text.empty() ? nlohmann::json::object() : nlohmann::json::parse(QuoteNonNumbers(text));
  quantised = config.contains("quantization_config");
  if (config.value("model_type", "") == "phimoe") jump = 0.1;
  if (name.ends_with("-dynamic")) setup.options.max_model_len = 128;
  for (const auto& prompt : golden["prompts"]) {
    Request request = PromptOf(prompt, "source_ids", "token_ids");
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    request.trace_routing = true;
    request.layer_digests = true;
    requests.push_back(request);
  }
  Request greedy = PromptOf(golden["greedy"], "source", "prompt");
  continuation = golden["greedy"]["continuation"].get<std::vector<int32_t>>();
  greedy.max_tokens = static_cast<int64_t>(continuation.size());
  greedy.sampling.temperature = 0;
  requests.push_back(greedy);
  for (const auto& search : golden.value("beams", nlohmann::json::array())) {
    beams.push_back(BeamsOf(search, config));
  }
}

double GoldenCase::ExpectLogprobs(const std::vector<RunOutcome>& outcomes, double tolerance) const {
  double worst = 0;
  for (size_t p = 0; p + 1 < requests.size(); ++p) {
    const nlohmann::json& expected = golden["prompts"][p]["logprobs"];
    const std::vector<float>& actual = outcomes[p].prompt_logprobs;
    EXPECT_EQ(actual.size() + 1, expected.size()) << "prompt " << p;
    for (size_t i = 0; i < actual.size() && i + 1 < expected.size(); ++i) {
      const double difference =
          std::abs(static_cast<double>(actual[i]) - expected[i + 1].get<double>());
      worst = std::max(worst, difference);
      EXPECT_LE(difference, tolerance) << "prompt " << p << " position " << i + 1;
    }
  }
  return worst;
}

double GoldenCase::ExpectLogprobsWhereRoutedAlike(const std::vector<RunOutcome>& outcomes,
                                                  double tolerance, double* compared,
                                                  double* mean) const {
  double worst = 0;
  double sum = 0;
  size_t all = 0;
  size_t done = 0;
  for (size_t p = 0; p + 1 < requests.size(); ++p) {
    const nlohmann::json& expected = golden["prompts"][p];
    const std::vector<float>& actual = outcomes[p].prompt_logprobs;
    const size_t alike = FirstOtherChoice(expected["router"], outcomes[p], actual.size(), jump);
    all += actual.size();
    done += alike;
    for (size_t i = 0; i < alike; ++i) {
      const double difference =
          std::abs(static_cast<double>(actual[i]) - expected["logprobs"][i + 1].get<double>());
      worst = std::max(worst, difference);
      sum += difference;
      EXPECT_LE(difference, tolerance) << "prompt " << p << " position " << i + 1;
    }
  }
  *compared = static_cast<double>(done) / static_cast<double>(all);
  if (mean != nullptr) *mean = sum / static_cast<double>(done);
  return worst;
}

void GoldenCase::ExpectRouting(const std::vector<RunOutcome>& outcomes, double tolerance) const {
  for (size_t p = 0; p + 1 < requests.size(); ++p) {
    ExpectLayers(golden["prompts"][p]["router"], outcomes[p], tolerance);
  }
}

void GoldenCase::ExpectTransformers(double logprobs, double routing) const {
  const auto outcomes = RunRequests(setup, requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double worst = ExpectLogprobs(*outcomes, logprobs);
  ExpectRouting(*outcomes, routing);
  EXPECT_EQ(outcomes->back().tokens, continuation);
  testing::Test::RecordProperty("worst_logprob_error", fmt::format("{:.2e}", worst));
  fmt::print("{}: worst log-probability error {:.1e}\n", variant, worst);
}

void GoldenCase::ExpectSameBitsAt(int ranks) const {
  const auto alone = RunRequests(setup, requests);
  ASSERT_TRUE(alone.ok()) << alone.status();
  RunSetup spread = setup;
  spread.ranks = ranks;
  const auto outcomes = RunRequests(spread, requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  for (size_t p = 0; p < requests.size(); ++p) {
    EXPECT_TRUE((*alone)[p] == (*outcomes)[p]) << "prompt " << p;
  }
}

}  // namespace folkmoot
