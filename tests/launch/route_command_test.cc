// SPDX-License-Identifier: Apache-2.0
// folkmoot route without the process: lines in, lines out, and everything that can be wrong.
#include "launch/commands/route_command.h"

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const char* const kBase =
    "mixtral,capacity=fixed,capacity_fixed=3";  // example 1: before_drop, slot_major, C = 3

Json Examples() {
  std::ifstream file(std::string(FOLKMOOT_TEST_DATA) + "/gates/gating_examples.json");
  return Json::parse(file);
}

std::string RouteText(const std::string& gate, const std::string& text) {
  auto router = LineRouter::Create(gate);
  if (!router.ok()) return std::string(Message(router.status()));
  std::istringstream in(text);
  std::ostringstream out;
  const absl::Status status = router->RouteAll(in, "in.jsonl", out);
  return out.str() + (status.ok() ? "" : std::string(Message(status)));
}
Json RouteJson(const std::string& gate, const Json& line) {
  const std::string out = RouteText(gate, line.dump());
  const Json json = Json::parse(out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << out;
  return json;
}

void ExpectTokens(const Json& got, const Json& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < want.size(); ++t) {
    EXPECT_EQ(got[t]["experts"], want[t]["experts"]) << t;
    EXPECT_EQ(got[t]["state"], want[t]["state"]) << t;
    EXPECT_EQ(got[t]["pos"], want[t]["pos"]) << t;
    for (size_t j = 0; j < want[t]["weight"].size(); ++j) {
      EXPECT_NEAR(got[t]["weight"][j].get<double>(), want[t]["weight"][j].get<double>(), 1e-6);
    }
  }
}

TEST(Route, WorkedExamples) {
  const Json examples = Examples();
  const Json& first = examples["1_gshard_top2_overflow"];
  const Json line = {{"logits", first["logits"]}};
  const Json before_drop = RouteJson(kBase, line);
  EXPECT_EQ(before_drop["capacity"], 3);
  ExpectTokens(before_drop["tokens"], first["before_drop"]["tokens"]);
  ExpectTokens(RouteJson(kBase + std::string(",priority=weight_desc"), line)["tokens"],
               first["weight_desc"]["tokens"]);
  Json five = line;
  five["logits"].erase(five["logits"].begin() + 5, five["logits"].end());
  ExpectTokens(RouteJson(kBase + std::string(",overflow=reroute"), five)["tokens"],
               first["reroute_first_5_tokens"]["tokens"]);

  const Json& second = examples["2_random_second_expert"];
  Json drawn = line;
  drawn["uniforms"] = second["uniforms"];
  ExpectTokens(RouteJson(R"({"preset":"mixtral","capacity":"fixed","capacity_fixed":3,
                             "extra_policy":"random","rejected_consumes":true})",
                         drawn)["tokens"],
               second["paper_rejected_consumes"]["tokens"]);

  Json padded = line;
  padded["valid"] = examples["7_others"]["padding"]["valid"];
  ExpectTokens(RouteJson(kBase, padded)["tokens"], examples["7_others"]["padding"]["tokens"]);

  Json keyed = line;
  keyed.update({{"stream", 7}, {"layer", 3}, {"positions", {0, 1, 2, 3, 4, 5, 6, 7}}});
  const Json accepted = RouteJson("gshard,capacity=none,seed=1234", keyed);
  EXPECT_TRUE(accepted["capacity"].is_null());
  for (size_t t = 0; t < 8; ++t) {
    EXPECT_EQ(accepted["tokens"][t]["state"][1], examples["10_philox"]["accept_at_t_0.5"][t]);
  }
}

// Values behind those of the experts are shared experts'.
TEST(Route, SharedExpertsHaveWeights) {
  EXPECT_EQ(RouteText("score_fn=logits,top_k=1,normalize=before_drop,shared_sinks=2",
                      "{\"logits\":[[1,4,3,1]]}"),
            "{\"capacity\":null,\"tokens\":[{\"experts\":[1],\"weight\":[0.5],"
            "\"state\":[\"kept\"],\"pos\":[0],\"shared_weight\":[0.375,0.125]}]}\n");
  EXPECT_THAT(RouteText(R"({"num_experts":4,"top_k":1,"shared_sinks":1})", R"({"logits":[[0,1]]})"),
              HasSubstr("2 values per row; the gate has num_experts=4 and shared_sinks=1"));
}

TEST(Route, GateFromAFile) {
  const std::string path = ::testing::TempDir() + "/route_gate.json";
  std::ofstream(path) << R"({"preset": "switch", "capacity_factor": 2})";
  EXPECT_EQ(RouteJson(path, {{"logits", {{0, 1}, {0, 1}, {2, 1}, {0, 1}}}})["capacity"], 4);
  std::ofstream(path) << "{\"preset\": ";
  EXPECT_THAT(RouteText(path, R"({"logits":[[0,1]]})"),
              AllOf(HasSubstr("route_gate.json"), HasSubstr("not valid JSON")));
  EXPECT_THAT(RouteText("/nowhere/gate.json", ""), HasSubstr("/nowhere/gate.json"));
  EXPECT_THAT(RouteText("mixtrall", R"({"logits":[[0,1]]})"), HasSubstr("did you mean 'mixtral'"));
  EXPECT_THAT(RouteText("topk=2", R"({"logits":[[0,1]]})"), HasSubstr("did you mean 'top_k'"));
}

TEST(Route, NumberOfExpertsFollowsTheLogits) {
  EXPECT_EQ(RouteText("top_k=1", "{\"logits\":[[0,1]]}\n{\"logits\":[[0,1,2]]}\n"),
            "{\"capacity\":null,\"tokens\":[{\"experts\":[1],\"weight\":[0.7310586],"
            "\"state\":[\"kept\"],\"pos\":[0]}]}\n"
            "{\"capacity\":null,\"tokens\":[{\"experts\":[2],\"weight\":[0.66524094],"
            "\"state\":[\"kept\"],\"pos\":[0]}]}\n");
  EXPECT_THAT(RouteText(R"({"num_experts":4,"top_k":1})", R"({"logits":[[0,1]]})"),
              HasSubstr("logits have 2 values per row; the gate has num_experts=4"));
}

TEST(Route, PositionsCutSequencesAndChunks) {
  // One place per expert and chunk of 4; all tokens want expert 0.
  const std::string gate =
      "top_k=1,capacity=fixed,capacity_fixed=1,group=sequence_chunk(4),priority=token_major";
  const auto states = [&](const std::vector<int>& positions) {
    Json line = {{"positions", positions}, {"logits", Json::array()}};
    for (size_t i = 0; i < positions.size(); ++i) line["logits"].push_back({1, 0});
    std::string letters;
    const Json out = RouteJson(gate, line);
    for (const Json& token : out["tokens"]) letters += token["state"][0].get<std::string>()[0];
    return letters;
  };
  EXPECT_EQ(states({0, 1, 2, 3, 4, 5, 6, 7, 8}),
            "kooo"
            "kooo"
            "k");
  EXPECT_EQ(states({2, 3, 4}), "kok");
  EXPECT_EQ(states({0, 2, 3, 5}), "kook");  // gaps within a chunk, then the next chunk
  EXPECT_EQ(states({0, 1, 0, 1}), "koko");  // a second sequence
  EXPECT_EQ(states({5, 5, 6}), "kko");
}

TEST(Route, EmptyInputs) {
  EXPECT_EQ(RouteText("mixtral", ""), "");
  EXPECT_EQ(RouteText("mixtral", "\n  \n"), "");
  EXPECT_EQ(RouteText("mixtral", R"({"logits":[]})"), "{\"capacity\":null,\"tokens\":[]}\n");
  EXPECT_EQ(RouteText("switch", R"({"logits":[]})"), "{\"capacity\":0,\"tokens\":[]}\n");
  EXPECT_THAT(RouteText("mixtral", R"({"logits":[[]]})"), HasSubstr("logits[0]"));
}

TEST(Route, BadLinesAreNamed) {
  const auto error = [](const std::string& line) { return RouteText("mixtral", line); };
  EXPECT_THAT(error("{\"logits\":[[1,2]"), HasSubstr("in.jsonl line 1: not valid JSON"));
  EXPECT_THAT(error("7"), HasSubstr("expected an object"));
  EXPECT_THAT(error("{}"), HasSubstr("'logits' is missing"));
  EXPECT_THAT(error(R"({"logits":3})"), HasSubstr("logits is number; expected a list of lists"));
  EXPECT_THAT(error(R"({"logits":[[1,2],[3]]})"), HasSubstr("logits[1] has 1 values"));
  EXPECT_THAT(error(R"({"logits":[[1,"x"]]})"), HasSubstr("logits[0][1] is string"));
  EXPECT_THAT(error(R"({"logits":[[1,null]]})"), HasSubstr("logits[0][1] is null"));
  EXPECT_THAT(error(R"({"logits":[[1,1e300]]})"), HasSubstr("logits[0][1]=1e+300"));
  EXPECT_THAT(error(R"({"logits":[[1,1e999]]})"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error(R"({"logits":[[1,NaN]]})"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error(R"({"logits":[[1]]})"), HasSubstr("top_k=2 must be between 1"));
  EXPECT_THAT(error(R"({"logit":[[1,2]]})"), HasSubstr("'logits' is missing"));
  const auto with = [&](const std::string& fields) {
    return error(R"({"logits":[[1,2],[3,4]],)" + fields + "}");
  };
  EXPECT_THAT(with(R"("uniform":[0,0])"), HasSubstr("did you mean 'uniforms'?"));
  EXPECT_THAT(with(R"("uniforms":[0])"), HasSubstr("uniforms has 1 entries"));
  EXPECT_THAT(with(R"("uniforms":[0,1])"), HasSubstr("uniforms[1]=1 must be between"));
  EXPECT_THAT(with(R"("uniforms":[[0,0],[0,0]])"), HasSubstr("top_k - 1 = 1"));
  EXPECT_THAT(with(R"("uniforms":[[0],0])"), HasSubstr("uniforms[1] must be a list"));
  EXPECT_THAT(with(R"("valid":[1,2])"), HasSubstr("valid[1]=2"));
  EXPECT_THAT(with(R"("valid":true)"), HasSubstr("valid is boolean"));
  EXPECT_THAT(with(R"("stream":-1)"), HasSubstr("stream=-1"));
  EXPECT_THAT(with(R"("stream":[1])"), HasSubstr("stream has 1 entries"));
  EXPECT_THAT(with(R"("layer":4096)"), HasSubstr("layer=4096 must be at most 4095"));
  EXPECT_THAT(with(R"("positions":[0,-1])"), HasSubstr("positions[1]=-1"));
  EXPECT_THAT(with(R"("positions":[0,4294967296])"), HasSubstr("positions[1]"));
  EXPECT_THAT(with(R"("token_ids":["a",1])"), HasSubstr("token_ids[0]"));
}

TEST(Route, StopsAtTheFirstBadLineAfterTheGoodOnes) {
  const std::string good = R"({"logits":[[1,0]]})";
  const std::string out = RouteText("top_k=1", good + "\n\n{bad\n" + good + "\n");
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
  EXPECT_THAT(out, HasSubstr("in.jsonl line 3: not valid JSON"));
}

TEST(Route, HugeLogitsDoNotOverflow) {
  const Json out = RouteJson("mixtral", {{"logits", {{3e38, -3e38, 3e38, 0}}}});
  EXPECT_EQ(out["tokens"][0]["experts"], Json({0, 2}));
  EXPECT_EQ(out["tokens"][0]["weight"], Json({0.5, 0.5}));
}

TEST(Route, TokenTables) {
  const Json out = RouteJson("top_k=1,selection=token_table,token_table=[[1],[0]]",
                             {{"logits", {{5, 0}, {5, 0}}}, {"token_ids", {0, 1}}});
  EXPECT_EQ(out["tokens"][0]["experts"], Json::array({1}));
  EXPECT_EQ(out["tokens"][1]["experts"], Json::array({0}));
}

}  // namespace
}  // namespace folkmoot
