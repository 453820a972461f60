// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/readable.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "runtime/fault_points.h"

namespace folkmoot {

absl::Status CheckReadable(const TensorInfo& info, std::string_view name,
                           std::span<const std::byte> bytes) {
#ifdef MADV_POPULATE_READ
  constexpr int kPopulate = MADV_POPULATE_READ;
#else
  constexpr int kPopulate = 22;
#endif
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t begin = address / page * page;
  size_t size = bytes.size();
  bool fails = FaultAt(FaultPoint::kWeightsRead, &size) || size < bytes.size();
  if (!fails && size > 0) {
    const bool there =
        madvise(reinterpret_cast<void*>(begin), address + size - begin, kPopulate) == 0;
    fails = !there && errno == EFAULT;
  }
  if (!fails) return absl::OkStatus();
  return DataLoss(
      "{}: tensor '{}': {} bytes at its byte {} cannot be read: the file has become shorter, or "
      "its disk fails",
      info.file, info.stored_name.empty() ? name : info.stored_name, bytes.size(),
      bytes.data() - info.data);
}

}  // namespace folkmoot
