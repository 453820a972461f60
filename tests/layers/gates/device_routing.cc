// SPDX-License-Identifier: Apache-2.0
#include "tests/layers/gates/device_routing.h"

#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "parallel/thread_communicator.h"

namespace folkmoot {
namespace {

// The first and last page of a sequence that rows of this step lie in.
struct PageRange {
  int64_t first, last;
};
PageRange PagesOf(const GateSequence& sequence, int page_size) {
  if (page_size == 0 || sequence.rows == 0) return {0, -1};
  return {sequence.start / page_size, (sequence.start + sequence.rows - 1) / page_size};
}

// Makes counters complete: zeros where nothing was given, -1 in pages.
void Prepare(const GateConfig& config, const GateRows& rows, RoutedCounters* counters) {
  const auto experts = static_cast<size_t>(config.num_experts);
  counters->taken.resize(rows.sequences.size());
  counters->pages.clear();
  for (size_t s = 0; s < rows.sequences.size(); ++s) {
    counters->taken[s].resize(experts, 0);
    const PageRange range = PagesOf(rows.sequences[s], counters->page_size);
    counters->pages.emplace_back(static_cast<size_t>(range.last - range.first + 1),
                                 std::vector<int32_t>(experts, -1));
  }
}

std::vector<uint64_t> StreamsOf(const GateRows& rows) {
  if (!rows.streams.empty()) return rows.streams;
  return std::vector<uint64_t>(static_cast<size_t>(rows.rows), rows.stream);
}

// Device memory of a test; the first error fails it.
class Uploads {
 public:
  explicit Uploads(cuda::Stream& stream) : stream_(stream) {}

  template <typename T>
  T* Add(const std::vector<T>& values) {
    if (values.empty()) return nullptr;
    auto memory = cuda::Memory::Allocate(static_cast<int64_t>(values.size() * sizeof(T)), "a test");
    EXPECT_TRUE(memory.ok()) << Message(memory.status());
    cuda::CopyToDevice(stream_, memory->data(), values.data(), memory->bytes());
    EXPECT_TRUE(stream_.Synchronize().ok()) << Message(stream_.status());
    held_.push_back(std::move(*memory));
    return held_.back().As<T>();
  }
  template <typename T>
  std::vector<T> Read(const T* from, size_t count) {
    std::vector<T> values(count);
    if (count > 0) {
      cuda::CopyToHost(stream_, values.data(), from, static_cast<int64_t>(count * sizeof(T)));
    }
    EXPECT_TRUE(stream_.Synchronize().ok()) << Message(stream_.status());
    return values;
  }

 private:
  cuda::Stream& stream_;
  std::vector<cuda::Memory> held_;
};

cuda::StepRows RowsOnDevice(const GateRows& rows, int launched, Uploads* uploads) {
  const auto count = static_cast<size_t>(launched);
  const auto real = static_cast<size_t>(rows.rows);
  std::vector<int32_t> ids(count, 0);
  std::vector<int32_t> positions(count, 0);
  std::vector<int32_t> sequence(count, -1);
  std::vector<uint64_t> streams = StreamsOf(rows);
  streams.resize(count);
  std::copy(rows.token_ids.begin(), rows.token_ids.end(), ids.begin());
  for (size_t s = 0; s < rows.sequences.size(); ++s) {
    for (int64_t i = 0; i < rows.sequences[s].rows; ++i) {
      const auto row = static_cast<size_t>(rows.sequences[s].first_row + i);
      positions[row] = static_cast<int32_t>(rows.sequences[s].start + i);
      const bool valid = rows.valid.empty() || rows.valid[row] != 0;
      sequence[row] = valid ? static_cast<int32_t>(s) : -1;
    }
  }
  cuda::StepRows step;
  step.rows = launched;
  step.valid = uploads->Add(std::vector<int32_t>{static_cast<int32_t>(real)});
  step.token_ids = uploads->Add(ids);
  step.positions = uploads->Add(positions);
  step.sequence = uploads->Add(sequence);
  step.streams = uploads->Add(streams);
  return step;
}

// Rows by admission order, then position.
std::vector<int32_t> ArrivalOf(const GateRows& rows) {
  std::vector<std::pair<int64_t, int64_t>> key(static_cast<size_t>(rows.rows));
  for (const GateSequence& sequence : rows.sequences) {
    for (int64_t i = 0; i < sequence.rows; ++i) {
      key[static_cast<size_t>(sequence.first_row + i)] = {sequence.order, sequence.start + i};
    }
  }
  std::vector<int32_t> arrival(key.size());
  std::iota(arrival.begin(), arrival.end(), 0);
  std::stable_sort(arrival.begin(), arrival.end(), [&](int32_t a, int32_t b) {
    return key[static_cast<size_t>(a)] < key[static_cast<size_t>(b)];
  });
  return arrival;
}

cuda::StepSequences SequencesOnDevice(const GateRows& rows, int page_size, Uploads* uploads) {
  cuda::StepSequences step;
  std::vector<int32_t> first_row, count, start;
  int64_t most_pages = 1;
  for (const GateSequence& sequence : rows.sequences) {
    first_row.push_back(static_cast<int32_t>(sequence.first_row));
    count.push_back(static_cast<int32_t>(sequence.rows));
    start.push_back(static_cast<int32_t>(sequence.start));
    most_pages = std::max(most_pages, PagesOf(sequence, page_size).last + 1);
  }
  const auto real = static_cast<int32_t>(rows.sequences.size());
  for (auto* values : {&first_row, &count, &start}) values->push_back(12345);  // padding
  // Pages in the order of the sequences, behind one that nobody has.
  std::vector<int32_t> blocks(rows.sequences.size() * static_cast<size_t>(most_pages) + 1, 0);
  int32_t next = 1;
  for (size_t s = 0; s < rows.sequences.size(); ++s) {
    const PageRange range = PagesOf(rows.sequences[s], page_size);
    for (int64_t page = range.first; page <= range.last; ++page) {
      blocks[s * static_cast<size_t>(most_pages) + static_cast<size_t>(page)] = next++;
    }
  }
  step.sequences = real + 1;
  step.valid = uploads->Add(std::vector<int32_t>{real});
  step.first_row = uploads->Add(first_row);
  step.rows = uploads->Add(count);
  step.start = uploads->Add(start);
  step.blocks = uploads->Add(blocks);
  step.block_stride = static_cast<int>(most_pages);
  return step;
}

// Counters lie in device memory in reverse order of the sequences, with a gap between them.
struct CountersOnDevice {
  cuda::ChunkCounters counters;
  size_t taken_words = 0;
  size_t page_words = 0;
};
CountersOnDevice UploadCounters(const GateConfig& config, const RoutedCounters& counters,
                                Uploads* uploads) {
  const auto experts = static_cast<size_t>(config.num_experts);
  const size_t stride = experts + 3;
  const size_t sequences = counters.taken.size();
  CountersOnDevice result;
  std::vector<int32_t> index, taken((sequences + 1) * stride, -77);
  size_t pages = 1;
  for (size_t s = 0; s < sequences; ++s) {
    const size_t place = sequences - 1 - s;
    index.push_back(static_cast<int32_t>(place));
    std::copy(counters.taken[s].begin(), counters.taken[s].end(),
              taken.begin() + static_cast<ptrdiff_t>(place * stride));
    pages += counters.pages[s].size();
  }
  result.taken_words = taken.size();
  result.counters.taken = uploads->Add(taken);
  result.counters.index = uploads->Add(index);
  result.counters.stride = static_cast<int64_t>(stride);
  if (counters.page_size == 0) return result;
  result.page_words = pages * stride;
  result.counters.page_taken = uploads->Add(std::vector<int32_t>(result.page_words, -1));
  result.counters.page_stride = static_cast<int64_t>(stride);
  result.counters.page_size = counters.page_size;
  return result;
}

void ReadCounters(const CountersOnDevice& from, Uploads* uploads, RoutedCounters* to) {
  const auto stride = static_cast<size_t>(from.counters.stride);
  const std::vector<int32_t> taken = uploads->Read(from.counters.taken, from.taken_words);
  const std::vector<int32_t> pages = uploads->Read(from.counters.page_taken, from.page_words);
  const auto cut = [&](const std::vector<int32_t>& words, size_t place, std::vector<int32_t>* out) {
    const auto begin = words.begin() + static_cast<ptrdiff_t>(place * stride);
    std::copy(begin, begin + static_cast<ptrdiff_t>(out->size()), out->begin());
  };
  size_t page = 1;
  for (size_t s = 0; s < to->taken.size(); ++s) {
    cut(taken, to->taken.size() - 1 - s, &to->taken[s]);
    for (std::vector<int32_t>& counters : to->pages[s]) cut(pages, page++, &counters);
  }
}

}  // namespace

RoutedRows RouteOnHost(const GateConfig& config, const GateRows& rows, RoutedCounters* counters) {
  Prepare(config, rows, counters);
  std::vector<GateSequence> sequences = rows.sequences;
  std::vector<std::vector<int32_t*>> page_ends(sequences.size());
  for (size_t s = 0; s < sequences.size(); ++s) {
    sequences[s].taken = counters->taken[s];
    sequences[s].page_size = counters->page_size;
    for (auto& page : counters->pages[s]) page_ends[s].push_back(page.data());
    sequences[s].page_ends = page_ends[s];
  }
  const std::vector<uint64_t> streams = StreamsOf(rows);
  Workspace workspace;
  const auto routing =
      MakeGate(config)->Route({.logits = {rows.logits.data(), rows.rows, config.num_experts},
                               .sequences = sequences,
                               .streams = streams,
                               .token_ids = rows.token_ids,
                               .layer = rows.layer,
                               .uniforms = rows.uniforms,
                               .valid = rows.valid},
                              *MakeThreadCommunicators(1).front(), workspace);
  EXPECT_TRUE(routing.ok()) << Message(routing.status());
  RoutedRows result;
  if (!routing.ok()) return result;
  result.expert.assign(routing->expert.begin(), routing->expert.end());
  result.place.assign(routing->place.begin(), routing->place.end());
  result.weight.assign(routing->weight.begin(), routing->weight.end());
  for (const SlotState state : routing->state) result.state.push_back(static_cast<uint8_t>(state));
  for (const SlotAction action : routing->action) {
    result.action.push_back(static_cast<uint8_t>(action));
  }
  result.bad.assign(routing->bad.begin(), routing->bad.end());
  return result;
}

RoutedRows RouteOnDevice(cuda::Stream& stream, const GateConfig& config, const GateRows& rows,
                         const DeviceRun& run, RoutedCounters* counters) {
  Prepare(config, rows, counters);
  const int launched = static_cast<int>(rows.rows) + run.padding;
  auto gate = DeviceGate::Create(stream, config, launched);
  EXPECT_TRUE(gate.ok()) << Message(gate.status());
  Uploads uploads(stream);
  const auto padded = static_cast<size_t>(launched);
  const size_t choices = padded * static_cast<size_t>(config.top_k);

  cuda::RoutingInput input;
  input.rows = RowsOnDevice(rows, launched, &uploads);
  input.sequences = SequencesOnDevice(rows, counters->page_size, &uploads);
  const CountersOnDevice on_device = UploadCounters(config, *counters, &uploads);
  if (config.NeedsChunkCounters()) input.counters = on_device.counters;
  input.arrival = uploads.Add(ArrivalOf(rows));
  const auto width = rows.rows == 0 ? 0 : rows.uniforms.size() / static_cast<size_t>(rows.rows);
  std::vector<float> uniforms = rows.uniforms;
  uniforms.resize(padded * width, 0.5f);
  input.uniforms = uploads.Add(uniforms);
  input.uniforms_per_row = static_cast<int>(width);

  cuda::RoutingRef routing;
  routing.rows = launched;
  routing.k = config.top_k;
  routing.expert = uploads.Add(std::vector<int32_t>(choices, -9));
  routing.weight = uploads.Add(std::vector<float>(choices, -9.0f));
  routing.state = uploads.Add(std::vector<uint8_t>(choices, 99));
  routing.action = uploads.Add(std::vector<uint8_t>(choices, 99));
  routing.bad = uploads.Add(std::vector<uint8_t>(padded, 99));
  if (run.places) {
    routing.place = uploads.Add(std::vector<int32_t>(choices, -9));
    routing.raw = uploads.Add(std::vector<double>(choices, -9.0));
  }
  // What padding rows hold is nobody's business.
  std::vector<float> logits = rows.logits;
  logits.resize(padded * static_cast<size_t>(config.num_experts), -3.0e38f);
  cuda::RouteRows(stream, gate->Params(rows.layer), input, uploads.Add(logits), routing);

  RoutedRows result;
  const size_t real = static_cast<size_t>(rows.rows * config.top_k);
  result.expert = uploads.Read(routing.expert, real);
  result.weight = uploads.Read(routing.weight, choices);
  result.state = uploads.Read(routing.state, choices);
  result.action = uploads.Read(routing.action, choices);
  result.bad = uploads.Read(routing.bad, padded);
  result.place = uploads.Read(routing.place, run.places ? choices : 0);
  for (size_t c = real; c < choices; ++c) {  // padding: nothing is done, nothing taken
    EXPECT_EQ(result.state[c], 1);
    EXPECT_EQ(result.action[c], 0);
    EXPECT_EQ(result.weight[c], 0.0f);
    EXPECT_EQ(run.places ? result.place[c] : -1, -1);
  }
  for (size_t r = static_cast<size_t>(rows.rows); r < padded; ++r) EXPECT_EQ(result.bad[r], 0);
  result.weight.resize(real);
  result.state.resize(real);
  result.action.resize(real);
  if (run.places) result.place.resize(real);
  result.bad.resize(static_cast<size_t>(rows.rows));
  if (config.NeedsChunkCounters()) ReadCounters(on_device, &uploads, counters);
  return result;
}

}  // namespace folkmoot
