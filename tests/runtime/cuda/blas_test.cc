// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/blas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cuda/gemm.h"
#include "tests/runtime/cuda/fake_blas.h"
#include "tests/runtime/cuda/product_testing.h"

namespace folkmoot::cuda {
namespace {

using testing::HasSubstr;

std::string TextOf(const absl::Status& status) { return std::string(Message(status)); }

TEST(CudaBlas, NamesTheSymbolsThatAreMissing) {
  const auto api = ResolveBlas("/old/libcublasLt.so.12", [](const char* name) {
    const std::string_view wanted = name;
    const bool missing = wanted == "cublasLtMatmul" || wanted == "cublasLtDestroy";
    return missing ? nullptr : FakeBlasSymbol(name);
  });
  ASSERT_EQ(api.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(TextOf(api.status()), HasSubstr("/old/libcublasLt.so.12 (cuBLASLt 13.1.0) lacks "
                                              "cublasLtDestroy, cublasLtMatmul;"));
  const auto other = ResolveBlas("/x.so", [](const char*) -> void* { return nullptr; });
  EXPECT_THAT(TextOf(other.status()), HasSubstr("/x.so is not cuBLASLt"));
}

TEST(CudaBlas, RefusesAnOldLibrary) {
  const auto api = ResolveBlas("/old.so", [](const char* name) -> void* {
    if (std::string_view(name) != "cublasLtGetVersion") return FakeBlasSymbol(name);
    return reinterpret_cast<void*>(+[]() -> size_t { return 110803; });
  });
  EXPECT_THAT(TextOf(api.status()), HasSubstr("/old.so is cuBLASLt 11.8.3, which is too old"));
}

TEST(CudaBlas, SaysWhereItLooked) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "folkmoot_blas_test";
  std::filesystem::create_directories(folder);
  LibrarySearch search;
  search.folders = {folder.string()};
  // Not a library: the message must say so of this very file.
  std::ofstream(folder / "libcublasLt.so.99") << "no library";
  const auto library = BlasLibrary::Load(search, {"libcublasLt.so.99", "libcublasLt.so.98"});
  std::filesystem::remove_all(folder);
  EXPECT_EQ(library.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(TextOf(library.status()), HasSubstr("libcublasLt.so.99 was not found"));
  EXPECT_THAT(TextOf(library.status()), HasSubstr((folder / "libcublasLt.so.99").string()));
  EXPECT_THAT(TextOf(library.status()), HasSubstr("FOLKMOOT_LIBRARY_PATH"));
}

// Where the real one is installed (a toolkit is enough), the table must fill.
TEST(CudaBlas, LoadsTheRealOne) {
  const auto library = BlasLibrary::Load(LibrarySearch::FromEnvironment());
  if (!library.ok()) GTEST_SKIP() << library.status();
  EXPECT_THAT((*library)->path(), HasSubstr("cublasLt"));
  EXPECT_THAT((*library)->version(),
              testing::AnyOf(testing::StartsWith("12."), testing::StartsWith("13.")));
}

#if defined(FOLKMOOT_CUDA_SIM)  // where device memory is the host's

std::unique_ptr<BlasLibrary> MakeFakeLibrary() {
  FakeBlas() = {};
  auto api = ResolveBlas("/fake/libcublasLt.so.13", FakeBlasSymbol);
  EXPECT_TRUE(api.ok()) << api.status();
  return std::make_unique<BlasLibrary>(*api);
}

class CudaBlasProduct : public CudaTest {
 protected:
  // [M, N] by Gemm under `context`, columns from n on a gap.
  std::vector<float> Run(const GemmContext& context, DType dtype, DType out_dtype,
                         const HostMatrix& x, const HostMatrix& w) {
    const Memory dx = ToDevice(Encode(dtype, x.values));
    const Memory dw = ToDevice(Encode(dtype, w.values));
    const int64_t stride = w.rows + 5;
    const Memory out = ToDevice(
        Encode(out_dtype, std::vector<float>(static_cast<size_t>(x.rows * stride), -7.0f)));
    Gemm(stream(), context, RefOf(dx, dtype, x.rows, x.cols), RefOf(dw, dtype, w.rows, w.cols),
         nullptr, {out.data(), out_dtype, x.rows, w.rows, stride});
    return Decode(out_dtype, ToHost<uint8_t>(out));
  }
};

TEST_F(CudaBlasProduct, EqualsOwnKernels) {
  struct Types {
    DType in, out;
  };
  for (const Types& types : {Types{DType::kBF16, DType::kF32}, Types{DType::kF16, DType::kF16},
                             Types{DType::kBF16, DType::kBF16}, Types{DType::kF32, DType::kF32}}) {
    const HostMatrix x = RandomMatrix(types.in, 70, 72, 1);
    const HostMatrix w = RandomMatrix(types.in, 40, 72, 2);
    const auto library = MakeFakeLibrary();
    GemmContext context;
    const auto own = Run({nullptr, GemmPolicy::kBatchInvariant}, types.in, types.out, x, w);
    context.blas = library.get();
    const auto by_blas = Run(context, types.in, types.out, x, w);
    EXPECT_EQ(FakeBlas().products, 1) << DTypeName(types.in);
    ASSERT_EQ(own.size(), by_blas.size());
    for (size_t i = 0; i < own.size(); ++i) {
      ASSERT_NEAR(by_blas[i], own[i], 1e-4f + 0.01f * std::abs(own[i])) << i;
    }
  }
}

TEST_F(CudaBlasProduct, OnlyForManyRowsUnderKFastest) {
  const auto library = MakeFakeLibrary();
  const HostMatrix w = RandomMatrix(DType::kBF16, 24, 16, 3);
  GemmContext context;
  context.blas = library.get();
  Run(context, DType::kBF16, DType::kF32, RandomMatrix(DType::kBF16, 8, 16, 4), w);
  EXPECT_EQ(FakeBlas().products, 0);
  context.policy = GemmPolicy::kBatchInvariant;
  Run(context, DType::kBF16, DType::kF32, RandomMatrix(DType::kBF16, 200, 16, 4), w);
  EXPECT_EQ(FakeBlas().products, 0);
}

TEST_F(CudaBlasProduct, ChoosesAnAlgorithmOncePerShapeAndFreesEverything) {
  auto library = MakeFakeLibrary();
  const HostMatrix w = RandomMatrix(DType::kBF16, 24, 16, 3);
  GemmContext context;
  context.blas = library.get();
  const Memory workspace = Zeros<uint8_t>(1024);
  context.workspace = {workspace.data(), DType::kF32, 1, 256, 256};
  for (const int rows : {80, 96, 80, 96, 80}) {
    Run(context, DType::kBF16, DType::kF32, RandomMatrix(DType::kBF16, rows, 16, 4), w);
  }
  EXPECT_EQ(FakeBlas().products, 5);
  EXPECT_EQ(FakeBlas().heuristics, 2);
  EXPECT_EQ(FakeBlas().workspace_bytes, 1024);
  EXPECT_GT(FakeBlas().alive, 0);
  library.reset();
  EXPECT_EQ(FakeBlas().alive, 0);
}

TEST_F(CudaBlasProduct, WithoutAnAlgorithmOwnKernelsDoIt) {
  const auto library = MakeFakeLibrary();
  FakeBlas().no_algorithm = true;
  const HostMatrix x = RandomMatrix(DType::kBF16, 70, 16, 1);
  const HostMatrix w = RandomMatrix(DType::kBF16, 24, 16, 2);
  GemmContext context;
  context.blas = library.get();
  const auto values = Run(context, DType::kBF16, DType::kF32, x, w);
  EXPECT_EQ(FakeBlas().products, 0);
  EXPECT_EQ(values, Run({nullptr, GemmPolicy::kFastest}, DType::kBF16, DType::kF32, x, w));
}

TEST_F(CudaBlasProduct, AFailureIsTheStreams) {
  const auto library = MakeFakeLibrary();
  FakeBlas().fail_product = true;
  const auto stream = Stream::Create();
  ASSERT_TRUE(stream.ok());
  const Memory x = Zeros<float>(64 * 8);
  const Memory out = Zeros<float>(64 * 8);
  GemmContext context;
  context.blas = library.get();
  Gemm(**stream, context, RefOf(x, DType::kF32, 64, 8), RefOf(x, DType::kF32, 8, 8), nullptr,
       RefOf(out, DType::kF32, 64, 8));
  EXPECT_THAT(TextOf((*stream)->status()),
              HasSubstr("cublasLtMatmul of /fake/libcublasLt.so.13 (cuBLASLt 13.1.0) failed: "
                        "CUBLAS_STATUS_EXECUTION_FAILED"));
}

#else

class CudaBlasDevice : public CudaTest {};

TEST_F(CudaBlasDevice, TheRealOneEqualsOwnKernels) {
  const auto library = BlasLibrary::Load(LibrarySearch::FromEnvironment());
  if (!library.ok()) GTEST_SKIP() << library.status();
  const HostMatrix x = RandomMatrix(DType::kBF16, 128, 256, 1);
  const HostMatrix w = RandomMatrix(DType::kBF16, 64, 256, 2);
  const Memory dx = ToDevice(Encode(DType::kBF16, x.values));
  const Memory dw = ToDevice(Encode(DType::kBF16, w.values));
  std::vector<std::vector<float>> results;
  for (const GemmPolicy policy : {GemmPolicy::kBatchInvariant, GemmPolicy::kFastest}) {
    const Memory out = Zeros<float>(128 * 64);
    GemmContext context;
    context.blas = library->get();
    context.policy = policy;
    Gemm(stream(), context, RefOf(dx, DType::kBF16, 128, 256), RefOf(dw, DType::kBF16, 64, 256),
         nullptr, RefOf(out, DType::kF32, 128, 64));
    results.push_back(ToHost<float>(out));
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    ASSERT_NEAR(results[0][i], results[1][i], 1e-3f + 1e-3f * std::abs(results[0][i])) << i;
  }
}

#endif

}  // namespace
}  // namespace folkmoot::cuda
