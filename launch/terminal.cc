// SPDX-License-Identifier: Apache-2.0
#include "launch/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>

namespace folkmoot {
namespace {

bool IsUtf8(std::string locale) {
  std::transform(locale.begin(), locale.end(), locale.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

std::string SystemEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

int TerminalColumns(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// The decimals that leave three significant digits of a value in [0, 1000).
int DecimalsFor(double value) {
  if (value >= 99.95) return 0;
  if (value >= 9.995) return 1;
  return 2;
}

std::string Repeat(std::string_view piece, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += piece;
  return out;
}

std::string Ansi(std::string_view code, std::string_view text, const Terminal& terminal) {
  if (!terminal.color) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace

Terminal DecideTerminal(bool is_terminal, int columns, const Environment& environment) {
  Terminal terminal;
  const bool dumb = environment("TERM") == "dumb";
  terminal.live = is_terminal && !dumb;
  terminal.color = terminal.live && environment("NO_COLOR").empty();
  if (columns > 0) terminal.columns = std::clamp(columns, 20, 200);
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = environment(name);
    if (locale.empty()) continue;
    terminal.unicode = IsUtf8(locale);
    break;
  }
  return terminal;
}

Terminal DetectTerminal(int fd) {
  bool is_terminal = isatty(fd) == 1;
  int columns = is_terminal ? TerminalColumns(fd) : 0;
  if (!SystemEnvironment("OMPI_COMM_WORLD_RANK").empty()) {
    // The launcher is our parent; its stream is where our text ends up.
    const std::string path = fmt::format("/proc/{}/fd/{}", getppid(), fd);
    const int launcher = open(path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    is_terminal = launcher >= 0 && isatty(launcher) == 1;
    columns = is_terminal ? TerminalColumns(launcher) : 0;
    if (launcher >= 0) close(launcher);
  }
  return DecideTerminal(is_terminal, columns, SystemEnvironment);
}

std::string FormatBytes(double bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 999.5) return fmt::format("{:.0f} B", bytes);
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000.0;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, DecimalsFor(bytes), kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (seconds < 999.5e-6) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 999.5e-3) {
    return fmt::format("{:.{}f} ms", seconds * 1e3, DecimalsFor(seconds * 1e3));
  }
  if (seconds < 119.5) return fmt::format("{:.{}f} s", seconds, DecimalsFor(seconds));
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 7200) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string FormatCount(int64_t count) {
  std::string digits = fmt::format("{}", count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string FormatNumber(double value) {
  const double magnitude = std::abs(value);
  if (magnitude >= 999.5) return FormatCount(std::llround(value));
  if (magnitude == 0.0) return "0";
  if (magnitude >= 0.995) return fmt::format("{:.{}f}", value, DecimalsFor(magnitude));
  const int decimals = std::min(2 - static_cast<int>(std::floor(std::log10(magnitude))), 9);
  return fmt::format("{:.{}f}", value, decimals);
}

std::string FormatRate(double amount, double seconds, std::string_view unit) {
  if (!(seconds > 0.0)) return "-";
  return fmt::format("{} {}/s", FormatNumber(amount / seconds), unit);
}

std::string HorizontalBar(double fraction, int width, bool unicode) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int steps_per_column = unicode ? 8 : 1;
  const double clamped = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  int steps = static_cast<int>(std::lround(clamped * width * steps_per_column));
  if (clamped > 0.0 && width > 0) steps = std::max(steps, 1);
  std::string bar = Repeat(unicode ? "█" : "#", steps / steps_per_column);
  int used = steps / steps_per_column;
  if (const int rest = steps % steps_per_column; rest > 0) {
    bar += kEighths[static_cast<size_t>(rest)];
    ++used;
  }
  return bar + std::string(static_cast<size_t>(std::max(width - used, 0)), ' ');
}

int DisplayWidth(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string Bold(std::string_view text, const Terminal& terminal) {
  return Ansi("1", text, terminal);
}
std::string Dim(std::string_view text, const Terminal& terminal) {
  return Ansi("2", text, terminal);
}

}  // namespace folkmoot
