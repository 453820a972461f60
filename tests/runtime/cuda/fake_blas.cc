// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/cuda/fake_blas.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>

#include "runtime/cuda/blas_api.h"
#include "runtime/dtype.h"

namespace folkmoot::cuda {
namespace {

constexpr BlasStatus kInvalidValue = static_cast<BlasStatus>(7);
constexpr BlasStatus kExecutionFailed = static_cast<BlasStatus>(13);

struct FakeLayout {
  BlasType type;
  uint64_t rows, cols;
  int64_t leading;
};
struct FakeDesc {
  BlasOperation a = kBlasAsIs;
  BlasOperation b = kBlasAsIs;
};

template <typename T>
BlasStatus Make(void** to, T* made) {
  *to = made;
  ++FakeBlas().alive;
  return kBlasSuccess;
}
template <typename T>
BlasStatus Destroy(void* made) {
  delete static_cast<T*>(made);
  --FakeBlas().alive;
  return kBlasSuccess;
}

size_t GetVersion() { return 130100; }
const char* GetStatusName(BlasStatus status) {
  return status == kExecutionFailed ? "CUBLAS_STATUS_EXECUTION_FAILED" : "CUBLAS_STATUS_OTHER";
}
BlasStatus CreateHandle(BlasHandle* handle) { return Make(handle, new int(0)); }
BlasStatus LayoutCreate(BlasLayout* layout, BlasType type, uint64_t rows, uint64_t cols,
                        int64_t leading) {
  if (leading < static_cast<int64_t>(rows)) return kInvalidValue;
  return Make(layout, new FakeLayout{type, rows, cols, leading});
}
BlasStatus DescCreate(BlasProductDesc* desc, BlasCompute compute, BlasType scale) {
  if (compute != kBlasComputeF32 || scale != kBlasF32) return kInvalidValue;
  return Make(desc, new FakeDesc);
}
BlasStatus DescSet(BlasProductDesc desc, BlasAttribute attribute, const void* value, size_t bytes) {
  if (bytes != 4) return kInvalidValue;
  auto* of = static_cast<FakeDesc*>(desc);
  std::memcpy(attribute == kBlasTransposeA ? &of->a : &of->b, value, bytes);
  return kBlasSuccess;
}
BlasStatus PreferenceCreate(BlasPreference* preference) { return Make(preference, new int(0)); }
BlasStatus PreferenceSet(BlasPreference, BlasPreferenceAttribute attribute, const void* value,
                         size_t bytes) {
  if (bytes != (attribute == kBlasWorkspaceBytes ? 8u : 4u)) return kInvalidValue;
  if (attribute == kBlasWorkspaceBytes) std::memcpy(&FakeBlas().workspace_bytes, value, bytes);
  return kBlasSuccess;
}
BlasStatus GetHeuristic(BlasHandle handle, BlasProductDesc, BlasLayout, BlasLayout, BlasLayout,
                        BlasLayout, BlasPreference, int wanted, BlasHeuristic* results,
                        int* found) {
  ++FakeBlas().heuristics;
  *found = 0;
  if (handle == nullptr || wanted < 1) return kInvalidValue;
  if (FakeBlas().no_algorithm) return kBlasNotSupported;
  *found = 1;
  results[0] = {};
  results[0].algorithm.data[0] = 42;
  return kBlasSuccess;
}

float Read(const void* data, BlasType type, int64_t index) {
  if (type == kBlasF32) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  return type == kBlasBF16 ? BF16ToFloat(bits) : F16ToFloat(bits);
}
void Write(void* data, BlasType type, int64_t index, float value) {
  if (type == kBlasF32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<uint16_t*>(data)[index] =
        type == kBlasBF16 ? FloatToBF16(value) : FloatToF16(value);
  }
}

// An operand as its operation shows it.
struct Operand {
  const void* data;
  const FakeLayout& layout;
  bool transposed;
  int64_t rows() const { return static_cast<int64_t>(transposed ? layout.cols : layout.rows); }
  int64_t cols() const { return static_cast<int64_t>(transposed ? layout.rows : layout.cols); }
  float at(int64_t r, int64_t c) const {
    return Read(data, layout.type, transposed ? c + r * layout.leading : r + c * layout.leading);
  }
};

BlasStatus Product(BlasHandle handle, BlasProductDesc desc, const void* alpha, const void* a,
                   BlasLayout a_layout, const void* b, BlasLayout b_layout, const void* beta,
                   const void*, BlasLayout, void* d, BlasLayout d_layout,
                   const BlasAlgorithm* algorithm, void*, size_t, void*) {
  ++FakeBlas().products;
  if (FakeBlas().fail_product) return kExecutionFailed;
  if (handle == nullptr || algorithm->data[0] != 42) return kInvalidValue;
  if (*static_cast<const float*>(alpha) != 1.0f || *static_cast<const float*>(beta) != 0.0f) {
    return kInvalidValue;
  }
  const auto* operations = static_cast<const FakeDesc*>(desc);
  const auto& to = *static_cast<const FakeLayout*>(d_layout);
  const Operand left{a, *static_cast<const FakeLayout*>(a_layout), operations->a != kBlasAsIs};
  const Operand right{b, *static_cast<const FakeLayout*>(b_layout), operations->b != kBlasAsIs};
  if (left.cols() != right.rows() || left.rows() != static_cast<int64_t>(to.rows) ||
      right.cols() != static_cast<int64_t>(to.cols)) {
    return kInvalidValue;
  }
  for (int64_t c = 0; c < right.cols(); ++c) {
    for (int64_t r = 0; r < left.rows(); ++r) {
      float sum = 0.0f;
      for (int64_t k = 0; k < left.cols(); ++k) sum += left.at(r, k) * right.at(k, c);
      Write(d, to.type, r + c * to.leading, sum);
    }
  }
  return kBlasSuccess;
}

template <typename F>
void* Address(F* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

FakeBlasState& FakeBlas() {
  static FakeBlasState state;
  return state;
}

void* FakeBlasSymbol(const char* name) {
  static const std::map<std::string_view, void*> symbols = {
      {"cublasLtGetVersion", Address(&GetVersion)},
      {"cublasLtGetStatusName", Address(&GetStatusName)},
      {"cublasLtCreate", Address(&CreateHandle)},
      {"cublasLtDestroy", Address(&Destroy<int>)},
      {"cublasLtMatrixLayoutCreate", Address(&LayoutCreate)},
      {"cublasLtMatrixLayoutDestroy", Address(&Destroy<FakeLayout>)},
      {"cublasLtMatmulDescCreate", Address(&DescCreate)},
      {"cublasLtMatmulDescDestroy", Address(&Destroy<FakeDesc>)},
      {"cublasLtMatmulDescSetAttribute", Address(&DescSet)},
      {"cublasLtMatmulPreferenceCreate", Address(&PreferenceCreate)},
      {"cublasLtMatmulPreferenceDestroy", Address(&Destroy<int>)},
      {"cublasLtMatmulPreferenceSetAttribute", Address(&PreferenceSet)},
      {"cublasLtMatmulAlgoGetHeuristic", Address(&GetHeuristic)},
      {"cublasLtMatmul", Address(&Product)}};
  const auto at = symbols.find(name);
  return at == symbols.end() ? nullptr : at->second;
}

}  // namespace folkmoot::cuda
