// SPDX-License-Identifier: Apache-2.0
#include "tests/launch/metrics/exposition.h"

#include <algorithm>
#include <cstdlib>
#include <regex>
#include <sstream>

namespace folkmoot {
namespace {

const char kLabel[] = R"re(([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)")re";

// The family of a sample: its name, or that of a histogram without the suffix.
std::string FamilyOf(const Exposition& seen, const std::string& sample) {
  if (seen.families.count(sample) > 0 && seen.families.at(sample).type != "histogram") {
    return sample;
  }
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    const std::string text = suffix;
    if (sample.size() <= text.size() || !sample.ends_with(text)) continue;
    const std::string family = sample.substr(0, sample.size() - text.size());
    const auto found = seen.families.find(family);
    if (found != seen.families.end() && found->second.type == "histogram") return family;
  }
  return "";
}

void ReadSample(const std::string& line, const std::string& current, Exposition* out) {
  static const std::regex kSample(R"(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? ([^ ]+))");
  static const std::regex kLabels(std::string("(") + kLabel + "(,|$))*");
  static const std::regex kOne(kLabel);
  std::smatch match;
  if (!std::regex_match(line, match, kSample)) return out->errors.push_back(line);
  const std::string family = FamilyOf(*out, match[1]);
  if (family.empty() || family != current) out->errors.push_back("not under its family: " + line);
  const std::string labels = match[3];
  if (!std::regex_match(labels, kLabels)) out->errors.push_back("labels: " + line);
  for (std::sregex_iterator it(labels.begin(), labels.end(), kOne), end; it != end; ++it) {
    if ((*it)[1] != "le") out->families[family].labels.insert((*it)[1]);
  }
  char* rest = nullptr;
  const std::string number = match[4];
  const double value = std::strtod(number.c_str(), &rest);
  if (*rest != '\0') out->errors.push_back("value: " + line);
  const std::string key = line.substr(0, line.size() - number.size() - 1);
  if (!out->samples.emplace(key, value).second) out->errors.push_back("twice: " + line);
}

}  // namespace

std::vector<double> Exposition::Bounds(const std::string& family) const {
  std::vector<double> bounds;
  const std::regex le(R"re(le="([^"]*)")re");
  for (const auto& [sample, value] : samples) {
    if (sample.rfind(family + "_bucket{", 0) != 0) continue;
    std::smatch match;
    if (std::regex_search(sample, match, le) && match[1] != "+Inf") {
      bounds.push_back(std::stod(match[1]));
    }
  }
  std::sort(bounds.begin(), bounds.end());
  return bounds;
}

Exposition ReadExposition(const std::string& text) {
  Exposition out;
  if (text.empty() || text.back() != '\n') out.errors.push_back("does not end with a newline");
  std::istringstream lines(text);
  std::string line;
  std::string current;
  std::set<std::string> with_help;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string hash, kind, name, rest;
    words >> hash >> kind >> name >> rest;
    if (hash == "#" && kind == "HELP") {
      if (!with_help.insert(name).second) out.errors.push_back("help twice: " + name);
      if (rest.empty()) out.errors.push_back("no help: " + name);
    } else if (hash == "#" && kind == "TYPE") {
      if (!out.families.emplace(name, Exposition::Family{rest, {}}).second) {
        out.errors.push_back("type twice: " + name);
      }
      current = name;
    } else {
      ReadSample(line, current, &out);
    }
  }
  for (const auto& [name, family] : out.families) {
    if (with_help.count(name) == 0) out.errors.push_back("no help: " + name);
    if (family.type == "counter" && !name.ends_with("_total")) {
      out.errors.push_back("counter without _total: " + name);
    }
  }
  return out;
}

}  // namespace folkmoot
