// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/moe_status.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/launch/metrics/recorded_exchange.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

struct Frame {
  std::string event;
  json data;
};

std::vector<Frame> ReadFrames(const std::string& text) {
  std::vector<Frame> frames;
  size_t from = 0;
  for (size_t to; (to = text.find("\n\n", from)) != std::string::npos; from = to + 2) {
    const std::string frame = text.substr(from, to - from);
    const size_t line = frame.find('\n');
    EXPECT_EQ(frame.substr(0, 7), "event: ");
    EXPECT_EQ(frame.substr(line, 7), "\ndata: ");
    frames.push_back({frame.substr(7, line - 7), json::parse(frame.substr(line + 7))});
  }
  EXPECT_EQ(from, text.size()) << "half a frame";
  return frames;
}

class MoeStatusTest : public ::testing::Test {
 protected:
  MoeStatusTest() {
    snapshot_.total_blocks = 10;
    experts_.tokens = {1, 2, 3, 4};
    experts_.overflow = {0, 0, 0, 0};
    drops_ = {{.rejected = 1, .overflow = 2}, {}};
  }

  MoeStatusOptions Options() {
    MoeStatusOptions options;
    options.model_name = "bad \xff name";
    options.layout = {.layers = {1, 3},
                      .experts = 2,
                      .top_k = 1,
                      .ranks = 2,
                      .rank_of_expert = {1, 0},
                      .placement = "file.json"};
    options.snapshot = [this] { return snapshot_; };
    options.experts = [this] { return experts_; };
    options.drops = [this] { return drops_; };
    options.max_listeners = 2;
    options.interval = milliseconds(5);
    return options;
  }
  std::shared_ptr<RecordedExchange> Call(MoeStatus& status, size_t route) {
    auto exchange = std::make_shared<RecordedExchange>();
    status.Routes()[route].handler(exchange);
    return exchange;
  }
  void RunFor(int ms) {
    const auto end = loop_.After(milliseconds(ms), [this] { loop_.Stop(); });
    loop_.Run();
  }

  IoLoop loop_;
  EngineSnapshot snapshot_;
  ExpertCounts experts_;
  std::vector<LayerDrops> drops_;
};

TEST_F(MoeStatusTest, ExpertsAreDescribedLayerByLayer) {
  MoeStatus status(loop_, Options());
  experts_.overflow = {0, 9, 0, 0};
  const auto exchange = Call(status, 0);
  ASSERT_TRUE(exchange->response.has_value());
  const json body = json::parse(exchange->response->body);
  EXPECT_EQ(body["layers"], json({1, 3}));
  EXPECT_EQ(body["rank_of_expert"], json({1, 0}));
  EXPECT_EQ(body["placement"], "file.json");
  ASSERT_EQ(body["load"].size(), 2);
  EXPECT_EQ(body["load"][0]["layer"], 1);
  EXPECT_EQ(body["load"][0]["tokens"], json({1, 2}));
  EXPECT_EQ(body["load"][0]["overflow"], json({0, 9}));
  EXPECT_EQ(body["load"][0]["dropped"]["rejected"], 1);
  EXPECT_EQ(body["load"][1]["tokens"], json({3, 4}));
  EXPECT_EQ(body["load"][1]["recent_tokens"], json({3, 4}));
  EXPECT_EQ(body["load"][1]["balancedness"], 3.5 / 4);
}

TEST_F(MoeStatusTest, AListenerHearsWhatChanges) {
  MoeStatus status(loop_, Options());
  const auto listener = Call(status, 1);
  EXPECT_EQ(listener->stream_type, "text/event-stream");
  experts_.tokens = {1, 2, 3, 104};
  experts_.overflow = {0, 0, 7, 0};
  snapshot_.stats.tokens = 100;
  snapshot_.used_blocks = 5;
  drops_[1].rejected = 3;
  RunFor(60);
  const std::vector<Frame> frames = ReadFrames(listener->written);
  ASSERT_GE(frames.size(), 3);
  EXPECT_EQ(frames[0].event, "layout");
  EXPECT_EQ(frames[0].data["experts"], 2);
  EXPECT_EQ(frames[1].event, "load");
  EXPECT_EQ(frames[1].data["tokens"], json({{0, 0}, {0, 100}}));
  EXPECT_EQ(frames[1].data["overflow"], json({{0, 0}, {7, 0}}));
  EXPECT_EQ(frames[1].data["rejected"], json({0, 3}));
  EXPECT_EQ(frames[1].data["kv_usage"], 0.5);
  EXPECT_GT(frames[1].data["tokens_per_second"], 0);
  EXPECT_EQ(frames[2].data["tokens"], json({{0, 0}, {0, 0}}));
  EXPECT_TRUE(frames[2].data["overflow"].is_null());
}

TEST_F(MoeStatusTest, ListenersAreBounded) {
  MoeStatus status(loop_, Options());
  const auto first = Call(status, 1);
  const auto second = Call(status, 1);
  const auto third = Call(status, 1);
  ASSERT_TRUE(third->response.has_value());
  EXPECT_EQ(third->response->status, 503);
  first->gone();
  EXPECT_FALSE(Call(status, 1)->response.has_value());
  status.Close();
  EXPECT_FALSE(first->ended);  // it is gone: nobody speaks to it any more
  EXPECT_TRUE(second->ended);
  EXPECT_EQ(Call(status, 1)->response->status, 503);
}

TEST_F(MoeStatusTest, ASlowListenerMissesFrames) {
  MoeStatus status(loop_, Options());
  const auto slow = Call(status, 1);
  const auto quick = Call(status, 1);
  slow->unsent_bytes = size_t{2} << 20;
  RunFor(40);
  EXPECT_EQ(ReadFrames(slow->written).size(), 1);
  EXPECT_GT(ReadFrames(quick->written).size(), 2);
}

TEST_F(MoeStatusTest, TheEndOfAListenerAfterOurs) {
  const auto exchange = [this] {
    MoeStatus status(loop_, Options());
    return Call(status, 1);
  }();
  exchange->gone();  // must not touch what is gone
}

}  // namespace
}  // namespace folkmoot
