// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/blas.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "runtime/check.h"

namespace folkmoot::cuda {
namespace {

BlasType TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return kBlasBF16;
    case DType::kF16:
      return kBlasF16;
    default:
      FM_CHECK(dtype == DType::kF32);
      return kBlasF32;
  }
}

// Plans kept. The rows of a step are padded to a bucket, so a model needs some hundreds at most.
constexpr size_t kMaxPlans = 1024;

// The power of two, up to 256, that an address is a multiple of.
uint32_t AlignmentOf(const void* data) {
  return 1u << std::min(8, std::countr_zero(reinterpret_cast<uintptr_t>(data)));
}

}  // namespace

struct BlasLibrary::Shape {
  int64_t m, n, k;
  int64_t x_stride, w_stride, out_stride;
  DType type, out_type;
  uint32_t x_alignment, w_alignment, out_alignment;
  int64_t workspace_bytes;
  bool operator==(const Shape&) const = default;
};

// cuBLASLt thinks in columns: out^T [N, M] = (w^T)^T [N, K] * x^T [K, M], where a row-major matrix
// is the transposed column-major one.
struct BlasLibrary::Plan {
  Shape shape = {};
  BlasProductDesc desc = nullptr;
  BlasLayout a = nullptr;  // w^T: [K, N]
  BlasLayout b = nullptr;  // x^T: [K, M]
  BlasLayout d = nullptr;  // out^T: [N, M]
  bool found = false;
  BlasAlgorithm algorithm = {};
};

absl::StatusOr<std::unique_ptr<BlasLibrary>> BlasLibrary::Load(
    const LibrarySearch& search, const std::vector<std::string>& files) {
  const std::vector<std::string> packages = {"nvidia/cublas/lib", "nvidia/cu13/lib",
                                             "nvidia/cu12/lib"};
  absl::Status first;
  for (const std::string& file : files) {
    absl::StatusOr<SharedLibrary> library =
        SharedLibrary::Open(file, search.Candidates(file, packages));
    if (library.ok()) {
      FM_ASSIGN_OR_RETURN(BlasApi api, ResolveBlas(library->path(), [&](const char* name) {
                            return library->Symbol(name);
                          }));
      return std::make_unique<BlasLibrary>(std::move(api));
    }
    if (first.ok()) first = library.status();
  }
  return first;
}

BlasLibrary::BlasLibrary(BlasApi api) : api_(std::move(api)) {}

BlasLibrary::~BlasLibrary() {
  for (const std::unique_ptr<Plan>& plan : plans_) Release(*plan);
  if (handle_ != nullptr) api_.destroy(handle_);
}

void BlasLibrary::Release(Plan& plan) const {
  for (const BlasLayout layout : {plan.a, plan.b, plan.d}) {
    if (layout != nullptr) api_.layout_destroy(layout);
  }
  if (plan.desc != nullptr) api_.desc_destroy(plan.desc);
}

absl::Status BlasLibrary::Check(BlasStatus status, const char* function) const {
  if (status == kBlasSuccess) return absl::OkStatus();
  return absl::InternalError(fmt::format("{} of {} (cuBLASLt {}) failed: {}", function, path(),
                                         version(), api_.get_status_name(status)));
}

absl::Status BlasLibrary::ChooseAlgorithm(const Shape& shape, Plan& plan) const {
  BlasPreference preference = nullptr;
  FM_RETURN_IF_ERROR(Check(api_.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
  const auto bytes = static_cast<uint64_t>(shape.workspace_bytes);
  BlasStatus set = api_.preference_set(preference, kBlasWorkspaceBytes, &bytes, sizeof(bytes));
  const std::pair<BlasPreferenceAttribute, uint32_t> alignments[] = {
      {kBlasAlignmentA, shape.w_alignment},
      {kBlasAlignmentB, shape.x_alignment},
      {kBlasAlignmentC, shape.out_alignment},
      {kBlasAlignmentD, shape.out_alignment}};
  for (const auto& [attribute, alignment] : alignments) {
    if (set != kBlasSuccess) break;
    set = api_.preference_set(preference, attribute, &alignment, sizeof(alignment));
  }
  BlasHeuristic best = {};
  int found = 0;
  BlasStatus status = kBlasSuccess;
  if (set == kBlasSuccess) {
    status = api_.get_heuristic(handle_, plan.desc, plan.a, plan.b, plan.d, plan.d, preference, 1,
                                &best, &found);
  }
  api_.preference_destroy(preference);
  FM_RETURN_IF_ERROR(Check(set, "cublasLtMatmulPreferenceSetAttribute"));
  if (status != kBlasNotSupported) {
    FM_RETURN_IF_ERROR(Check(status, "cublasLtMatmulAlgoGetHeuristic"));
  }
  plan.found = status == kBlasSuccess && found > 0 && best.state == kBlasSuccess;
  plan.algorithm = best.algorithm;
  return absl::OkStatus();
}

absl::Status BlasLibrary::MakePlan(const Shape& shape, Plan& plan) const {
  plan.shape = shape;
  const auto layout = [&](BlasLayout& to, DType type, int64_t rows, int64_t cols, int64_t leading) {
    return Check(api_.layout_create(&to, TypeOf(type), static_cast<uint64_t>(rows),
                                    static_cast<uint64_t>(cols), leading),
                 "cublasLtMatrixLayoutCreate");
  };
  FM_RETURN_IF_ERROR(layout(plan.a, shape.type, shape.k, shape.n, shape.w_stride));
  FM_RETURN_IF_ERROR(layout(plan.b, shape.type, shape.k, shape.m, shape.x_stride));
  FM_RETURN_IF_ERROR(layout(plan.d, shape.out_type, shape.n, shape.m, shape.out_stride));
  FM_RETURN_IF_ERROR(
      Check(api_.desc_create(&plan.desc, kBlasComputeF32, kBlasF32), "cublasLtMatmulDescCreate"));
  const std::pair<BlasAttribute, BlasOperation> operations[] = {{kBlasTransposeA, kBlasTransposed},
                                                                {kBlasTransposeB, kBlasAsIs}};
  for (const auto& [attribute, operation] : operations) {
    FM_RETURN_IF_ERROR(Check(api_.desc_set(plan.desc, attribute, &operation, sizeof(operation)),
                             "cublasLtMatmulDescSetAttribute"));
  }
  return ChooseAlgorithm(shape, plan);
}

absl::Status BlasLibrary::Product(Stream& stream, const MatrixRef& x, const MatrixRef& w,
                                  const MatrixRef& out, const MatrixRef& workspace) const {
  FM_CHECK(x.dtype == w.dtype && x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  if (!stream.status().ok()) return absl::OkStatus();  // later work on it is dropped
  if (handle_ == nullptr) FM_RETURN_IF_ERROR(Check(api_.create(&handle_), "cublasLtCreate"));
  const int64_t workspace_bytes =
      workspace.data == nullptr ? 0
                                : workspace.rows * workspace.stride * DTypeBytes(workspace.dtype);
  const Shape shape = {x.rows,
                       w.rows,
                       x.cols,
                       x.stride,
                       w.stride,
                       out.stride,
                       x.dtype,
                       out.dtype,
                       AlignmentOf(x.data),
                       AlignmentOf(w.data),
                       AlignmentOf(out.data),
                       workspace_bytes};
  const auto at = std::find_if(plans_.begin(), plans_.end(),
                               [&](const auto& plan) { return plan->shape == shape; });
  const Plan* known = at == plans_.end() ? nullptr : at->get();
  if (known == nullptr) {
    auto made = std::make_unique<Plan>();
    if (absl::Status status = MakePlan(shape, *made); !status.ok()) {
      Release(*made);
      return status;
    }
    if (plans_.size() == kMaxPlans) {
      Release(*plans_.front());
      plans_.erase(plans_.begin());
    }
    known = plans_.emplace_back(std::move(made)).get();
  }
  const Plan& plan = *known;
  if (!plan.found) return absl::UnimplementedError("cuBLASLt has no algorithm for this shape");
  const float one = 1.0f;
  const float zero = 0.0f;
  return Check(api_.product(handle_, plan.desc, &one, w.data, plan.a, x.data, plan.b, &zero,
                            out.data, plan.d, out.data, plan.d, &plan.algorithm, workspace.data,
                            static_cast<size_t>(workspace_bytes), stream.handle()),
               "cublasLtMatmul");
}

}  // namespace folkmoot::cuda
