// SPDX-License-Identifier: Apache-2.0
// A cuBLASLt of our own for tests over the simulator, whose device memory is the host's: the
// functions of BlasApi, written after the documentation, with loops in place of kernels. It checks
// what it is given and counts what is made and destroyed.
#pragma once

#include <string>

namespace folkmoot::cuda {

struct FakeBlasState {
  int alive = 0;  // handles, descriptors, layouts and preferences
  int heuristics = 0;
  int products = 0;
  bool no_algorithm = false;
  bool fail_product = false;
  int64_t workspace_bytes = -1;  // of the last heuristic
};
FakeBlasState& FakeBlas();

// As dlsym: null for what it does not have.
void* FakeBlasSymbol(const char* name);

}  // namespace folkmoot::cuda
