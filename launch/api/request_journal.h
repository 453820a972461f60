// SPDX-License-Identifier: Apache-2.0
// What the API needs of a journal: a request is written down before it begins, and what its clients
// will hear before they hear it. FileJournal in the server (launch/journal/), a fake in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "launch/engine_service.h"
#include "launch/http/http.h"

namespace folkmoot {

// What was written down of a request by a process that is gone.
struct JournaledRequest {
  struct Event {
    size_t prompt = 0;
    OutputEvent event;
  };
  uint64_t id = 0;
  HttpRequest http;  // where a key was in its headers, there is a digest of it
  uint64_t fresh_seed = 0;
  int64_t now = 0;
  std::vector<Event> events;
  bool ended = false;
};

struct JournalCounts {
  bool writing = true;  // false: it has ended, and requests survive no longer
  int64_t bytes = 0;    // written by this process
  int64_t failures = 0;
};

// On the I/O thread.
class RequestJournal {
 public:
  virtual ~RequestJournal() = default;
  // Of earlier processes, in order of arrival; once. They keep their ids.
  virtual std::vector<JournaledRequest> TakeRequests() = 0;
  // Returns its id.
  virtual uint64_t Accept(const HttpRequest& http, uint64_t fresh_seed, int64_t now) = 0;
  virtual void Add(uint64_t id, size_t prompt, const OutputEvent& event) = 0;
  virtual void End(uint64_t id) = 0;
  // What was added so far survives this process from here on.
  virtual void Commit() = 0;
  virtual JournalCounts counts() const = 0;
};

}  // namespace folkmoot
