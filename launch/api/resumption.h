// SPDX-License-Identifier: Apache-2.0
// Requests that a journal keeps: their answers by id, for clients that come back, and those of a
// process that is gone, which go on.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "launch/api/generation.h"
#include "launch/api/jobs.h"
#include "launch/api/request_journal.h"
#include "launch/api/resumable_exchange.h"

namespace folkmoot {

// What every choice of every prompt has given, as far as the journal's events say: feeds them to
// the generation, which then stands where it stood. By prompt; empty lists: it begins anew.
std::vector<std::vector<ChoiceSoFar>> Replay(const JournaledRequest& journaled,
                                             Generation& generation);

// The header that names the asker to others: the key itself is nobody's business.
std::string OwnerOf(const HttpRequest& request);
// The request as a journal may keep it: with the owner in place of keys.
HttpRequest WithoutSecrets(HttpRequest request);

// On the I/O thread.
class KeptAnswers {
 public:
  // The answer to `request`, kept from now on under its id. `client`: who waits; may be null.
  std::shared_ptr<ResumableExchange> Keep(const HttpRequest& request,
                                          std::shared_ptr<HttpExchange> client);
  // Its client has left, and it will not be completed: nobody may come back for it.
  void Forget(const HttpExchange& answer);
  // GET /v1/requests/ID, with Last-Event-ID or ?after=N.
  void Resume(const std::shared_ptr<HttpExchange>& exchange);

 private:
  // Forgets complete answers that are old, or too many.
  void Prune();

  struct Kept {
    std::shared_ptr<ResumableExchange> answer;
    std::string owner;
    std::chrono::steady_clock::time_point since;
  };
  std::unordered_map<std::string, Kept> by_id_;
  std::deque<std::string> order_;
};

}  // namespace folkmoot
