// SPDX-License-Identifier: Apache-2.0
#include "tests/scheduler/fake_model.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {

uint64_t RootState(const std::string& gate, int64_t sequence, std::span<const int32_t> source) {
  uint64_t state = 17 + source.size();
  for (const int32_t token : source) state = NextState(state, token);
  for (const char letter : gate) state = Mix(state, static_cast<uint64_t>(letter));
  return gate == kPrivateGate ? Mix(state, static_cast<uint64_t>(sequence)) : state;
}

int32_t SampleToken(uint64_t state, uint64_t seed, std::span<const uint32_t> allowed) {
  const uint64_t drawn = Mix(state, seed);
  const bool dull = seed == 2 && drawn % 8 != 0;
  auto token = static_cast<int32_t>(dull ? 7 : drawn % kFakeVocab);
  if (allowed.empty()) return token;
  for (int64_t i = 0; i < kFakeVocab; ++i) {
    if ((allowed[static_cast<size_t>(token / 32)] >> (token % 32) & 1) != 0) return token;
    token = static_cast<int32_t>((token + 1) % kFakeVocab);
  }
  FM_CHECK(false);  // a mask that allows nothing
  return -1;
}

bool FakeConstraint::FillMask(std::span<uint32_t> mask) {
  ++*masks_;
  std::fill(mask.begin(), mask.end(), 0u);
  const auto allow = [&](int32_t token) {
    mask[static_cast<size_t>(token / 32)] |= uint32_t{1} << (token % 32);
  };
  if (seen_ < length_) {
    for (int32_t token = seen_ % 3; token < kFakeVocab; token += 3) allow(token);
    return true;
  }
  if (end_ >= 0) allow(end_);
  return end_ >= 0;
}

void FakeConstraint::Accept(int32_t token) {
  FM_CHECK(seen_ < length_ && token % 3 == seen_ % 3);
  ++seen_;
}

std::unique_ptr<TokenConstraint> FakeConstraint::Clone() const {
  return std::make_unique<FakeConstraint>(*this);
}

Expected Expect(const Request& request, int32_t choice, int64_t sequence, int64_t output_window) {
  Expected expected;
  std::unique_ptr<TokenConstraint> constraint;
  if (request.constraint != nullptr) constraint = request.constraint->Clone();
  uint64_t state = RootState(request.gate, sequence,
                             std::span(request.prompt).first(static_cast<size_t>(request.source)));
  const int64_t given = std::ssize(request.prompt) - request.written;
  const auto advance = [&](int32_t token) {
    state = RowState(state, token, expected.rows, given, output_window);
    ++expected.rows;
    expected.digest = state;
    return !IsError(request.gate, state);
  };
  const auto end = [&](FinishReason reason) {
    expected.finish = reason;
    return expected;
  };
  std::vector<uint32_t> mask;
  const auto fill = [&] {
    if (constraint == nullptr) return true;
    mask.resize((kFakeVocab + 31) / 32);
    return constraint->FillMask(mask);
  };
  if (request.max_tokens > 0 && !fill()) return end(FinishReason::kStop);
  for (const int32_t token : request.prompt) {
    if (!advance(token)) return end(FinishReason::kError);
  }
  if (request.max_tokens == 0) return end(FinishReason::kLength);
  while (true) {
    const int32_t token =
        SampleToken(state, request.sampling.seed + static_cast<uint64_t>(choice), mask);
    expected.tokens.push_back(token);
    const auto& stops = request.stop_ids;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      return end(FinishReason::kStop);
    }
    if (static_cast<int64_t>(expected.tokens.size()) >= request.max_tokens) {
      return end(FinishReason::kLength);
    }
    if (constraint != nullptr) constraint->Accept(token);
    if (!fill()) return end(FinishReason::kStop);
    if (!advance(token)) return end(FinishReason::kError);
  }
}

}  // namespace folkmoot
