// SPDX-License-Identifier: Apache-2.0
// What can go wrong between ranks ends every rank with an error that names the culprit, within the
// deadline.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "launch/agreement.h"
#include "launch/plan_codec.h"
#include "nlohmann/json.hpp"
#include "parallel/thread_communicator.h"
#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

std::string GoldenModel(const std::string& name) {
  return std::string(FOLKMOOT_TEST_DATA) + "/goldens/" + name;
}

// Runs `body` as each of `ranks` thread ranks with a short deadline.
std::vector<absl::Status> OnRanks(int ranks,
                                  const std::function<absl::Status(Communicator&)>& body) {
  auto worlds = MakeThreadCommunicators(ranks);
  std::vector<absl::Status> statuses(worlds.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < worlds.size(); ++r) {
    threads.emplace_back([&, r] {
      worlds[r]->set_timeout(std::chrono::seconds(5));
      statuses[r] = body(*worlds[r]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

TEST(Agreement, AllEqualIsFine) {
  for (const absl::Status& status : OnRanks(3, [](Communicator& world) {
         return AgreeOrFail(world, absl::OkStatus(), {{"build", "1"}, {"gate", "g"}});
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(Agreement, ADifferentFieldIsNamedOnEveryRank) {
  for (const absl::Status& status : OnRanks(3, [](Communicator& world) {
         const std::string files = world.rank() == 2 ? "bbbb" : "aaaa";
         return AgreeOrFail(world, absl::OkStatus(), {{"build", "1"}, {"model files", files}});
       })) {
    EXPECT_THAT(std::string(Message(status)),
                HasSubstr("rank 2 differs from rank 0 in model files: 'bbbb' there, 'aaaa'"));
  }
}

TEST(Agreement, AFailingRankIsNamedOnEveryRank) {
  for (const absl::Status& status : OnRanks(3, [](Communicator& world) {
         const absl::Status mine = world.rank() == 1 ? NotFound("no such file") : absl::OkStatus();
         return AgreeOrFail(world, mine, {});
       })) {
    EXPECT_EQ(Message(status), "rank 1: no such file");
  }
}

TEST(Agreement, WhatAllRanksSeeIsSaidOnce) {
  for (const absl::Status& status : OnRanks(2, [](Communicator& world) {
         return AgreeOrFail(world, NotFound("no such model"), {});
       })) {
    EXPECT_EQ(Message(status), "no such model");
  }
}

// Rank 0 sends a plan of another step: the worker refuses it before its first collective, and both
// ranks end.
TEST(EngineFailure, APlanOfAnotherStepEndsEveryRank) {
  EngineOptions options;
  options.model = GoldenModel("mixtral-classic");
  const auto statuses = OnRanks(2, [&](Communicator& world) -> absl::Status {
    FM_ASSIGN_OR_RETURN(const auto rank, LoadedRank::Load(options, world, {.threads = 1}, nullptr));
    if (world.rank() > 0) return RunWorker(world, rank->runner(), rank->epoch());
    StepPlan plan;
    plan.epoch = rank->epoch();
    plan.step = 5;
    plan.ranks.resize(2);
    plan.ranks[0].starts.push_back({.id = 1, .tokens = {1, 2}, .prompt_length = 2});
    plan.ranks[0].slices.push_back({.id = 1, .count = 2, .new_blocks = {0}});
    plan.gates = {""};
    std::string frame;
    EncodePlan(plan, &frame);
    FM_RETURN_IF_ERROR(BroadcastString(world, 0, &frame, {.phase = "plan broadcast", .step = 5}));
    return rank->runner().Run(plan).status();  // waits for a rank that will not come
  });
  EXPECT_THAT(
      std::string(Message(statuses[1])),
      HasSubstr("rank 1: the plan received is step 5 of epoch 1, but this rank is at step 0"));
  EXPECT_THAT(std::string(Message(statuses[0])), HasSubstr("rank 1"));
}

TEST(EngineFailure, MoreRanksThanExpertsTakePart) {
  RunSetup setup;
  setup.options.model = GoldenModel("mixtral-classic");
  std::vector<Request> requests(2);
  for (Request& request : requests) {
    request.prompt = {1, 2, 3, 4};
    request.max_tokens = 3;
    request.sampling.temperature = 0;
  }
  const auto one = RunRequests(setup, requests);
  setup.ranks = 10;
  const auto ten = RunRequests(setup, requests);
  ASSERT_TRUE(one.ok() && ten.ok()) << ten.status();
  EXPECT_TRUE((*one)[0] == (*ten)[0] && (*one)[1] == (*ten)[1]);
}

struct BadRequest {
  const char* what;
  Request request;
  const char* message;
};

TEST(EngineFailure, BadRequestsAreRefusedWithTheReason) {
  RunSetup setup;
  setup.options.model = GoldenModel("llama-classic");
  Request empty;
  Request range;
  range.prompt = {1, 5000};
  Request negative;
  negative.prompt = {-1};
  Request length;
  length.prompt.assign(1000000, 1);
  const std::vector<BadRequest> cases = {
      {"empty", empty, "the prompt is empty"},
      {"range", range, "prompt token 1 is 5000: ids of this model are 0 to"},
      {"negative", negative, "prompt token 0 is -1"},
      {"length", length, "maximum context length is"},
  };
  for (const BadRequest& bad : cases) {
    const auto outcomes = RunRequests(setup, {bad.request});
    EXPECT_THAT(std::string(Message(outcomes.status())), HasSubstr(bad.message)) << bad.what;
  }
}

// A copy of a golden model whose tensor `name`, or one row of it, is filled with NaN.
class PoisonedModel {
 public:
  PoisonedModel(const std::string& golden, const std::string& name, int64_t row = -1)
      : path_(testing::TempDir() + "/poisoned_" + golden) {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(GoldenModel(golden), path_);
    std::fstream file(path_ + "/model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    uint64_t length = 0;
    file.read(reinterpret_cast<char*>(&length), sizeof(length));
    std::string header(length, ' ');
    file.read(header.data(), static_cast<std::streamsize>(length));
    const auto tensor = nlohmann::json::parse(header).at(name);
    int64_t begin = tensor["data_offsets"][0];
    int64_t end = tensor["data_offsets"][1];
    if (row >= 0) {
      const int64_t bytes = (end - begin) / tensor["shape"][0].get<int64_t>();
      begin += row * bytes;
      end = begin + bytes;
    }
    file.seekp(static_cast<std::streamoff>(sizeof(length) + length) + begin);
    file << std::string(static_cast<size_t>(end - begin), '\xff');  // NaN in F32, BF16 and F16
  }
  ~PoisonedModel() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(NotANumber, InTheLogitsFailsTheRequestByPosition) {
  const PoisonedModel model("llama-classic", "model.norm.weight");
  RunSetup setup;
  setup.options.model = model.path();
  Request request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 4;
  const auto outcomes = RunRequests(setup, {request});
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(outcomes->at(0).finish, FinishReason::kError);
  EXPECT_EQ(outcomes->at(0).error, "the logits of position 2 are not finite numbers");
  EXPECT_TRUE(outcomes->at(0).tokens.empty());
}

TEST(NotANumber, InTheRouterIsNeverRouted) {
  const PoisonedModel model("mixtral-classic", "model.layers.1.block_sparse_moe.gate.weight");
  for (const int ranks : {1, 3}) {
    RunSetup setup;
    setup.options.model = model.path();
    setup.ranks = ranks;
    Request request;
    request.prompt = {1, 2, 3};
    const auto outcomes = RunRequests(setup, {request, request});
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    for (const RunOutcome& outcome : *outcomes) {
      EXPECT_EQ(outcome.finish, FinishReason::kError);
      EXPECT_EQ(outcome.error, "layer 1: the router's logits of position 0 are not finite numbers");
      EXPECT_TRUE(outcome.tokens.empty());
    }
  }
}

// One token has no numbers: the requests with it fail, and nobody else can tell that they ran, not
// even those that use their pages afterwards.
TEST(NotANumber, FailsOnlyTheRequestsThatMeetIt) {
  constexpr int32_t kBad = 7;
  for (const std::string name : {"mixtral-classic", "llama-classic"}) {
    const PoisonedModel model(name, "model.embed_tokens.weight", kBad);
    std::vector<Request> good;
    std::vector<Request> mixed;
    for (int32_t i = 0; i < 5; ++i) {
      Request request;
      for (int32_t t = 0; t < 30; ++t) request.prompt.push_back((i * 17 + t * 5) % 90 + 6);
      std::replace(request.prompt.begin(), request.prompt.end(), kBad, kBad + 1);
      request.max_tokens = 6;
      request.sampling = {.temperature = 0.9f, .seed = static_cast<uint64_t>(i)};
      request.sampling.logit_bias = {{kBad, -1000.0f}};
      request.layer_digests = true;
      good.push_back(request);
      mixed.push_back(request);
      request.prompt[19] = kBad;
      mixed.push_back(request);
    }
    RunSetup setup;
    setup.options.model = model.path();
    const auto reference = RunRequests(setup, good);
    ASSERT_TRUE(reference.ok()) << reference.status();
    for (const int ranks : {1, 2, 3}) {
      setup.ranks = ranks;
      setup.times = 2;
      setup.plan_ahead = ranks == 2;
      setup.options.kv_cache_blocks = 16;
      setup.options.prefill_chunk = 8;
      const auto outcomes = RunRequests(setup, mixed);
      ASSERT_TRUE(outcomes.ok()) << outcomes.status();
      for (size_t i = 0; i < good.size(); ++i) {
        EXPECT_TRUE((*outcomes)[2 * i] == (*reference)[i]) << name << " request " << i;
        const RunOutcome& bad = (*outcomes)[2 * i + 1];
        EXPECT_EQ(bad.finish, FinishReason::kError);
        EXPECT_THAT(bad.error, HasSubstr("are not finite numbers"));
        if (name == "mixtral-classic") {
          EXPECT_THAT(bad.error, HasSubstr("layer 0: the router's logits of position 19"));
        }
      }
    }
  }
}

TEST(Masks, ThatLeaveNoTokenFailTheRequest) {
  RunSetup setup;
  setup.options.model = GoldenModel("llama-classic");
  Request request;
  request.prompt = {1, 2, 3};
  request.sampling.allowed_ids = {4000};  // not one of this vocabulary
  Request other;
  other.prompt = {1, 2, 3};
  other.max_tokens = 2;
  const auto outcomes = RunRequests(setup, {request, other});
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ((*outcomes)[0].finish, FinishReason::kError);
  EXPECT_THAT((*outcomes)[0].error, HasSubstr("no token may come at position 3"));
  EXPECT_EQ((*outcomes)[1].finish, FinishReason::kLength);
}

TEST(BadModel, AnotherModelsWeightsAreRefusedByTensorAndShape) {
  const PoisonedModel model("mixtral-classic", "model.norm.weight");
  std::filesystem::copy_file(GoldenModel("llama-classic") + "/model.safetensors",
                             model.path() + "/model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  for (const int ranks : {1, 2}) {
    RunSetup setup;
    setup.options.model = model.path();
    setup.ranks = ranks;
    EXPECT_THAT(
        std::string(Message(RunRequests(setup, {}).status())),
        testing::ContainsRegex("tensor 'model.layers.0.* has shape .* config.json asks for"));
  }
}

// A wrong guess without numbers, in the router as in the logits, is nothing but a wrong guess.
TEST(NotANumber, InWrongGuessesIsForgotten) {
  static constexpr int32_t kBad = 7;
  for (const std::string name : {"mixtral-classic", "llama-classic"}) {
    const PoisonedModel model(name, "model.embed_tokens.weight", kBad);
    Request request;
    for (int32_t t = 0; t < 12; ++t) request.prompt.push_back(t * 5 + 10);
    std::replace(request.prompt.begin(), request.prompt.end(), kBad, kBad + 1);
    request.max_tokens = 15;
    request.sampling.logit_bias = {{kBad, -1000.0f}};
    request.layer_digests = true;
    RunSetup setup;
    setup.options.model = model.path();
    const auto plain = RunRequests(setup, {request});
    ASSERT_TRUE(plain.ok()) << plain.status();
    setup.adjust = [](SchedulerOptions& scheduler) {
      scheduler.speculation.tokens = 3;
      scheduler.speculation.guesser = [](std::span<const int32_t>, int64_t most,
                                         std::vector<int32_t>* guesses) {
        guesses->assign(static_cast<size_t>(most), kBad);
      };
    };
    RunTotals totals;
    const auto guessed = RunRequests(setup, {request}, &totals);
    ASSERT_TRUE(guessed.ok()) << guessed.status();
    EXPECT_TRUE(*guessed == *plain) << name << ": " << guessed->at(0).error;
    EXPECT_EQ(guessed->at(0).tokens.size(), 15u);
    EXPECT_GT(totals.speculation.drafted, 3);
    EXPECT_EQ(totals.speculation.accepted, 0);
  }
}

}  // namespace
}  // namespace folkmoot
