// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/blas_api.h"

namespace folkmoot::cuda {
std::string BlasVersionText(int64_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

absl::StatusOr<BlasApi> ResolveBlas(const std::string& path, const SymbolSource& symbol) {
  BlasApi api;
  api.path = path;
  SymbolTable symbols(symbol);
  symbols.Required("cublasLtGetVersion", api.get_version);
  if (api.get_version == nullptr) {
    return FailedPrecondition("{} is not cuBLASLt: no cublasLtGetVersion", path);
  }
  api.version = static_cast<int64_t>(api.get_version());
  if (api.version < kBlasOldestVersion) {
    return FailedPrecondition("{} is cuBLASLt {}, which is too old; install {} or newer", path,
                              BlasVersionText(api.version), BlasVersionText(kBlasOldestVersion));
  }
  symbols.Required("cublasLtGetStatusName", api.get_status_name);
  symbols.Required("cublasLtCreate", api.create);
  symbols.Required("cublasLtDestroy", api.destroy);
  symbols.Required("cublasLtMatrixLayoutCreate", api.layout_create);
  symbols.Required("cublasLtMatrixLayoutDestroy", api.layout_destroy);
  symbols.Required("cublasLtMatmulDescCreate", api.desc_create);
  symbols.Required("cublasLtMatmulDescDestroy", api.desc_destroy);
  symbols.Required("cublasLtMatmulDescSetAttribute", api.desc_set);
  symbols.Required("cublasLtMatmulPreferenceCreate", api.preference_create);
  symbols.Required("cublasLtMatmulPreferenceDestroy", api.preference_destroy);
  symbols.Required("cublasLtMatmulPreferenceSetAttribute", api.preference_set);
  symbols.Required("cublasLtMatmulAlgoGetHeuristic", api.get_heuristic);
  symbols.Required("cublasLtMatmul", api.product);
  if (!symbols.missing().empty()) {
    return FailedPrecondition("{} (cuBLASLt {}) lacks {}; install {} or newer", path,
                              BlasVersionText(api.version), symbols.missing(),
                              BlasVersionText(kBlasOldestVersion));
  }
  return api;
}

}  // namespace folkmoot::cuda
