// SPDX-License-Identifier: Apache-2.0
// Calls whose arguments are pairs of name and plain text, with tags around each.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {

struct ArgumentTags {
  // How a value stands between its tags.
  enum class Value : uint8_t {
    kTrimmed,  // white space around it is not its own
    kLines,    // it may have lines of its own
    kPlain,    // as it is
    kTyped,    // as it is, behind true"> for a string, or false"> for JSON
  };
  std::span<const std::string_view> begins;  // in front of the head
  std::string_view name_begin, name_end;     // around a name
  std::string_view value_begin, value_end;   // around a value; value_begin may be empty
  std::string_view end;                      // behind the last pair
  Value value = Value::kTrimmed;
  // The next pair and `end` end a value, too: models forget value_end.
  bool value_end_optional = false;
  // Behind the arguments; the last that the text can have ends the call.
  std::span<const std::string_view> tail;
  std::string_view next = {};  // behind `end`: the head of another call
};

// Pairs become members of an object as soon as each is complete. Heads differ: see the formats.
class TaggedSyntax : public CallSyntax {
 public:
  TaggedSyntax(const ArgumentTags& tags, const OutputRules& rules)
      : tags_(tags), schemas_(rules.schemas) {}

  std::span<const std::string_view> begins() const override { return tags_.begins; }
  std::string_view end() const override { return tags_.tail.back(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override;
  Reading ReadArguments(std::string_view text, bool last, std::string* json) override;
  Reading ReadTail(std::string_view text, bool last) override;

 protected:
  // Everything in front of the arguments.
  virtual Reading ReadToolName(std::string_view text, std::string* name) const = 0;

 private:
  struct Extent {
    size_t end;   // of the value
    size_t used;  // up to and with value_end, if it is there
  };

  Reading ReadPair(std::string_view text, std::string* json);
  std::string ValueJson(std::string_view name, std::string_view written, bool string) const;
  std::optional<Extent> FindValueEnd(std::string_view text, size_t from);

  const ArgumentTags tags_;
  const std::shared_ptr<const ToolSchemas> schemas_;
  std::string tool_;
  int pairs_ = 0;
  size_t searched_ = 0;  // of the pair that is read: no end of its value begins before this
};

}  // namespace folkmoot
