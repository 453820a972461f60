// SPDX-License-Identifier: Apache-2.0
// What we may do on an output stream, and how numbers are written for people.
//
// Results go to stdout and everything for people to stderr, so it is mostly stderr that is asked
// about. Pure functions return strings; only DetectTerminal looks at the world.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace folkmoot {

struct Terminal {
  bool live = false;     // a person watches: a line may be rewritten in place
  int columns = 80;      // width to stay within
  bool color = false;    // ANSI colours are welcome
  bool unicode = false;  // block characters are understood
};

// Value of an environment variable; empty when it is not set.
using Environment = std::function<std::string(const char* name)>;

// The decision, from facts. `columns` <= 0: unknown. NO_COLOR (any value) turns colours off,
// TERM=dumb turns off colours and rewriting, and Unicode needs a UTF-8 locale (LC_ALL, LC_CTYPE,
// LANG in this order).
Terminal DecideTerminal(bool is_terminal, int columns, const Environment& environment);

// Asks the system about file descriptor 1 or 2. Under mpirun a rank's own streams are pipes (or a
// pseudo-terminal that ends in a file), so there mpirun's streams are asked, through /proc.
Terminal DetectTerminal(int fd);

// "512 B", "3.4 kB", "1.25 GB": powers of 1000, three significant digits.
std::string FormatBytes(double bytes);
// "850 us", "12.3 ms", "4.56 s", "3 min 20 s", "2 h 05 min".
std::string FormatSeconds(double seconds);
// "1,234,567".
std::string FormatCount(int64_t count);
// Three significant digits, no exponent: "0.0123", "4.56", "78.9", "1,235".
std::string FormatNumber(double value);
// "46.7 tokens/s"; "-" when `seconds` is not positive.
std::string FormatRate(double amount, double seconds, std::string_view unit);

// A horizontal bar of exactly `width` columns for fraction in [0, 1]: eighths of a block in Unicode
// ("███▍    "), '#' in ASCII ("###     "). A fraction above zero shows at least a sliver.
std::string HorizontalBar(double fraction, int width, bool unicode);

// Columns that UTF-8 text takes: one per code point (no wide or combining characters in our
// output).
int DisplayWidth(std::string_view text);

// The text with ANSI codes around it when the terminal takes colours.
std::string Bold(std::string_view text, const Terminal& terminal);
std::string Dim(std::string_view text, const Terminal& terminal);

}  // namespace folkmoot
