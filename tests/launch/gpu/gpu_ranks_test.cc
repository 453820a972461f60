// SPDX-License-Identifier: Apache-2.0
// Several ranks with a GPU each, over an NCCL of our own (tests/support/fake_nccl.h), which only
// the simulator's streams know.
#include "tests/launch/gpu/gpu_engine_testing.h"
#include "tests/support/fake_nccl.h"

namespace folkmoot {
namespace {

TEST_F(GpuEngine, RanksAgreeBitForBit) {
  for (const char* name : {"mixtral-packed", "qwen2_moe-sparse-step"}) {
    Use(Golden(name));
    setup_.options.batch_invariant = true;
    const std::vector<Request> requests = SomeRequests(5);
    const std::vector<RunOutcome> one = Run(setup_, requests);
    for (const int ranks : {2, 3}) {
      FakeNccl nccl;
      const NcclApi api = nccl.Api();
      RunSetup several = setup_;
      several.ranks = ranks;
      several.options.nccl = &api;
      SCOPED_TRACE(fmt::format("{} with {} ranks", name, ranks));
      ExpectSame(one, Run(several, requests));
      EXPECT_EQ(nccl.Complaint(), "");
    }
  }
}

TEST_F(GpuEngine, RanksWithGatesOfRequests) {
  Use(Golden("mixtral-classic"));
  std::vector<Request> requests = SomeRequests(5);
  requests[1].gate = "top_k=1";
  requests[2].gate = "top_k=4,normalize=before_drop";
  FakeNccl nccl;
  const NcclApi api = nccl.Api();
  setup_.ranks = 3;
  setup_.options.nccl = &api;
  ExpectLikeCpu(requests);
  EXPECT_EQ(nccl.Complaint(), "");
}

}  // namespace
}  // namespace folkmoot
