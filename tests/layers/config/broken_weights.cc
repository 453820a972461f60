// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <functional>

#include "tests/layers/config/broken_models.h"
#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr char kWeights[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape,
                     offsets);
}

// One tensor 'w' in a file with so many bytes of data.
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets,
                size_t data) {
  return SafetensorsBytes("{" + Entry("w", dtype, shape, offsets) + "}", std::string(data, 'x'));
}

// The header as it is.
std::string Header(const std::string& header, size_t data = 0) {
  return SafetensorsBytes(header, std::string(data, 'x'));
}

std::string Many(int tensors, const std::function<std::string(int)>& entry) {
  std::string header = "{";
  for (int i = 0; i < tensors; ++i) header += (i > 0 ? "," : "") + entry(i);
  return header + "}";
}

BrokenModel Weights(std::string name, std::string file, std::vector<std::string> named,
                    absl::StatusCode code = kInvalid, std::string known = "") {
  named.insert(named.begin(), kWeights);
  return {.name = std::move(name),
          .files = {{kWeights, std::move(file)}},
          .named = std::move(named),
          .code = code,
          .known = std::move(known)};
}

void AddLengths(std::vector<BrokenModel>* table) {
  const auto length = [](uint64_t n) { return SafetensorsBytes("{}", "", n); };
  const char* kRules = "safetensors: header <= 100 MB";
  table->push_back(Weights("empty file", "", {"empty"}, kDataLoss));
  for (const size_t size : {1, 4, 7}) {
    table->push_back(
        Weights(fmt::format("{} bytes", size), std::string(size, '\0'), {"truncated"}, kDataLoss));
  }
  table->push_back(Weights("header of 0 bytes", length(0), {"not JSON"}, kInvalid, kRules));
  table->push_back(Weights("header of 1 byte", length(1), {"not JSON"}, kInvalid, kRules));
  table->push_back(Weights("header of 7 bytes", length(7), {"truncated"}, kDataLoss, kRules));
  for (const uint64_t n : {uint64_t{100'000'001}, uint64_t{1} << 31, uint64_t{1} << 32,
                           uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{7}}) {
    table->push_back(Weights(fmt::format("header of {} bytes", n), length(n), {"over the limit"},
                             kInvalid, kRules));
  }
  table->push_back(Weights("header of 100 MB in a small file", length(100'000'000), {"truncated"},
                           kDataLoss, "CVE-2026-7482"));
}

void AddHeaders(std::vector<BrokenModel>* table) {
  const std::pair<const char*, std::string> kNoJson[] = {
      {"half a header", R"({"w": )"},
      {"two values", "{} {}"},
      {"no UTF-8", "{\"\xff\": 1}"},
      {"a NUL in the text", std::string("{\0}", 3)},
      {"deep lists", std::string(100'000, '[')},
      {"deep objects", Many(1,
                            [](int) {
                              std::string deep;
                              for (int i = 0; i < 50'000; ++i) deep += "\"a\":{";
                              return deep;
                            })},
      {"a number beyond 64 bits", R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,1e400]}})"},
  };
  for (const auto& [name, header] : kNoJson) {
    table->push_back(Weights(name, Header(header), {"not JSON"}));
  }
  table->push_back(Weights("a list", Header("[1]"), {"JSON object"}));
  table->push_back(Weights("a string", Header("\"x\""), {"JSON object"}));
  table->push_back(
      Weights("metadata of numbers", Header(R"({"__metadata__":{"a":1}})"), {"__metadata__"}));
  table->push_back(
      Weights("metadata in a list", Header(R"({"__metadata__":[]})"), {"__metadata__"}));
  for (const char* value : {"3", "null", "[]", "\"x\"", "true"}) {
    table->push_back(Weights(fmt::format("tensor is {}", value),
                             Header(fmt::format(R"({{"w":{}}})", value)), {"'w'", "an object"}));
  }
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    std::string header = "{" + Entry("w", "F32", "[]", "[0,4]") + "}";
    const size_t at = header.find(field);
    table->push_back(Weights(fmt::format("no {}", field), Header(header.replace(at, 1, "X"), 4),
                             {"'w'", "unknown field"}));
  }
  table->push_back(Weights(
      "100,000 tensors, one of them twice",
      Header(
          Many(100'000,
               [](int i) { return Entry(fmt::format("t{}", i % 99'999), "F32", "[0]", "[0,0]"); })),
      {"'t0'", "twice"}, kInvalid, "safetensors: duplicate keys refused"));
}

void AddTypes(std::vector<BrokenModel>* table) {
  for (const char* dtype : {"F4", "f32", "C64", "", "F32\\u0000", "BOOLEAN", "U128"}) {
    table->push_back(Weights(fmt::format("dtype '{}'", dtype), One(dtype, "[1]", "[0,4]", 4),
                             {"'w'", "is not supported"}));
  }
  for (const char* shape : {"1", "null", "\"1\"", "{}"}) {
    table->push_back(
        Weights(fmt::format("shape {}", shape), One("F32", shape, "[0,4]", 4), {"'w'", "'shape'"}));
  }
  for (const char* size : {"-1", "1.5", "\"1\"", "null", "true", "9223372036854775808", "[1]"}) {
    table->push_back(Weights(fmt::format("size {}", size),
                             One("F32", fmt::format("[{}]", size), "[0,4]", 4),
                             {"'w'", "'shape'"}));
  }
  for (const char* offsets :
       {"0", "[]", "[0]", "[0,4,8]", "[-4,0]", "[0,4.5]", "[\"0\",4]", "[null,4]", "{}"}) {
    table->push_back(Weights(fmt::format("offsets {}", offsets), One("F32", "[1]", offsets, 4),
                             {"'w'", "two integers"}));
  }
}

void AddLayouts(std::vector<BrokenModel>* table) {
  const char* kRules = "safetensors: no holes, no overlap";
  const char* kWrap = "mlx#3364";
  for (const char* shape :
       {"[4194305,4194305,211106198978564]", "[4294967296,4294967296]", "[9223372036854775807,2]",
        "[4611686018427387905]", "[65536,65536,65536,65536]"}) {
    table->push_back(Weights(fmt::format("product of {} wraps", shape),
                             One("F32", shape, "[0,4]", 4), {"'w'", "larger than any file"},
                             kInvalid, fmt::format("{}, CVE-2026-27940, CVE-2024-21802", kWrap)));
  }
  table->push_back(Weights("offsets against shape", One("F32", "[2]", "[0,4]", 4),
                           {"'w'", "needs 8 bytes"}, kInvalid, kWrap));
  table->push_back(Weights("offsets reversed", One("F32", "[1]", "[4,0]", 4), {"[4, 0]"}));
  table->push_back(Weights("data past the end", One("F32", "[4]", "[0,16]", 4),
                           {"'w'", "truncated"}, kDataLoss, "CVE-2026-7482"));
  table->push_back(Weights("1 GB in a small file", One("F32", "[268435456]", "[0,1073741824]", 4),
                           {"'w'", "truncated"}, kDataLoss, "CVE-2026-7482"));
  table->push_back(Weights("offsets at 2^64",
                           One("U8", "[4]", "[18446744073709551611,18446744073709551615]", 4),
                           {"'w'", "truncated"}, kDataLoss, "CVE-2026-7482"));
  const auto two = [&](const char* first, const char* second, size_t data) {
    return Header(
        "{" + Entry("a", "F32", "[1]", first) + "," + Entry("b", "F32", "[1]", second) + "}", data);
  };
  table->push_back(
      Weights("overlap", two("[0,4]", "[2,6]", 6), {"'a' and 'b' overlap"}, kInvalid, kRules));
  table->push_back(
      Weights("the same bytes twice", two("[0,4]", "[0,4]", 4), {"overlap"}, kInvalid, kRules));
  table->push_back(Weights("a hole", two("[0,4]", "[8,12]", 12), {"4 bytes before tensor 'b'"},
                           kInvalid, kRules));
  table->push_back(Weights("a hole in front", One("F32", "[1]", "[4,8]", 8),
                           {"4 bytes before tensor 'w'"}, kInvalid, kRules));
  table->push_back(Weights("bytes behind", One("F32", "[1]", "[0,4]", 9),
                           {"5 bytes after the last"}, kInvalid, kRules));
  table->push_back(Weights("an empty tensor inside of another",
                           Header("{" + Entry("a", "F32", "[2]", "[0,8]") + "," +
                                      Entry("b", "F32", "[0]", "[4,4]") + "}",
                                  8),
                           {"overlap"}, kInvalid, kRules));
  table->push_back(Weights("the same name twice",
                           Header("{" + Entry("a", "F32", "[1]", "[0,4]") + "," +
                                      Entry("a", "F32", "[1]", "[4,8]") + "}",
                                  8),
                           {"'a'", "twice"}, kInvalid, "safetensors: duplicate keys refused"));
}

BrokenModel Index(std::string name, std::string index, std::vector<std::string> named,
                  absl::StatusCode code = kInvalid, std::string known = "") {
  return {.name = std::move(name),
          .files = {{kIndex, std::move(index)}},
          .named = std::move(named),
          .code = code,
          .known = std::move(known),
          .missing = {kWeights}};
}

void AddIndexes(std::vector<BrokenModel>* table) {
  const std::pair<const char*, const char*> kNoIndex[] = {
      {"index is half", "{"},
      {"index is a list", "[]"},
      {"index without weight_map", "{}"},
      {"weight_map is a list", R"({"weight_map": []})"},
      {"weight_map is empty", R"({"weight_map": {}})"},
      {"shard is a number", R"({"weight_map": {"w": 1}})"},
      {"shard is null", R"({"weight_map": {"w": null}})"},
      {"tensor twice", R"({"weight_map": {"w": "a", "w": "a"}})"},
  };
  for (const auto& [name, text] : kNoIndex) table->push_back(Index(name, text, {kIndex}));
  table->push_back(Index("index is empty", "", {kIndex, "empty"}, kDataLoss));
  table->push_back(Index("index is deep", std::string(100'000, '['), {kIndex, "not JSON"}));
  for (const char* path : {"../secret", "../../etc/passwd", "/etc/passwd", "a/b", "./a", ".", "..",
                           "a..b", "", "a\\u0000b", "/"}) {
    table->push_back(Index(fmt::format("shard '{}'", path),
                           fmt::format(R"({{"weight_map": {{"w": "{}"}}}})", path),
                           {kIndex, "own directory"}, kInvalid, "index: path traversal"));
  }
  table->push_back(Index("shard is missing", R"({"weight_map": {"w": "gone.safetensors"}})",
                         {"gone.safetensors"}, absl::StatusCode::kNotFound));
  BrokenModel other =
      Index("tensor is not in its shard", R"({"weight_map": {"other": "a.safetensors"}})",
            {"'other'"}, kDataLoss);
  other.files["a.safetensors"] = One("F32", "[1]", "[0,4]", 4);
  table->push_back(other);
  table->push_back({.name = "no weights",
                    .named = {"model"},
                    .code = absl::StatusCode::kNotFound,
                    .missing = {kWeights}});
}

}  // namespace

std::vector<BrokenModel> BrokenWeights() {
  std::vector<BrokenModel> table;
  AddLengths(&table);
  AddHeaders(&table);
  AddTypes(&table);
  AddLayouts(&table);
  AddIndexes(&table);
  return table;
}

}  // namespace folkmoot
