// SPDX-License-Identifier: Apache-2.0
// docs/serving.md has the table of fields that the validator has.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "launch/api/request/field_table.h"

namespace folkmoot {
namespace {

TEST(ServingDocs, TheTableIsTheValidators) {
  const std::string path = std::string(FOLKMOOT_SOURCE_DIR) + "/docs/serving.md";
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string begin = "<!-- fields: begin -->\n";
  const std::string end = "<!-- fields: end -->";
  const size_t from = text.find(begin);
  const size_t to = text.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const std::string table = RenderFieldTable();
  const bool equal = text.substr(from + begin.size(), to - from - begin.size()) == table;
  if (!equal) {
    const std::string copy = testing::TempDir() + "serving_fields.md";
    std::ofstream(copy) << table;
    ADD_FAILURE() << "put " << copy << " between the marks of " << path;
  }
}

TEST(FieldTable, NamesAreUniquePerEndpointAndBoundsMakeSense) {
  for (const FieldSpec& field : FieldTable()) {
    EXPECT_LE(field.min, field.max) << field.name;
    for (unsigned bit = 1; bit <= kRerank; bit <<= 1) {
      if ((field.endpoints & bit) == 0) continue;
      EXPECT_EQ(FindField(field.name, static_cast<Endpoint>(bit)), &field) << field.name;
    }
  }
}

}  // namespace
}  // namespace folkmoot
