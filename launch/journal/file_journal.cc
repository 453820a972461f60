// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/file_journal.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "launch/journal/journal_records.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kSuffix = ".journal";

std::string PathOf(const std::string& directory, int64_t number) {
  return fmt::format("{}/{:010}{}", directory, number, kSuffix);
}

// The numbers of the directory's files, ascending.
std::vector<int64_t> NumbersIn(const std::string& directory) {
  std::vector<int64_t> numbers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    int64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && std::string_view(end) == kSuffix) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileJournal>> FileJournal::Open(const FileJournalOptions& options) {
  std::unique_ptr<FileJournal> journal(new FileJournal(options));
  const absl::Status begun = Annotate(journal->Begin(), "--journal");
  if (begun.ok()) return journal;
  journal->RemoveOwnSegment();
  if (!options.may_end) return begun;
  journal->Fail(begun);
  return journal;
}

absl::Status FileJournal::Begin() {
  std::error_code error;
  fs::create_directories(options_.directory, error);
  if (error) return Unavailable("{}: {}", options_.directory, error.message());
  fs::permissions(options_.directory, fs::perms::owner_all, error);
  FM_RETURN_IF_ERROR(ReadAll());
  return Rewrite();
}

absl::Status FileJournal::ReadAll() {
  segments_ = NumbersIn(options_.directory);
  for (const int64_t number : segments_) {
    const std::string path = PathOf(options_.directory, number);
    FM_ASSIGN_OR_RETURN(const std::vector<std::string> frames, ReadFrames(path));
    const std::string differs = ReadRecords(frames, options_.fields, &found_);
    if (differs.empty()) continue;
    spdlog::warn("{}: differs from this server in {}; its requests do not go on here", path,
                 differs);
    foreign_.insert(number);
  }
  if (!found_.empty()) next_id_ = found_.rbegin()->first + 1;
  return absl::OkStatus();
}

// What is still of use, in a file of our own; the others go, but for those of another server.
absl::Status FileJournal::Rewrite() {
  const std::vector<int64_t> old = segments_;
  FM_RETURN_IF_ERROR(BeginSegment());
  for (const auto& [id, request] : found_) {
    pending_ += AcceptRecord(id, request.http, request.fresh_seed, request.now);
    for (const JournaledRequest::Event& event : request.events) Add(id, event.prompt, event.event);
    live_[id] = {.segment = segments_.back(), .ended = {}};
    if (request.ended) End(id);
    Commit();
  }
  FM_RETURN_IF_ERROR(status_);
  for (const int64_t number : old) {
    if (foreign_.contains(number)) continue;
    std::error_code ignored;
    fs::remove(PathOf(options_.directory, number), ignored);
  }
  segments_ = {segments_.back()};
  return absl::OkStatus();
}

absl::Status FileJournal::BeginSegment() {
  const int64_t number = segments_.empty() ? 1 : segments_.back() + 1;
  FM_ASSIGN_OR_RETURN(writer_, FrameWriter::Create(PathOf(options_.directory, number)));
  segments_.push_back(number);
  FM_RETURN_IF_ERROR(writer_->Append(HeaderFrame(options_.fields), options_.sync));
  bytes_ += writer_->bytes();
  return absl::OkStatus();
}

std::vector<JournaledRequest> FileJournal::TakeRequests() {
  std::vector<JournaledRequest> requests;
  for (auto& [id, request] : found_) requests.push_back(std::move(request));
  found_.clear();
  return requests;
}

uint64_t FileJournal::Accept(const HttpRequest& http, uint64_t fresh_seed, int64_t now) {
  const uint64_t id = next_id_++;
  if (!status_.ok()) return id;
  pending_ += AcceptRecord(id, http, fresh_seed, now);
  live_[id] = {.segment = segments_.back(), .ended = {}};
  return id;
}

void FileJournal::Add(uint64_t id, size_t prompt, const OutputEvent& event) {
  if (!status_.ok()) return;
  pending_ += EventRecord(id, prompt, event);
}

void FileJournal::End(uint64_t id) {
  if (!status_.ok()) return;
  pending_ += EndRecord(id);
  const auto found = live_.find(id);
  if (found != live_.end()) found->second.ended = Clock::now();
}

void FileJournal::Commit() {
  if (!status_.ok() || pending_.empty()) return;
  if (options_.progress != nullptr) options_.progress->Begin({.phase = "write to the journal"});
  Write();
  if (options_.progress != nullptr) options_.progress->End();
}

void FileJournal::Write() {
  const std::string frame = RecordsFrame(std::exchange(pending_, std::string()));
  const int64_t before = writer_->bytes();
  const absl::Status written = writer_->Append(frame, options_.sync);
  if (!written.ok()) return Fail(written);
  bytes_ += writer_->bytes() - before;
  if (writer_->bytes() < options_.segment_bytes) return;
  const absl::Status begun = BeginSegment();
  if (!begun.ok()) return Fail(begun);
  RemoveOldSegments();
}

// Those whose requests have all ended long ago.
void FileJournal::RemoveOldSegments() {
  const auto now = Clock::now();
  int64_t oldest = segments_.back();
  for (auto it = live_.begin(); it != live_.end();) {
    const bool ended = it->second.ended != Clock::time_point();
    if (ended && now - it->second.ended > std::chrono::seconds(options_.retention_seconds)) {
      it = live_.erase(it);
      continue;
    }
    oldest = std::min(oldest, it->second.segment);
    ++it;
  }
  while (segments_.front() < oldest) {
    std::error_code ignored;
    fs::remove(PathOf(options_.directory, segments_.front()), ignored);
    segments_.erase(segments_.begin());
  }
}

void FileJournal::RemoveOwnSegment() {
  if (!writer_) return;
  std::error_code ignored;
  fs::remove(writer_->path(), ignored);
}

void FileJournal::Fail(const absl::Status& status) {
  status_ = status;
  pending_.clear();
  spdlog::error("the journal ends here, the server goes on: {}", Message(status));
}

}  // namespace folkmoot
