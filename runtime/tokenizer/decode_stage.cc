// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/decode_stage.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

class ByteLevelStage final : public DecodeStage {
 public:
  void Push(std::string_view token, Sink sink) override {
    bytes_.clear();
    for (size_t at = 0; at < token.size();) {
      const Utf8Char c = ReadUtf8(token, at);
      const int byte = alphabet_.ToByte(c.code);
      if (byte < 0) {
        bytes_ = token;
        break;
      }
      bytes_.push_back(static_cast<char>(byte));
      at += c.length;
    }
    text_.clear();
    repairer_.Push(bytes_, &text_);
    if (!text_.empty()) sink(text_);
  }
  void Finish(Sink sink) override {
    text_.clear();
    repairer_.Finish(&text_);
    if (!text_.empty()) sink(text_);
  }

 private:
  ByteAlphabet alphabet_;
  Utf8Repairer repairer_;
  std::string bytes_, text_;  // of the call, kept for their memory
};

class ByteFallbackStage final : public DecodeStage {
 public:
  void Push(std::string_view token, Sink sink) override {
    if (const std::optional<char> byte = ParseByte(token)) {
      run_.push_back(*byte);
      return;
    }
    Finish(sink);
    sink(token);
  }
  void Finish(Sink sink) override {
    if (run_.empty()) return;
    const std::string run = std::exchange(run_, {});
    if (IsValid(run)) {
      sink(run);
    } else {
      for (size_t i = 0; i < run.size(); ++i) sink(kReplacementCharacter);
    }
  }

 private:
  static int HexDigit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  static std::optional<char> ParseByte(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    const int high = HexDigit(token[3]);
    const int low = HexDigit(token[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<char>(high * 16 + low);
  }
  static bool IsValid(std::string_view run) {
    for (size_t at = 0; at < run.size();) {
      const Utf8Char c = ReadUtf8(run, at);
      if (c.state != Utf8State::kValid) return false;
      at += c.length;
    }
    return true;
  }

  std::string run_;
};

class FuseStage final : public DecodeStage {
 public:
  void Push(std::string_view token, Sink sink) override { sink(token); }
};

class JoinStage final : public DecodeStage {
 public:
  void Push(std::string_view token, Sink sink) override {
    if (!std::exchange(first_, false)) sink(" ");
    sink(token);
  }

 private:
  bool first_ = true;
};

class ReplaceStage final : public DecodeStage {
 public:
  ReplaceStage(std::string pattern, std::string content, bool fused)
      : pattern_(std::move(pattern)), content_(std::move(content)), fused_(fused) {}

  void Push(std::string_view token, Sink sink) override {
    if (!fused_) {
      sink(ReplaceAll(token, pattern_, content_));
      return;
    }
    held_ += token;
    const size_t last = LastMatchEnd();
    size_t keep = std::min(pattern_.size() - 1, held_.size() - last);
    while (keep > 0 &&
           !std::string_view(held_).ends_with(std::string_view(pattern_).substr(0, keep))) {
      --keep;
    }
    const std::string_view ready = std::string_view(held_).substr(0, held_.size() - keep);
    const std::string replaced = ReplaceAll(ready, pattern_, content_);
    held_.erase(0, ready.size());
    if (!replaced.empty()) sink(replaced);
  }
  void Finish(Sink sink) override {
    if (!held_.empty()) sink(std::exchange(held_, {}));
  }

 private:
  size_t LastMatchEnd() const {
    size_t end = 0;
    for (size_t at = held_.find(pattern_); at != std::string::npos;
         at = held_.find(pattern_, end)) {
      end = at + pattern_.size();
    }
    return end;
  }

  std::string pattern_, content_;
  bool fused_;
  std::string held_;  // may be the beginning of a match
};

class StripStage final : public DecodeStage {
 public:
  StripStage(std::string character, size_t start, size_t stop, bool fused)
      : character_(std::move(character)), start_(start), stop_(stop), fused_(fused), lead_(start) {}

  void Push(std::string_view token, Sink sink) override {
    if (!fused_) {
      lead_ = start_;
      held_.clear();
    }
    while (lead_ > 0 && token.starts_with(character_)) {
      token.remove_prefix(character_.size());
      --lead_;
    }
    if (token.empty()) {
      if (!fused_) sink(token);  // an empty token still is one
      return;
    }
    lead_ = 0;
    held_ += token;
    size_t end = held_.size();
    for (size_t i = 0; i < stop_ && HeldEndsHere(end); ++i) end -= character_.size();
    sink(std::string_view(held_).substr(0, end));
    held_.erase(0, end);
  }

 private:
  bool HeldEndsHere(size_t end) const {
    return std::string_view(held_).substr(0, end).ends_with(character_);
  }

  std::string character_;
  size_t start_, stop_;
  bool fused_;
  size_t lead_;       // leading characters that may still go
  std::string held_;  // trailing characters, which go if nothing follows
};

class MetaspaceStage final : public DecodeStage {
 public:
  MetaspaceStage(std::string replacement, bool drop_in_first)
      : replacement_(std::move(replacement)), drop_(drop_in_first) {}

  void Push(std::string_view token, Sink sink) override {
    sink(ReplaceAll(token, replacement_, std::exchange(drop_, false) ? "" : " "));
  }

 private:
  std::string replacement_;
  bool drop_;  // this is the first token
};

}  // namespace

std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, done)) {
    out.append(text, done, at - done);
    out += content;
    done = at + pattern.size();
  }
  out.append(text, done);
  return out;
}

std::unique_ptr<DecodeStage> NewByteLevelStage() { return std::make_unique<ByteLevelStage>(); }
std::unique_ptr<DecodeStage> NewByteFallbackStage() {
  return std::make_unique<ByteFallbackStage>();
}
std::unique_ptr<DecodeStage> NewFuseStage() { return std::make_unique<FuseStage>(); }
std::unique_ptr<DecodeStage> NewJoinStage() { return std::make_unique<JoinStage>(); }
std::unique_ptr<DecodeStage> NewReplaceStage(std::string pattern, std::string content, bool fused) {
  return std::make_unique<ReplaceStage>(std::move(pattern), std::move(content), fused);
}
std::unique_ptr<DecodeStage> NewStripStage(std::string character, size_t start, size_t stop,
                                           bool fused) {
  return std::make_unique<StripStage>(std::move(character), start, stop, fused);
}
std::unique_ptr<DecodeStage> NewMetaspaceStage(std::string replacement, bool drop_in_first) {
  return std::make_unique<MetaspaceStage>(std::move(replacement), drop_in_first);
}

}  // namespace folkmoot
