// SPDX-License-Identifier: Apache-2.0
// The messages between the processes of a supervised server (proto/control.proto):
//
//   rank -> supervisor       RankHello once, then RankBeat, several a second
//   supervisor -> rank       RepairOrder, when another rank has died and a spare process can be it
//   rank 0 -> front end      EngineHello once, then a StepReply per plan
//   front end -> rank 0      EngineWelcome once, then plans (launch/plan_codec.h)
//   supervisor -> front end  EngineNews
//   front end -> supervisor  FrontEndBeat, several a second
//
// What is wrong with a received message is a DataLoss that names the field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/agreement.h"
#include "launch/executor.h"
#include "runtime/status.h"

namespace folkmoot {

struct RankHello {
  int64_t epoch = 0;   // life of the engine that the process belongs to
  int32_t number = 0;  // in the job: its first rank; from `ranks` on: a spare
  int32_t ranks = 1;
  int32_t spares = 0;
  std::string host;     // its name
  int32_t process = 0;  // number of the process there
};

// kIdle: rank 0 has no plan. kLeaving: its work is done, the process ends.
enum class RankActivity : uint8_t { kLoading, kIdle, kStep, kLeaving };

struct RankBeat {
  uint64_t progress = 0;  // grows while the rank gets on
  bool waiting = false;   // for peers: it cannot get on by itself
  std::string phase;      // of the exchange that it is in, or was in last
  int32_t layer = -1;
  int64_t step = -1;
  RankActivity state = RankActivity::kLoading;
  double cpu_seconds = 0;  // that the process has used
  int64_t steps = 0;       // answered in this life
  int64_t epoch = 0;       // the life: the process has come so far
};

// Some ranks are dead, and spare processes take their places: another life of the engine, in which
// the others keep what they have. Who gets it ends what it does and begins that life.
struct RepairOrder {
  int64_t epoch = 0;             // of the next life
  std::vector<int32_t> members;  // the process that each rank is
  std::vector<int64_t> since;    // the life in which each rank's process became it
};

struct EngineHello {
  int64_t epoch = 0;
  AgreementFields fields;  // of the model and flags
  int32_t ranks = 1;
  bool tensor_parallel = false;
  int64_t context = 0;
  int64_t blocks_per_rank = 0;
  int64_t slots_per_rank = 0;
  int64_t snapshots_per_rank = 0;
  uint64_t placement_version = 0;
  std::vector<int32_t> rank_of_expert;
  bool embeddings = false;
  // The life since which each rank has its pages of keys and values; one that is new in this life
  // has none.
  std::vector<int64_t> since;
};

struct EngineWelcome {
  int64_t first_step = 0;
};

struct StepReply {
  absl::Status status;
  std::vector<StepResult> results;  // by part of the plan
  StepSeconds seconds;              // broadcast, model, sample, gather
};

// kRepairing: dead ranks are being replaced. kFailed: it will not be started again.
enum class EngineState : uint8_t { kStarting, kUp, kStalled, kRepairing, kFailed };

struct EngineNews {
  EngineState state = EngineState::kStarting;
  std::string reason;    // of the last failure or stall, in words
  int64_t restarts = 0;  // since the server started
  int64_t repairs = 0;   // the same
};

// Of one thread of the front end.
struct ThreadBeat {
  uint64_t progress = 0;  // grows while it gets on
  bool waiting = false;   // for another process, or for the disk
  std::string phase;      // what for
  double cpu_seconds = 0;
};

struct FrontEndBeat {
  ThreadBeat events;     // clients
  ThreadBeat engine;     // scheduler
  int64_t culprits = 0;  // Scheduler::culprits, since it started
  int64_t steps = 0;     // with tokens that it has had an answer to
};

std::string Encode(const RankHello& message);
std::string Encode(const RankBeat& message);
std::string Encode(const RepairOrder& message);
std::string Encode(const EngineHello& message);
std::string Encode(const EngineWelcome& message);
std::string Encode(const StepReply& message);
std::string Encode(const EngineNews& message);
std::string Encode(const FrontEndBeat& message);

absl::Status Decode(std::string_view bytes, RankHello* message);
absl::Status Decode(std::string_view bytes, RankBeat* message);
absl::Status Decode(std::string_view bytes, RepairOrder* message);
absl::Status Decode(std::string_view bytes, EngineHello* message);
absl::Status Decode(std::string_view bytes, EngineWelcome* message);
absl::Status Decode(std::string_view bytes, StepReply* message);
absl::Status Decode(std::string_view bytes, EngineNews* message);
absl::Status Decode(std::string_view bytes, FrontEndBeat* message);

}  // namespace folkmoot
