// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/blas_api.h"

namespace folkmoot::cuda {
namespace {

// Fills functions of the table and remembers what was missing.
class BlasSymbols {
 public:
  explicit BlasSymbols(const std::function<void*(const char*)>& symbol) : symbol_(symbol) {}

  template <typename Result, typename... Args>
  void Require(const char* name, Result (*&function)(Args...)) {
    function = reinterpret_cast<Result (*)(Args...)>(symbol_(name));
    if (function == nullptr) missing_ += (missing_.empty() ? "" : ", ") + std::string(name);
  }
  const std::string& missing() const { return missing_; }

 private:
  const std::function<void*(const char*)>& symbol_;
  std::string missing_;
};

}  // namespace

std::string BlasVersionText(int64_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

absl::StatusOr<BlasApi> ResolveBlas(const std::string& path,
                                    const std::function<void*(const char*)>& symbol) {
  BlasApi api;
  api.path = path;
  BlasSymbols symbols(symbol);
  symbols.Require("cublasLtGetVersion", api.get_version);
  if (api.get_version == nullptr) {
    return FailedPrecondition("{} is not cuBLASLt: no cublasLtGetVersion", path);
  }
  api.version = static_cast<int64_t>(api.get_version());
  if (api.version < kBlasOldestVersion) {
    return FailedPrecondition("{} is cuBLASLt {}, which is too old; install {} or newer", path,
                              BlasVersionText(api.version), BlasVersionText(kBlasOldestVersion));
  }
  symbols.Require("cublasLtGetStatusName", api.get_status_name);
  symbols.Require("cublasLtCreate", api.create);
  symbols.Require("cublasLtDestroy", api.destroy);
  symbols.Require("cublasLtMatrixLayoutCreate", api.layout_create);
  symbols.Require("cublasLtMatrixLayoutDestroy", api.layout_destroy);
  symbols.Require("cublasLtMatmulDescCreate", api.desc_create);
  symbols.Require("cublasLtMatmulDescDestroy", api.desc_destroy);
  symbols.Require("cublasLtMatmulDescSetAttribute", api.desc_set);
  symbols.Require("cublasLtMatmulPreferenceCreate", api.preference_create);
  symbols.Require("cublasLtMatmulPreferenceDestroy", api.preference_destroy);
  symbols.Require("cublasLtMatmulPreferenceSetAttribute", api.preference_set);
  symbols.Require("cublasLtMatmulAlgoGetHeuristic", api.get_heuristic);
  symbols.Require("cublasLtMatmul", api.product);
  if (!symbols.missing().empty()) {
    return FailedPrecondition("{} (cuBLASLt {}) lacks {}; install {} or newer", path,
                              BlasVersionText(api.version), symbols.missing(),
                              BlasVersionText(kBlasOldestVersion));
  }
  return api;
}

}  // namespace folkmoot::cuda
