// SPDX-License-Identifier: Apache-2.0
// The front end's side of a life and its end, against a rank 0 that the test plays.
#include "launch/supervisor/remote_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <thread>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr milliseconds kLong{10'000};

EngineHello Hello(int64_t epoch) {
  return {.epoch = epoch,
          .fields = {{"version", "1"}},
          .ranks = 2,
          .context = 64,
          .blocks_per_rank = 8,
          .since = {epoch, epoch}};
}

class RemoteExecutorTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "/folkmoot-remote-executor";
    std::filesystem::remove(path_);
    absl::StatusOr<FileDescriptor> listening = ListenAt(path_);
    ASSERT_TRUE(listening.ok()) << listening.status();
    executor_.emplace(*std::move(listening), AgreementFields{{"version", "1"}});
  }

  // A rank 0 that comes, says hello, and answers `replies` plans before it is gone.
  std::thread Rank0(const EngineHello& hello, int replies, int64_t* first_step = nullptr) {
    return std::thread([this, hello, replies, first_step] {
      FrameChannel channel(*ConnectTo(path_), kPlanFrameBytes);
      if (!channel.Send(Encode(hello), kLong).ok()) return;
      const auto answer = channel.Receive(kLong);
      if (!answer.ok()) return;
      EngineWelcome welcome;
      EXPECT_TRUE(Decode(*answer, &welcome).ok());
      if (first_step != nullptr) *first_step = welcome.first_step;
      for (int i = 0; i < replies && channel.Receive(kLong).ok(); ++i) {
        StepReply reply;
        reply.results.resize(2);
        EXPECT_TRUE(channel.Send(Encode(reply), kLong).ok());
      }
      if (replies == 0) (void)channel.Receive(kLong);  // dies with a plan in its hands
    });
  }

  static PlannedStep Step() {
    PlannedStep step;
    step.plan.ranks.resize(2);
    step.frame = "a plan";
    return step;
  }

  std::string path_;
  std::optional<RemoteExecutor> executor_;
};

TEST_F(RemoteExecutorTest, PlansAreAnsweredUntilTheRanksAreGone) {
  EXPECT_EQ(executor_->Renew(0, milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  std::thread rank0 = Rank0(Hello(1), 1);
  ASSERT_TRUE(executor_->Renew(0, kLong).ok());
  EXPECT_EQ(executor_->hello().ranks, 2);
  PlannedStep step = Step();
  StepSeconds seconds;
  const auto results = executor_->Run(step, &seconds);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), 2u);
  rank0.join();
  EXPECT_TRUE(executor_->lost());
  EXPECT_EQ(executor_->Run(step, &seconds).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(RemoteExecutorTest, TheNextLifeBeginsWithTheNextStep) {
  std::thread first = Rank0(Hello(1), 0);
  ASSERT_TRUE(executor_->Renew(0, kLong).ok());
  PlannedStep step = Step();
  StepSeconds seconds;
  EXPECT_FALSE(executor_->Run(step, &seconds).ok());
  first.join();
  EXPECT_EQ(executor_->Renew(41, milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  int64_t first_step = -1;
  std::thread second = Rank0(Hello(2), 1, &first_step);
  ASSERT_TRUE(executor_->Renew(41, kLong).ok());
  EXPECT_EQ(executor_->epoch(), 2);
  EXPECT_TRUE(executor_->Run(step, &seconds).ok());
  second.join();
  EXPECT_EQ(first_step, 41);
}

// Whether the plan has come into the hands of rank 0 tells whether its requests can be at fault.
TEST_F(RemoteExecutorTest, APlanThatRank0HasNotReadIsNotBegun) {
  StepSeconds seconds;
  PlannedStep step = Step();
  int64_t epoch = 0;
  for (const size_t bytes : {size_t{10}, size_t{1} << 24}) {
    step.frame.assign(bytes, 'p');
    std::thread reads = Rank0(Hello(++epoch), 0);
    ASSERT_TRUE(executor_->Renew(0, kLong).ok());
    EXPECT_FALSE(executor_->Run(step, &seconds).ok());
    EXPECT_TRUE(executor_->begun());
    reads.join();
    std::thread reads_not([this, hello = Hello(++epoch)] {
      FrameChannel channel(*ConnectTo(path_), kPlanFrameBytes);
      EXPECT_TRUE(channel.Send(Encode(hello), kLong).ok());
      EXPECT_TRUE(channel.Receive(kLong).ok());
      pollfd plan = {.fd = channel.fd(), .events = POLLIN, .revents = 0};
      EXPECT_EQ(poll(&plan, 1, static_cast<int>(kLong.count())), 1);
    });
    ASSERT_TRUE(executor_->Renew(0, kLong).ok());
    EXPECT_FALSE(executor_->Run(step, &seconds).ok());
    EXPECT_FALSE(executor_->begun());
    reads_not.join();
  }
  std::thread answers = Rank0(Hello(++epoch), 1);
  ASSERT_TRUE(executor_->Renew(0, kLong).ok());
  EXPECT_TRUE(executor_->Run(step, &seconds).ok());
  answers.join();
  EXPECT_FALSE(executor_->Run(step, &seconds).ok()) << "it is gone";
  EXPECT_FALSE(executor_->begun());
}

// Who has been there since the last life that was met here has its pages still.
TEST_F(RemoteExecutorTest, RanksThatAreNewHaveNoPages) {
  const auto meet = [this](EngineHello hello, std::vector<int64_t> since) {
    hello.since = std::move(since);
    std::thread rank0 = Rank0(hello, 1);
    const absl::StatusOr<std::vector<int>> empty = executor_->Renew(0, kLong);
    PlannedStep step = Step();
    StepSeconds seconds;
    EXPECT_TRUE(executor_->Run(step, &seconds).ok());
    rank0.join();
    EXPECT_TRUE(empty.ok()) << empty.status();
    return empty.value_or(std::vector<int>{-1});
  };
  EXPECT_THAT(meet(Hello(1), {1, 1}), testing::ElementsAre(0, 1));
  EXPECT_THAT(meet(Hello(2), {1, 2}), testing::ElementsAre(1));
  // Life 3, in which rank 0 was replaced, was never met.
  EXPECT_THAT(meet(Hello(4), {3, 2}), testing::ElementsAre(0));
  EXPECT_THAT(meet(Hello(5), {5, 5}), testing::ElementsAre(0, 1));
  EngineHello tensor = Hello(6);
  tensor.tensor_parallel = true;
  std::thread rank0 = Rank0(tensor, 0);
  EXPECT_FALSE(executor_->Renew(0, kLong).ok()) << "another kind of engine";
  executor_.reset();
  rank0.join();
}

TEST_F(RemoteExecutorTest, AnEngineOfOtherFilesIsRefusedByTheFieldsName) {
  EngineHello hello = Hello(1);
  hello.fields = {{"version", "2"}};
  std::thread rank0 = Rank0(hello, 1);
  const absl::Status status = executor_->Renew(0, kLong).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("differs from the front end in version"));
  executor_.reset();
  rank0.join();
}

TEST_F(RemoteExecutorTest, ALifeThatIsOverCannotComeBack) {
  std::thread second = Rank0(Hello(2), 0);
  ASSERT_TRUE(executor_->Renew(0, kLong).ok());
  std::thread first = Rank0(Hello(1), 1);
  const absl::Status status = executor_->Renew(0, kLong).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("life 1 came after one of life 2"));
  executor_.reset();
  first.join();
  second.join();
}

TEST_F(RemoteExecutorTest, GarbageIsAnError) {
  std::thread rank0([this] {
    FrameChannel channel(*ConnectTo(path_), kPlanFrameBytes);
    (void)channel.Send("\xff\xff\xff", kLong);
    (void)channel.Receive(kLong);
  });
  EXPECT_EQ(executor_->Renew(0, kLong).status().code(), absl::StatusCode::kDataLoss);
  executor_.reset();
  rank0.join();
}

}  // namespace
}  // namespace folkmoot
