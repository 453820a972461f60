// SPDX-License-Identifier: Apache-2.0
// Takes off the markers between which a model writes its answer.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

struct AnswerFrame {
  std::string_view begin, end;
  // They are lines of their own, of plain text: the line breaks inside of them are not the
  // answer's, and `end` is a marker at the end of a text alone.
  bool lines = false;
};

// Reads what stands behind the reasoning. A text that begins without a marker stays as it is,
// except for an end that is none of `lines`: the prompt may have begun the answer.
class FrameReader {
 public:
  explicit FrameReader(std::span<const AnswerFrame> frames) : frames_(frames) {}

  // Return the text that became certain.
  std::string Push(std::string_view piece);
  std::string Finish();

 private:
  enum class State : uint8_t { kStart, kInside, kBehind, kOutside };

  std::string Run(bool last);
  // Each does what the text at hand allows. False: nothing more until more text comes.
  bool ReadStart(bool last);
  bool ReadInside(bool last, std::string* out);
  bool ReadBehind(bool last);
  // The first `length` bytes are text.
  void Pass(size_t length, std::string* out);

  const std::span<const AnswerFrame> frames_;
  std::vector<std::string_view> ends_;  // of the answer, that it may have
  bool lines_ = false;                  // of its frame
  State state_ = State::kStart;
  std::string buffer_;
};

}  // namespace folkmoot
