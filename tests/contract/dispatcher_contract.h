// SPDX-License-Identifier: Apache-2.0
// What every Dispatcher promises: the bits of the dense oracle, for every number of ranks, every
// placement and every split of the tokens. Instantiated once per transport.
#pragma once

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "parallel/dispatcher.h"
#include "tests/support/per_rank_sum_dispatcher.h"
#include "tests/support/rank_world.h"
#include "tests/support/routing_case.h"

namespace folkmoot {

class DispatcherContract : public testing::TestWithParam<RankWorld> {
 protected:
  int ranks() const { return GetParam().size; }
  void Run(const RankBody& body) const { GetParam().run(body); }

  std::vector<DispatcherKind> Kinds() const {
    std::vector<DispatcherKind> kinds = {DispatcherKind::kAllToAll, DispatcherKind::kAllGather,
                                         DispatcherKind::kAuto};
    if (ranks() == 1) kinds.push_back(DispatcherKind::kLocal);
    return kinds;
  }
  std::vector<ExpertPlacement> Placements(int experts) const {
    std::vector<int> uneven;  // the last rank holds most, rank 1 none
    for (int e = 0; e < experts; ++e) uneven.push_back(e == 2 ? 0 : ranks() - 1);
    return {ExpertPlacement::Contiguous(experts, ranks()),
            ExpertPlacement::RoundRobin(experts, ranks()),
            ExpertPlacement::Explicit(uneven, ranks()).value()};
  }
};

// One flight of this rank's tokens, stage by stage.
class TestFlight {
 public:
  TestFlight(const RoutingCase& test, const ExpertPlacement& placement, const Communicator& comm)
      : test_(test),
        placement_(placement),
        rank_(comm.rank()),
        first_(test.FirstToken(comm.rank(), comm.size())),
        count_(test.FirstToken(comm.rank() + 1, comm.size()) - first_),
        tokens_(test, first_, count_),
        out_(static_cast<size_t>(count_ * test.hidden), -77.0f) {}

  absl::Status Start(Dispatcher& dispatcher, DispatchHandle& handle, const WaitLabel& label) {
    return dispatcher.StartDispatch(tokens_.x(), tokens_.routing, label, handle);
  }
  absl::Status Compute(Dispatcher& dispatcher, DispatchHandle& handle) {
    FM_ASSIGN_OR_RETURN(const ExpertBatch batch, dispatcher.FinishDispatch(handle));
    const ExpectedBatch expected = DenseBatch(test_, placement_, rank_);
    const std::span<const float> rows(batch.rows.data,
                                      static_cast<size_t>(batch.rows.rows * batch.rows.cols));
    EXPECT_TRUE(SameBits(rows, expected.rows)) << test_.Name();
    EXPECT_EQ(std::vector<int64_t>(batch.offsets.begin(), batch.offsets.end()), expected.offsets);
    expert_out_.assign(rows.begin(), rows.end());
    for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
      const float factor = ExpertFactor(placement_.experts_of(rank_)[s]);
      for (int64_t i = batch.offsets[s] * test_.hidden; i < batch.offsets[s + 1] * test_.hidden;
           ++i) {
        expert_out_[static_cast<size_t>(i)] *= factor;
      }
    }
    return dispatcher.StartCombine({expert_out_.data(), batch.rows.rows, test_.hidden}, handle);
  }
  absl::Status Finish(Dispatcher& dispatcher, DispatchHandle& handle) {
    return dispatcher.FinishCombine(handle, {out_.data(), count_, test_.hidden});
  }
  absl::Status RunAll(Dispatcher& dispatcher, DispatchHandle& handle) {
    FM_RETURN_IF_ERROR(Start(dispatcher, handle, {.phase = "dispatch", .layer = 3, .step = 41}));
    FM_RETURN_IF_ERROR(Compute(dispatcher, handle));
    return Finish(dispatcher, handle);
  }
  bool MatchesOracle() const { return SameBits(out_, DenseSum(test_, first_, count_)); }

 private:
  const RoutingCase test_;
  const ExpertPlacement& placement_;
  const int rank_;
  const int64_t first_;
  const int64_t count_;
  const TestTokens tokens_;
  std::vector<float> expert_out_;
  std::vector<float> out_;
};

TEST_P(DispatcherContract, GivesTheBitsOfTheOracle) {
  Run([&](Communicator& comm) {
    for (const int experts : {7, 2}) {
      for (const ExpertPlacement& placement : Placements(experts)) {
        for (const DispatcherKind kind : Kinds()) {
          const auto dispatcher = MakeDispatcher(kind, comm, placement).value();
          const auto handle = dispatcher->MakeHandle();  // one for all sizes
          for (const RoutingCase& test : AllCases()) {
            if (test.experts != experts) continue;
            TestFlight flight(test, placement, comm);
            const absl::Status status = flight.RunAll(*dispatcher, *handle);
            ASSERT_TRUE(status.ok()) << status << " in " << test.Name();
            ASSERT_TRUE(flight.MatchesOracle()) << test.Name();
          }
        }
      }
    }
  });
}

TEST_P(DispatcherContract, SeveralFlightsAtOnce) {
  Run([&](Communicator& comm) {
    for (const DispatcherKind kind : Kinds()) {
      const ExpertPlacement placement = ExpertPlacement::RoundRobin(7, comm.size());
      const auto dispatcher = MakeDispatcher(kind, comm, placement).value();
      RoutingCase first_case;
      RoutingCase second_case;
      second_case.seed = 99;
      second_case.tokens = 29;
      second_case.top_k = 4;
      TestFlight first(first_case, placement, comm);
      TestFlight second(second_case, placement, comm);
      const auto first_handle = dispatcher->MakeHandle();
      const auto second_handle = dispatcher->MakeHandle();
      ASSERT_TRUE(first.Start(*dispatcher, *first_handle, {.phase = "dispatch"}).ok());
      ASSERT_TRUE(second.Start(*dispatcher, *second_handle, {.phase = "dispatch"}).ok());
      ASSERT_TRUE(first.Compute(*dispatcher, *first_handle).ok());
      ASSERT_TRUE(second.Compute(*dispatcher, *second_handle).ok());
      ASSERT_TRUE(second.Finish(*dispatcher, *second_handle).ok());
      ASSERT_TRUE(first.Finish(*dispatcher, *first_handle).ok());
      EXPECT_TRUE(first.MatchesOracle());
      EXPECT_TRUE(second.MatchesOracle());
    }
  });
}

// The negative control: if adding per rank gave the oracle's bits too, the tests above would prove
// nothing about order.
TEST_P(DispatcherContract, NoticesAnOrderDependentCombine) {
  Run([&](Communicator& comm) {
    const ExpertPlacement placement = ExpertPlacement::RoundRobin(7, comm.size());
    PerRankSumDispatcher dispatcher(
        MakeDispatcher(DispatcherKind::kAllToAll, comm, placement).value(), comm.rank(), placement);
    RoutingCase test;
    test.tokens = 64 * comm.size();
    test.hidden = 16;
    test.top_k = 4;
    test.pattern = ChoicePattern::kAllKept;
    const auto handle = dispatcher.MakeHandle();
    const int64_t first = test.FirstToken(comm.rank(), comm.size());
    const int64_t count = test.FirstToken(comm.rank() + 1, comm.size()) - first;
    const TestTokens tokens(test, first, count);
    ASSERT_TRUE(dispatcher.StartDispatch(tokens.x(), tokens.routing, {.phase = "x"}, *handle).ok());
    const ExpertBatch batch = dispatcher.FinishDispatch(*handle).value();
    std::vector<float> expert_out(static_cast<size_t>(batch.rows.rows * test.hidden));
    for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
      const float factor = ExpertFactor(placement.experts_of(comm.rank())[s]);
      for (int64_t i = batch.offsets[s] * test.hidden; i < batch.offsets[s + 1] * test.hidden;
           ++i) {
        expert_out[static_cast<size_t>(i)] = factor * batch.rows.data[i];
      }
    }
    ASSERT_TRUE(
        dispatcher.StartCombine({expert_out.data(), batch.rows.rows, test.hidden}, *handle).ok());
    std::vector<float> out(static_cast<size_t>(count * test.hidden));
    ASSERT_TRUE(dispatcher.FinishCombine(*handle, {out.data(), count, test.hidden}).ok());
    EXPECT_EQ(SameBits(out, DenseSum(test, first, count)), comm.size() == 1);
  });
}

TEST_P(DispatcherContract, RanksAtDifferentStepsFindOut) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  for (const DispatcherKind kind : {DispatcherKind::kAllToAll, DispatcherKind::kAllGather}) {
    Run([&](Communicator& comm) {
      comm.set_timeout(std::chrono::seconds(60));
      const ExpertPlacement placement = ExpertPlacement::RoundRobin(7, comm.size());
      const auto dispatcher = MakeDispatcher(kind, comm, placement).value();
      const auto handle = dispatcher->MakeHandle();
      TestFlight flight({}, placement, comm);
      const int layer = comm.rank() == 0 ? 4 : 3;
      const absl::Status status =
          flight.Start(*dispatcher, *handle, {.phase = "dispatch", .layer = layer, .step = 41});
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(Message(status)),
                  testing::HasSubstr(
                      comm.rank() == 0 ? "rank 1 is at layer 3 of step 41, this rank at layer 4"
                                       : "rank 0 is at layer 4 of step 41, this rank at layer 3"));
    });
  }
}

TEST_P(DispatcherContract, RanksWithDifferentPlacementsFindOut) {
  if (ranks() == 1) GTEST_SKIP() << "needs a peer";
  Run([&](Communicator& comm) {
    comm.set_timeout(std::chrono::seconds(60));
    const ExpertPlacement placement = comm.rank() == 0
                                          ? ExpertPlacement::RoundRobin(15, comm.size())
                                          : ExpertPlacement::Contiguous(15, comm.size());
    const auto dispatcher = MakeDispatcher(DispatcherKind::kAuto, comm, placement).value();
    const auto handle = dispatcher->MakeHandle();
    TestFlight flight({}, placement, comm);
    const absl::Status status = flight.Start(*dispatcher, *handle, {.phase = "dispatch"});
    EXPECT_THAT(std::string(Message(status)), testing::HasSubstr("uses another expert placement"));
  });
}

TEST_P(DispatcherContract, RefusesWhatDoesNotFit) {
  Run([&](Communicator& comm) {
    const ExpertPlacement other = ExpertPlacement::Contiguous(4, comm.size() + 1);
    EXPECT_EQ(MakeDispatcher(DispatcherKind::kAuto, comm, other).status().code(),
              absl::StatusCode::kInvalidArgument);
    if (comm.size() == 1) return;
    const ExpertPlacement placement = ExpertPlacement::Contiguous(4, comm.size());
    EXPECT_EQ(MakeDispatcher(DispatcherKind::kLocal, comm, placement).status().code(),
              absl::StatusCode::kInvalidArgument);
  });
}

}  // namespace folkmoot
