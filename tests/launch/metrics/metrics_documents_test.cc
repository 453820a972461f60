// SPDX-License-Identifier: Apache-2.0
// docs/metrics.md lists what we export, and the Grafana board asks for nothing else.
#include <fstream>
#include <regex>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launch/metrics/metrics.h"
#include "nlohmann/json.hpp"
#include "tests/launch/metrics/exposition.h"

namespace folkmoot {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

std::string ReadSource(const std::string& path) {
  std::ifstream file(FOLKMOOT_SOURCE_DIR "/" + path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Exposition Exported() {
  MetricsOptions options;
  options.model_name = "demo";
  options.max_model_len = 1024;
  options.moe = {.layers = {0}, .experts = 2, .top_k = 1, .ranks = 1, .rank_of_expert = {0, 0}};
  Exposition exported = ReadExposition(Metrics(options).Render());
  EXPECT_THAT(exported.errors, IsEmpty());
  return exported;
}

// "type: label, label" without the two labels that all have.
std::string Describe(const Exposition::Family& family) {
  std::string text = family.type + ":";
  for (const std::string& label : family.labels) {
    if (label != "model_name" && label != "engine") text += " " + label;
  }
  return text;
}

TEST(MetricsDocuments, TheTableIsWhatWeExport) {
  std::map<std::string, std::string> documented;
  const std::regex row(R"(\| `((?:vllm|moe):[a-z0-9_]+)` \| ([a-z]+) \|([^|]*)\|([^|]*)\|)");
  const std::regex label("`([a-z_]+)`");
  std::istringstream lines(ReadSource("docs/metrics.md"));
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    EXPECT_GT(match[4].length(), 4) << line << ": no meaning";
    std::set<std::string> labels;
    const std::string cell = match[3];
    for (std::sregex_iterator it(cell.begin(), cell.end(), label), end; it != end; ++it) {
      labels.insert((*it)[1]);
    }
    EXPECT_TRUE(documented.emplace(match[1], Describe({match[2], labels})).second) << line;
  }
  std::map<std::string, std::string> exported;
  for (const auto& [name, family] : Exported().families) exported[name] = Describe(family);
  EXPECT_EQ(documented, exported);
}

void CollectStrings(const json& node, const std::string& key, std::vector<std::string>* found) {
  if (node.is_object()) {
    for (const auto& [name, value] : node.items()) {
      if (value.is_string() && name == key) found->push_back(value);
      CollectStrings(value, key, found);
    }
  } else if (node.is_array()) {
    for (const json& value : node) CollectStrings(value, key, found);
  }
}

// What is wrong with the metric names and labels of a query.
std::vector<std::string> Complaints(const std::string& query, const Exposition& exported) {
  std::vector<std::string> wrong;
  std::set<std::string> labels;
  const std::regex metric(R"(((?:vllm|moe):[a-zA-Z0-9_]+)(\{([^}]*)\})?)");
  size_t metrics = 0;
  for (std::sregex_iterator it(query.begin(), query.end(), metric), end; it != end; ++it) {
    ++metrics;
    const std::string name = (*it)[1];
    auto family = exported.families.find(name);
    if (family == exported.families.end() || family->second.type == "histogram") {
      family = exported.families.end();
      for (const char* suffix : {"_bucket", "_sum", "_count"}) {
        if (!name.ends_with(suffix)) continue;
        const auto base =
            exported.families.find(name.substr(0, name.size() - std::string(suffix).size()));
        if (base != exported.families.end() && base->second.type == "histogram") family = base;
      }
    }
    if (family == exported.families.end()) {
      wrong.push_back("no metric " + name);
      continue;
    }
    labels.insert(family->second.labels.begin(), family->second.labels.end());
    if (name.ends_with("_bucket")) labels.insert("le");
    const std::string matchers = (*it)[3];
    const std::regex matcher(R"(([a-z_]+)\s*(=|!=|=~|!~)\s*")");
    for (std::sregex_iterator m(matchers.begin(), matchers.end(), matcher); m != end; ++m) {
      if (family->second.labels.count((*m)[1]) == 0) {
        wrong.push_back(name + " has no label " + std::string((*m)[1]));
      }
    }
  }
  if (metrics == 0) wrong.push_back("asks for nothing: " + query);
  const std::regex grouping(
      R"((?:by|without) \(([^)]*)\)|label_values\([^,]*(?:\{[^}]*\})?, ([a-z_]+)\))");
  for (std::sregex_iterator it(query.begin(), query.end(), grouping), end; it != end; ++it) {
    const std::string list = std::string((*it)[1]) + std::string((*it)[2]);
    const std::regex word("[a-z_]+");
    for (std::sregex_iterator w(list.begin(), list.end(), word); w != end; ++w) {
      if (labels.count((*w)[0]) == 0) wrong.push_back("no label " + std::string((*w)[0]));
    }
  }
  return wrong;
}

TEST(MetricsDocuments, TheBoardAsksForWhatWeExport) {
  const json board = json::parse(ReadSource("launch/grafana/folkmoot.json"));
  std::vector<std::string> queries;
  CollectStrings(board, "expr", &queries);
  EXPECT_GE(queries.size(), 30);
  CollectStrings(board["templating"], "query", &queries);
  const Exposition exported = Exported();
  size_t checked = 0;
  for (const std::string& query : queries) {
    if (query == "prometheus") continue;  // the kind of the data source
    EXPECT_THAT(Complaints(query, exported), IsEmpty()) << query;
    ++checked;
  }
  EXPECT_GE(checked, 32);
}

TEST(MetricsDocuments, TheCheckFindsWrongQueries) {
  const Exposition exported = Exported();
  for (const char* wrong :
       {"vllm:no_such_metric", "sum(rate(vllm:generation_tokens_total{modle=\"x\"}[1m]))",
        "sum by (expert) (vllm:num_requests_running)", "vllm:time_to_first_token_seconds",
        "vllm:num_requests_running_sum", "label_values(vllm:num_requests_running, layer)", "up"}) {
    EXPECT_FALSE(Complaints(wrong, exported).empty()) << wrong;
  }
}

}  // namespace
}  // namespace folkmoot
