// SPDX-License-Identifier: Apache-2.0
// A main for fuzz targets without libFuzzer: runs every file of the folder in argv[1], then
// mutations of them that are the same on every run.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutationsPerFile = 2000;
constexpr size_t kMaxEdits = 4;

void Run(const std::string& input) {
  // A copy of exactly this size, so that a sanitizer sees a read past the end.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

// Half of the edits use pieces of JSON, since random bytes seldom get past a parser.
void Edit(std::mt19937& random, std::string& text) {
  static constexpr const char* kPieces[] = {"0",       "-1",        "18446744073709551615",
                                            "1e308",   "\"\"",      "null",
                                            "[]",      "{}",        "true",
                                            "[[[[",    ",",         "\"",
                                            "\\u0000", "1.5",       "}",
                                            "F32",     "4294967296"};
  const size_t at = text.empty() ? 0 : random() % text.size();
  const size_t length = std::min<size_t>(random() % 12, text.size() - at);
  switch (random() % 6) {
    case 0:
      text.erase(at, length);
      break;
    case 1:
      if (!text.empty()) text[at] = static_cast<char>(random() & 0xff);
      break;
    case 2:
      text.insert(at, text.substr(at, length));
      break;
    default:
      text.replace(at, length, kPieces[random() % std::size(kPieces)]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) {
    fmt::print(stderr, "{}: no files to replay\n", argv[1]);
    return 1;
  }
  std::mt19937 random(1);
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::string seed(std::istreambuf_iterator<char>(file), {});
    Run(seed);
    for (int i = 0; i < kMutationsPerFile; ++i) {
      std::string input = seed;
      for (size_t edits = random() % kMaxEdits + 1; edits > 0; --edits) Edit(random, input);
      Run(input);
    }
  }
  fmt::print("{} files, {} mutations of each\n", paths.size(), kMutationsPerFile);
  return 0;
}
