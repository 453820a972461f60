// SPDX-License-Identifier: Apache-2.0
// The journal on disk: a directory of numbered files. A process that starts reads those of the ones
// before it, writes what is still of use to a file of its own, and goes on from there. Files are
// for this user alone; they hold prompts and answers, and no keys.
//
// A disk that is full or broken ends the journal, not the service.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launch/agreement.h"
#include "launch/api/request_journal.h"
#include "launch/journal/journal_segment.h"
#include "parallel/progress.h"

namespace folkmoot {

struct FileJournalOptions {
  std::string directory;
  bool sync = false;       // every commit survives the machine
  AgreementFields fields;  // requests of another program, model or flags cannot go on
  int64_t segment_bytes = int64_t{64} << 20;  // a file that is longer is followed by another
  int64_t retention_seconds = 600;            // for clients of ended requests to come back
  // A disk that fails while the journal opens is no error: what could be read of requests is there,
  // and nothing is written down. For a process that comes back.
  bool may_end = false;
  Progress* progress = nullptr;  // told while a commit waits for the disk
};

class FileJournal : public RequestJournal {
 public:
  // Makes the directory if need be. Errors name the path.
  static absl::StatusOr<std::unique_ptr<FileJournal>> Open(const FileJournalOptions& options);

  std::vector<JournaledRequest> TakeRequests() override;
  uint64_t Accept(const HttpRequest& http, uint64_t fresh_seed, int64_t now) override;
  void Add(uint64_t id, size_t prompt, const OutputEvent& event) override;
  void End(uint64_t id) override;
  void Commit() override;
  JournalCounts counts() const override {
    return {.writing = status_.ok(), .bytes = bytes_, .failures = status_.ok() ? 0 : 1};
  }

  // Why nothing is written any more; OK: it is.
  const absl::Status& status() const { return status_; }

 private:
  struct Live {
    int64_t segment = 0;  // with its acceptance
    std::chrono::steady_clock::time_point ended;
  };

  explicit FileJournal(const FileJournalOptions& options) : options_(options) {}
  absl::Status Begin();
  absl::Status ReadAll();
  absl::Status Rewrite();
  absl::Status BeginSegment();
  void RemoveOldSegments();
  void RemoveOwnSegment();  // one that was begun and is of no use
  void Write();
  void Fail(const absl::Status& status);

  FileJournalOptions options_;
  std::map<uint64_t, JournaledRequest> found_;
  std::vector<int64_t> segments_;  // on disk, ascending; the last one is written
  std::set<int64_t> foreign_;      // of a server with other fields: neither read nor removed
  std::optional<FrameWriter> writer_;
  std::map<uint64_t, Live> live_;  // and those that ended lately
  uint64_t next_id_ = 1;
  std::string pending_;  // records that are not committed, encoded
  int64_t bytes_ = 0;    // written
  absl::Status status_;
};

}  // namespace folkmoot
