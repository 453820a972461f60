// SPDX-License-Identifier: Apache-2.0
// cuBLASLt where it is installed: dense products of many rows.
//
// Threads: one thread per rank uses a library object; each rank has its own. The matrices of a
// product must lie on the device that was current at the first product.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cuda/blas_api.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"
#include "runtime/shared_library.h"

namespace folkmoot::cuda {

// The versions that BlasApi describes, the newest first.
inline const std::vector<std::string> kBlasFiles = {"libcublasLt.so.13", "libcublasLt.so.12"};

class BlasLibrary {
 public:
  // The first of `files` that is found. NotFound and FailedPrecondition name the library or the
  // symbols that are missing and where they were looked for. Needs no GPU.
  static absl::StatusOr<std::unique_ptr<BlasLibrary>> Load(
      const LibrarySearch& search, const std::vector<std::string>& files = kBlasFiles);
  explicit BlasLibrary(BlasApi api);
  ~BlasLibrary();
  BlasLibrary(const BlasLibrary&) = delete;
  BlasLibrary& operator=(const BlasLibrary&) = delete;

  const std::string& path() const { return api_.path; }
  std::string version() const { return BlasVersionText(api_.version); }

  // Starts out [M, N] = x [M, K] * w [N, K]^T; x and w of one type, out of that type or kF32, sums
  // in float32. The algorithm of a shape is chosen once. Unimplemented when cuBLASLt has none for
  // it; other errors name the function that failed.
  absl::Status Product(Stream& stream, const MatrixRef& x, const MatrixRef& w, const MatrixRef& out,
                       const MatrixRef& workspace) const;

 private:
  struct Shape;
  struct Plan;
  absl::Status Check(BlasStatus status, const char* function) const;
  absl::Status MakePlan(const Shape& shape, Plan& plan) const;
  absl::Status ChooseAlgorithm(const Shape& shape, Plan& plan) const;
  void Release(Plan& plan) const;

  BlasApi api_;
  mutable BlasHandle handle_ = nullptr;
  mutable std::vector<std::unique_ptr<Plan>> plans_;  // the oldest first
};

}  // namespace folkmoot::cuda
