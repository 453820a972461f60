// SPDX-License-Identifier: Apache-2.0
// Input: a message between the processes of a supervised server. Whatever arrives is a message or
// an error, and what is read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "launch/supervisor/admission.h"
#include "launch/supervisor/control.h"
#include "runtime/check.h"

namespace {

template <typename Message>
void Read(std::string_view bytes) {
  Message message;
  if (!folkmoot::Decode(bytes, &message).ok()) return;
  const std::string encoded = folkmoot::Encode(message);
  Message again;
  FM_CHECK(folkmoot::Decode(encoded, &again).ok() && folkmoot::Encode(again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 9) {
    case 0:
      Read<folkmoot::RankHello>(bytes);
      break;
    case 1:
      Read<folkmoot::RankBeat>(bytes);
      break;
    case 2:
      Read<folkmoot::EngineHello>(bytes);
      break;
    case 3:
      Read<folkmoot::EngineWelcome>(bytes);
      break;
    case 4:
      Read<folkmoot::StepReply>(bytes);
      break;
    case 5:
      Read<folkmoot::FrontEndBeat>(bytes);
      break;
    case 6:
      Read<folkmoot::EngineNews>(bytes);
      break;
    case 7:
      Read<folkmoot::Greeting>(bytes);
      break;
    default:
      Read<folkmoot::RepairOrder>(bytes);
  }
  return 0;
}
