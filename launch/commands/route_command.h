// SPDX-License-Identifier: Apache-2.0
// folkmoot route: the gate alone, for people who study routing. One JSON line of logits in, one
// line of decisions out; docs/gates.md walks through it.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

#include "launch/command.h"
#include "layers/gates/gate.h"
#include "parallel/communicator.h"
#include "runtime/status.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Routes line after line with one gate. Not thread-safe.
class LineRouter {
 public:
  // `gate` is the path of a JSON file, JSON, the name of a preset, or KEY=VALUE[,...].
  static absl::StatusOr<LineRouter> Create(const std::string& gate);

  // One line of JSON, without the line feed, in and out. Errors name the field.
  absl::StatusOr<std::string> Route(std::string_view line);

  // All lines of `in`; blank ones are skipped. Stops at the first bad line with an error that names
  // `source` and the line's number; the results of the lines before it have been written.
  absl::Status RouteAll(std::istream& in, const std::string& source, std::ostream& out);

 private:
  LineRouter() = default;
  absl::StatusOr<GateConfig> Parse(int experts) const;
  // Makes the gate for rows of `experts` logits: num_experts may be left open.
  absl::Status Prepare(int experts);

  std::string text_;      // the gate as JSON or as KEY=VALUE list
  std::string source_;    // the file that the gate came from, or empty
  bool is_json_ = false;  // of text_
  std::unique_ptr<Gate> gate_;
  int prepared_for_ = -1;
  std::unique_ptr<Communicator> alone_;
  Workspace workspace_;
};

Command MakeRouteCommand(CLI::App& app);

}  // namespace folkmoot
