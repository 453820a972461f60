// SPDX-License-Identifier: Apache-2.0
// Whether the time of a key's comparison tells anything about the key: Welch's t between two kinds
// of attempts that take turns at random, as dudect does it (Reparaz, Balasch, Verbauwhede 2017).
// |t| under 4.5 over a million attempts: no difference was found. Exit status 1: one was.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "launch/http/api_keys.h"

namespace folkmoot {
namespace {

constexpr int kAttempts = 1000000;
constexpr double kMostT = 4.5;
// Slower ones are the machine's, not the comparison's: a tick, another process.
constexpr double kKept = 0.9;

struct Sample {
  int kind;
  int64_t nanoseconds;
};

double WelchT(const std::vector<Sample>& samples, int64_t most) {
  double count[2] = {}, mean[2] = {}, squares[2] = {};
  for (const Sample& sample : samples) {
    if (sample.nanoseconds > most) continue;
    const int k = sample.kind;
    const auto value = static_cast<double>(sample.nanoseconds);
    const double delta = value - mean[k];
    mean[k] += delta / ++count[k];
    squares[k] += delta * (value - mean[k]);
  }
  const double error =
      squares[0] / (count[0] * (count[0] - 1)) + squares[1] / (count[1] * (count[1] - 1));
  return error > 0 ? (mean[0] - mean[1]) / std::sqrt(error) : 0;
}

// `attempts` of one length, so that only what is in them differs.
bool Compare(const char* name, const ApiKeys& keys, const std::string (&attempts)[2]) {
  std::mt19937 random(7);
  std::vector<Sample> samples;
  samples.reserve(kAttempts);
  uint64_t allowed = 0;
  for (int i = 0; i < kAttempts; ++i) {
    const int kind = static_cast<int>(random() & 1U);
    const auto begin = std::chrono::steady_clock::now();
    allowed += static_cast<uint64_t>(keys.Allows(attempts[kind]));
    const auto end = std::chrono::steady_clock::now();
    samples.push_back({kind, std::chrono::nanoseconds(end - begin).count()});
  }
  std::vector<int64_t> times;
  for (const Sample& sample : samples) times.push_back(sample.nanoseconds);
  const auto cut =
      times.begin() + static_cast<ptrdiff_t>(kKept * static_cast<double>(times.size()));
  std::nth_element(times.begin(), cut, times.end());
  const double t = WelchT(samples, *cut);
  std::printf("%-36s t = %6.2f   (%d attempts, %llu allowed, 90 %% within %lld ns)\n", name, t,
              kAttempts, static_cast<unsigned long long>(allowed), static_cast<long long>(*cut));
  return std::abs(t) < kMostT;
}

int Main() {
  const std::string key = "sk-4f1b9c03d2e87a6655aa01bc77de9f10";
  const ApiKeys keys({"sk-another-key-that-is-not-sent-00", key});
  std::string first = key, last = key;
  first.front() = 'x';
  last.back() = 'x';
  bool good = true;
  good &=
      Compare("wrong at the first and the last byte", keys, {"Bearer " + first, "Bearer " + last});
  good &= Compare("wrong and right", keys, {"Bearer " + first, "Bearer " + key});
  return good ? 0 : 1;
}

}  // namespace
}  // namespace folkmoot

int main() { return folkmoot::Main(); }
