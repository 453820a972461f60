// SPDX-License-Identifier: Apache-2.0
// The texts of tokens in, text out. There is only this incremental form; decoding everything is
// pushing everything, so the two cannot differ.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

class DecodeStage;

// The state of one decoding. One thread at a time.
class DecodeStream {
 public:
  explicit DecodeStream(std::vector<std::unique_ptr<DecodeStage>> stages);
  DecodeStream(DecodeStream&&) noexcept;
  DecodeStream& operator=(DecodeStream&&) noexcept;
  ~DecodeStream();
  DecodeStream(const DecodeStream&) = delete;
  DecodeStream& operator=(const DecodeStream&) = delete;

  // Appends to `out` the text that is certain after this token: always whole characters.
  void Push(std::string_view token, std::string* out);
  // Appends what was held back. The stream ends here.
  void Finish(std::string* out);

 private:
  void Run(size_t stage, std::string_view token, std::string* out);

  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

}  // namespace folkmoot
