// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

constexpr size_t kLongestCluster = 5;

// A unit of the double array. The unit of a node says where its children are: that of the child
// behind a byte has this byte as its label. A node that ends a key has its value at byte 0.
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
size_t Offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200) >> 6); }
bool EndsKey(uint32_t unit) { return (unit & 0x100) != 0; }
size_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }

// For the search of clusters: marks of Unicode 16 and 17 that utf8proc does not know yet are as
// any.
utf8proc_int32_t KnownCode(char32_t code) {
  const bool is_new_mark =
      code == 0x897 || (code >= 0x1ACF && code <= 0x1ADD) || (code >= 0x1AE0 && code <= 0x1AEB);
  return static_cast<utf8proc_int32_t>(is_new_mark ? 0x300 : code);
}

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }
bool IsValidUtf8(std::string_view text) { return RepairUtf8(text) == text; }

}  // namespace

absl::StatusOr<Charsmap> Charsmap::Parse(std::string_view bytes) {
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) return InvalidArgument("the charsmap has no trie");
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size == 0 || size % sizeof(uint32_t) != 0 || size > bytes.size()) {
    return InvalidArgument(
        "the charsmap's trie is to have {} bytes, which are no units of 4 or more than the {} that "
        "are there",
        size, bytes.size());
  }
  Charsmap charsmap;
  charsmap.trie_.resize(size / sizeof(uint32_t));
  std::memcpy(charsmap.trie_.data(), bytes.data(), size);
  charsmap.texts_ = bytes.substr(size);
  if (!IsValidUtf8(charsmap.texts_)) return InvalidArgument("the charsmap's texts are not UTF-8");
  FM_RETURN_IF_ERROR(charsmap.Check());
  return charsmap;
}

// Visits every node, so that Find need not expect values that point nowhere.
absl::Status Charsmap::Check() const {
  std::vector<bool> seen(trie_.size());
  std::vector<size_t> open{0};
  while (!open.empty()) {
    const size_t node = open.back();
    open.pop_back();
    const size_t children = node ^ Offset(trie_[node]);
    for (size_t byte = 1; byte < 256; ++byte) {
      const size_t child = children ^ byte;
      if (child >= trie_.size() || Label(trie_[child]) != byte || seen[child]) continue;
      seen[child] = true;
      open.push_back(child);
      if (EndsKey(trie_[child])) FM_RETURN_IF_ERROR(CheckValue(child));
    }
  }
  return absl::OkStatus();
}

absl::Status Charsmap::CheckValue(size_t node) const {
  const size_t at = node ^ Offset(trie_[node]);
  if (at >= trie_.size()) {
    return InvalidArgument("the charsmap's trie leads to unit {}, and it has {}", at, trie_.size());
  }
  const size_t text = Value(trie_[at]);
  if (text > texts_.size() || (text < texts_.size() && IsContinuation(texts_[text]))) {
    return InvalidArgument(
        "a key of the charsmap stands for the text at byte {}, and no text begins there", text);
  }
  return absl::OkStatus();
}

std::optional<std::string_view> Charsmap::Find(std::string_view text) const {
  size_t node = 0;
  for (const char byte : text) {
    const auto label = static_cast<uint8_t>(byte);
    const size_t child = node ^ Offset(trie_[node]) ^ label;
    if (label == 0 || child >= trie_.size() || Label(trie_[child]) != label) break;
    node = child;
    if (!EndsKey(trie_[node])) continue;
    const std::string_view found =
        std::string_view(texts_).substr(Value(trie_[node ^ Offset(trie_[node])]));
    return found.substr(0, found.find('\0'));
  }
  return std::nullopt;
}

void Charsmap::AppendCluster(std::string_view cluster, std::string* out) const {
  if (cluster.size() <= kLongestCluster) {
    if (const auto text = Find(cluster)) {
      out->append(*text);
      return;
    }
  }
  for (size_t at = 0; at < cluster.size();) {
    const std::string_view character = cluster.substr(at, ReadUtf8(cluster, at).length);
    out->append(Find(character).value_or(character));
    at += character.size();
  }
}

std::string Charsmap::Apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  utf8proc_int32_t previous = 0;
  utf8proc_int32_t state = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text, at);
    const utf8proc_int32_t code = KnownCode(c.code);
    if (at > begin && utf8proc_grapheme_break_stateful(previous, code, &state)) {
      AppendCluster(text.substr(begin, at - begin), &out);
      begin = at;
    }
    previous = code;
    at += c.length;
  }
  if (begin < text.size()) AppendCluster(text.substr(begin), &out);
  return out;
}

}  // namespace folkmoot
