// SPDX-License-Identifier: Apache-2.0
#include "parallel/fault_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/faulty_communicator.h"
#include "parallel/thread_communicator.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string ErrorOf(const char* plan) {
  const auto parsed = ParseFaultPlan(plan);
  EXPECT_FALSE(parsed.ok()) << plan;
  return parsed.ok() ? "" : std::string(Message(parsed.status()));
}

TEST(FaultPlan, PointsAndExchanges) {
  const auto plan = ParseFaultPlan(
      "kill:rank=2,step=40,layer=3;enospc:at=journal.write,nth=3,process=front-end;count");
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_THAT(*plan, SizeIs(3));
  EXPECT_FALSE((*plan)[0].at.has_value());
  EXPECT_EQ((*plan)[0].rank, 2);
  EXPECT_EQ((*plan)[1].at, FaultPoint::kJournalWrite);
  EXPECT_EQ((*plan)[1].nth, 3);
  EXPECT_EQ((*plan)[1].process, FaultProcess::kFrontEnd);
  EXPECT_TRUE(Counts(*plan));
}

TEST(FaultPlan, ErrorsSayWhatThereIs) {
  EXPECT_THAT(ErrorOf("burn"), HasSubstr("enospc, short-read, count"));
  EXPECT_THAT(ErrorOf("fail:at=journal.wrote"),
              HasSubstr("fault 1: there is no point 'journal.wrote'; there are kv.allocate, "));
  EXPECT_THAT(ErrorOf("fail:at=journal.wrote"), HasSubstr("journal.write"));
  EXPECT_THAT(ErrorOf("fail:nth=2"), HasSubstr("'fail' needs a point"));
  EXPECT_THAT(ErrorOf("kill:process=front-end,step=3"), HasSubstr("need a point"));
  EXPECT_THAT(ErrorOf("kill:nth=2"), HasSubstr("need a point"));
  EXPECT_THAT(ErrorOf("enospc:at=weights.map"), HasSubstr("cannot happen at weights.map"));
  EXPECT_THAT(ErrorOf("short-read:at=journal.write"), HasSubstr("cannot happen"));
  EXPECT_THAT(ErrorOf("corrupt:at=http.read"), HasSubstr("cannot happen"));
  EXPECT_THAT(ErrorOf("fail:at=http.read,step=3"), HasSubstr("step and layer"));
  EXPECT_THAT(ErrorOf("fail:at=http.read,process=moon"), HasSubstr("front-end"));
  EXPECT_THAT(ErrorOf("fail:at=http.read,process=front-end,rank=1"), HasSubstr("rank"));
  EXPECT_THAT(ErrorOf("kill:rank=x"), HasSubstr("'rank=x': expected NAME=NUMBER"));
  EXPECT_THAT(ErrorOf("kill:colour=3"), HasSubstr("'colour' is none of at, nth"));
}

TEST(FaultPlan, EveryProcessHasItsOwnFaults) {
  const auto plan = *ParseFaultPlan(
      "fail:at=channel.send,nth=7;fail:at=channel.send,process=front-end;"
      "fail:at=channel.send,rank=1,epoch=2;kill:rank=1;fail:at=kv.allocate,process=rank,epoch=0");
  const auto count = [&](FaultProcess process, int rank, int64_t epoch) {
    return PointFaultsOf(plan, {.process = process, .rank = rank, .epoch = epoch}).size();
  };
  EXPECT_EQ(count(FaultProcess::kSupervisor, 0, 1), 1u);
  EXPECT_EQ(count(FaultProcess::kFrontEnd, 0, 1), 2u);
  EXPECT_EQ(count(FaultProcess::kFrontEnd, 0, 2), 0u);
  EXPECT_EQ(count(FaultProcess::kRank, 0, 1), 2u);
  EXPECT_EQ(count(FaultProcess::kRank, 1, 2), 2u);
  EXPECT_EQ(count(FaultProcess::kRank, 0, 2), 1u);
  const auto at_exchanges = [&](int rank, int64_t epoch) {
    return std::count_if(plan.begin(), plan.end(),
                         [&](const Fault& f) { return IsAtExchangesOf(f, rank, epoch); });
  };
  EXPECT_EQ(at_exchanges(1, 1), 1);
  EXPECT_EQ(at_exchanges(1, 2), 0);
  EXPECT_EQ(at_exchanges(0, 1), 0);
}

TEST(FaultPlan, ExchangesArePoints) {
  auto ranks = MakeThreadCommunicators(1);
  const auto plan =
      *ParseFaultPlan("fail:at=exchange.start,nth=2;fail:at=exchange.wait,nth=2;count");
  PlanPointFaults(PointFaultsOf(plan, {}));
  const int64_t epoch = 1;
  const auto world = AddFaults(std::move(ranks[0]), plan, &epoch);
  const ConstBytes nothing;
  const MutableBytes nowhere;
  const WaitLabel label = {.phase = "test"};
  std::vector<bool> well;
  for (int i = 0; i < 4; ++i) {
    const auto exchange = world->Start({&nothing, 1}, {&nowhere, 1}, label);
    well.push_back(exchange.ok() && world->Wait(*exchange).ok());
  }
  EXPECT_EQ(well, (std::vector<bool>{true, false, false, true}));
  PlanPointFaults({});
}

}  // namespace
}  // namespace folkmoot
