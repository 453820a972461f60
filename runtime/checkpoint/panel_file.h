// SPDX-License-Identifier: Apache-2.0
// The packed model file that `folkmoot pack` writes: weights as the kernels want them, so that
// loading is mapping. Its pages are shared by all processes of a machine and cost memory when they
// are read.
//
//   "FMPANELS", then from 4096 on the data of the entries, each on a page of its own; then a JSON
//   object that describes them; then its offset and length (8 bytes each, little endian) and
//   "FMPANELS" again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/dtype.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/status.h"

namespace folkmoot {

enum class PanelKind : uint8_t {
  kRows,    // panels of 32 outputs: the rows of its parts, one after the other
  kGateUp,  // panels of 16 gates and their 16 ups: parts are the gate's rows and the up's
  kTable,   // [n, k] row-major, plain, or panels of codes as kRows: read row by row
  kVector,  // [n] float32
};

// The rows first_row .. first_row + rows of a tensor, or of a slice of it.
struct PanelSource {
  std::string name;
  int64_t slice = 0;
  int64_t first_row = 0;
  int64_t rows = 0;

  bool operator==(const PanelSource&) const = default;
};

struct PanelEntry {
  PanelKind kind = PanelKind::kRows;
  std::vector<PanelSource> parts;
  int64_t n = 0;
  int64_t k = 0;
  DType dtype = DType::kF32;      // of plain weights
  std::optional<CodeSpec> codes;  // of quantised ones
  const std::byte* data = nullptr;
  int64_t bytes = 0;
};

// Immutable after Open; any thread. Entries live as long.
class PanelFile {
 public:
  static constexpr std::string_view kName = "model.panels";  // in a model directory

  // Refuses, by file and entry: another version, descriptions that do not fit their bytes, data
  // outside of the file.
  static absl::StatusOr<std::unique_ptr<PanelFile>> Open(const std::string& path);

  // The entry of `kind` that holds these rows, and the part they are in; nullptr: none does.
  const PanelEntry* Find(PanelKind kind, const PanelSource& rows, size_t* part) const;
  const std::vector<PanelEntry>& entries() const { return entries_; }
  const std::string& path() const { return path_; }
  // Of the description: ranks compare it.
  uint64_t Fingerprint() const { return fingerprint_; }

 private:
  PanelFile() = default;

  std::string path_;
  std::optional<MappedFile> file_;
  std::vector<PanelEntry> entries_;
  struct Place {
    size_t entry;
    size_t part;
  };
  absl::flat_hash_map<std::string, std::vector<Place>> places_;  // by kind, name and slice
  uint64_t fingerprint_ = 0;
};

// Writes beside `path` and renames at the end, so that a file of that name is always whole.
class PanelFileWriter {
 public:
  static absl::StatusOr<PanelFileWriter> Create(const std::string& path);
  PanelFileWriter(PanelFileWriter&&) = default;
  PanelFileWriter& operator=(PanelFileWriter&&) = delete;
  PanelFileWriter(const PanelFileWriter&) = delete;
  PanelFileWriter& operator=(const PanelFileWriter&) = delete;
  ~PanelFileWriter();

  // entry.data and .bytes are the data.
  absl::Status Add(const PanelEntry& entry);
  absl::Status Finish();
  int64_t bytes() const { return offset_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  PanelFileWriter() = default;
  absl::Status Write(const void* data, size_t bytes);
  absl::Status PadTo(int64_t multiple);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<std::string> descriptions_;  // JSON objects
  int64_t offset_ = 0;
};

}  // namespace folkmoot
