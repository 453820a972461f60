// SPDX-License-Identifier: Apache-2.0
// Every field that a request body may have, in one table: what it is, its bounds, and what we do
// with it. The validator, the table of docs/serving.md and the tests of bad values all read it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace folkmoot {

// Bits: a field may belong to several endpoints.
enum Endpoint : uint16_t {
  kCompletions = 1,       // POST /v1/completions
  kChat = 2,              // POST /v1/chat/completions
  kGenerate = 4,          // POST /generate
  kGenerateSampling = 8,  // its "sampling_params"
  kTokenize = 16,         // POST /tokenize
  kDetokenize = 32,       // POST /detokenize
  kEmbeddings = 64,       // POST /v1/embeddings
  kScore = 128,           // POST /score
  kRerank = 256,          // POST /rerank
};

enum class FieldType : uint8_t {
  kInteger,  // min .. max; 2.0 counts as an integer
  kNumber,   // min .. max, finite
  kBoolean,
  kString,    // min .. max bytes
  kStrings,   // a string or a list of min .. max strings
  kIntegers,  // a list of min .. max integers
  kObject,    // min .. max members
  kArray,     // min .. max elements
  kAny,
};

// kRefused: an error that names the field, unless its value asks for nothing (null, false, 0, "",
// [], {}).
enum class FieldUse : uint8_t { kAccepted, kIgnored, kRefused };

struct FieldSpec {  // NOLINT(clang-analyzer-optin.performance.Padding): in the order of the table
  std::string_view name;
  FieldType type;
  double min;
  double max;
  std::string_view fallback;  // the default, for people
  unsigned endpoints;         // of Endpoint
  FieldUse use;
  std::string_view note;
};

// Bounds that no single field can hold.
inline constexpr size_t kMaxPrompts = 2048;    // of one request, texts to compare included
inline constexpr size_t kMaxStopBytes = 1024;  // of one stop string
inline constexpr size_t kMaxBadWordBytes = 256;

std::span<const FieldSpec> FieldTable();
// Null: unknown to this endpoint.
const FieldSpec* FindField(std::string_view name, Endpoint endpoint);

std::string_view Name(FieldType type);
// The table as Markdown, one section for each use.
std::string RenderFieldTable();

}  // namespace folkmoot
