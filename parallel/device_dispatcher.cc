// SPDX-License-Identifier: Apache-2.0
#include "parallel/device_dispatcher.h"

#include <utility>

#include "parallel/device_buffer.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

class LocalDeviceDispatcher final : public DeviceDispatcher {
 public:
  explicit LocalDeviceDispatcher(const DeviceDispatchLimits& limits) : limits_(limits) {}

  absl::Status SetUp() { return fixed_.Grow(ResultBytes(limits_.fixed_rows)); }

  absl::StatusOr<DeviceBatch> Dispatch(cuda::Stream& stream,
                                       const DeviceDispatchInput& input) override {
    FM_CHECK(input.x.rows == input.routing.rows && input.routing.k == limits_.k);
    const int64_t bytes = ResultBytes(input.routing.rows);
    if (input.sizes == DispatchSizes::kFixed) {
      FM_CHECK(fixed_.Fits(bytes));
      results_ = fixed_.As<float>();
    } else {
      if (!exact_.Fits(bytes)) {
        FM_RETURN_IF_ERROR(stream.Synchronize());
        FM_RETURN_IF_ERROR(exact_.Grow(bytes));
      }
      results_ = exact_.As<float>();
    }
    return DeviceBatch{input.x, input.routing, results_};
  }

  absl::StatusOr<const float*> Return(cuda::Stream& /*stream*/) override { return results_; }

  absl::Status Wait(cuda::Stream& stream, const WaitLabel& label) override {
    return Annotate(stream.Synchronize(), WaitName(0, label));
  }

  int64_t MaxChoices(DispatchSizes /*sizes*/, int rows) const override {
    return int64_t{rows} * limits_.k;
  }

 private:
  int64_t ResultBytes(int rows) const {
    return int64_t{rows} * limits_.k * limits_.hidden * static_cast<int64_t>(sizeof(float));
  }

  const DeviceDispatchLimits limits_;
  DeviceBuffer fixed_{"the results of the experts"};
  DeviceBuffer exact_{"the results of the experts"};
  float* results_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceDispatcher>> MakeLocalDeviceDispatcher(
    const DeviceDispatchLimits& limits) {
  auto dispatcher = std::make_unique<LocalDeviceDispatcher>(limits);
  FM_RETURN_IF_ERROR(dispatcher->SetUp());
  return dispatcher;
}

}  // namespace folkmoot
