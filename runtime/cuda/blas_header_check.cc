// SPDX-License-Identifier: Apache-2.0
// Where NVIDIA's header is there, it must agree with blas_api.h.
#include "runtime/cuda/blas_api.h"

#if !defined(FOLKMOOT_CUDA_SIM) && __has_include(<cublasLt.h>)
#include <cublasLt.h>

#include <type_traits>

namespace folkmoot::cuda {
namespace {

static_assert(int{kBlasSuccess} == CUBLAS_STATUS_SUCCESS);
static_assert(int{kBlasNotSupported} == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(int{kBlasF32} == CUDA_R_32F && int{kBlasF16} == CUDA_R_16F);
static_assert(int{kBlasBF16} == CUDA_R_16BF && int{kBlasComputeF32} == CUBLAS_COMPUTE_32F);
static_assert(int{kBlasAsIs} == CUBLAS_OP_N && int{kBlasTransposed} == CUBLAS_OP_T);
static_assert(sizeof(BlasOperation) == sizeof(cublasOperation_t));
static_assert(int{kBlasTransposeA} == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int{kBlasTransposeB} == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(int{kBlasWorkspaceBytes} == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int{kBlasAlignmentA} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int{kBlasAlignmentB} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int{kBlasAlignmentC} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int{kBlasAlignmentD} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(sizeof(BlasAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(BlasHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(BlasHeuristic, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(BlasHeuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

// Calls our way must be calls its way: opaque pointers and enumerations pass as void* and int.
static_assert(std::is_invocable_v<decltype(cublasLtMatmul), cublasLtHandle_t, cublasLtMatmulDesc_t,
                                  const void*, const void*, cublasLtMatrixLayout_t, const void*,
                                  cublasLtMatrixLayout_t, const void*, const void*,
                                  cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t,
                                  const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t>);
static_assert(
    std::is_invocable_v<decltype(cublasLtMatmulAlgoGetHeuristic), cublasLtHandle_t,
                        cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                        cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t,
                        int, cublasLtMatmulHeuristicResult_t*, int*>);
static_assert(std::is_invocable_v<decltype(cublasLtMatrixLayoutCreate), cublasLtMatrixLayout_t*,
                                  cudaDataType, uint64_t, uint64_t, int64_t>);
static_assert(std::is_invocable_v<decltype(cublasLtMatmulDescCreate), cublasLtMatmulDesc_t*,
                                  cublasComputeType_t, cudaDataType_t>);

}  // namespace
}  // namespace folkmoot::cuda
#endif
