// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/error.h"

#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "runtime/cuda/launch.h"

namespace folkmoot::cuda {
namespace {

std::string Version(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string NameOf(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || mangled == nullptr) return "a kernel";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free);
  return status == 0 ? std::string(name.get()) : std::string(mangled);
}

}  // namespace

absl::Status CudaStatus(cudaError_t error, std::string_view doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string text =
      fmt::format("{}: {} ({})", doing, cudaGetErrorString(error), cudaGetErrorName(error));
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::ResourceExhaustedError(text);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return absl::UnavailableError(text);
    case cudaErrorInvalidDevice:
      return absl::InvalidArgumentError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::Status NoDevices(cudaError_t error, int driver_version, int runtime_version) {
  if (driver_version == 0) {
    return Unavailable(
        "no NVIDIA driver is loaded (libcuda.so.1 was not found or does not start): install the "
        "driver, or run the container with --gpus all; without a GPU use --device cpu");
  }
  if (error == cudaErrorInsufficientDriver) {
    return Unavailable(
        "the NVIDIA driver is too old: it knows CUDA {}, this program was built with {}: update "
        "the driver, or build with an older toolkit",
        Version(driver_version), Version(runtime_version));
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return Unavailable(
        "the NVIDIA driver shows no GPU: look at nvidia-smi, CUDA_VISIBLE_DEVICES and the devices "
        "given to the container; without a GPU use --device cpu");
  }
  return Unavailable("no GPU can be used: {} ({})", cudaGetErrorString(error),
                     cudaGetErrorName(error));
}

cudaError_t AllowSharedBytes(const void* kernel, size_t bytes) {
  constexpr size_t kAlwaysAllowed = 48 * 1024;
  if (bytes <= kAlwaysAllowed) return cudaSuccess;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  static thread_local std::map<std::pair<const void*, int>, size_t> allowed;
  size_t& most = allowed[{kernel, device}];
  if (bytes <= most) return cudaSuccess;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error == cudaSuccess) most = bytes;
  return error;
}

void FinishLaunch(Stream& stream, const void* kernel, cudaError_t error) {
  stream.Fail(CudaStatus(error, fmt::format("launch of {}", NameOf(kernel))));
}

}  // namespace folkmoot::cuda
