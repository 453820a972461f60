// SPDX-License-Identifier: Apache-2.0
// How a format writes a tool call. One class for each format; ToolReader drives it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "launch/api/output/json_extent.h"

namespace folkmoot {

struct OutputRules;

// What the text at hand turned out to be. It may depend on the text alone, never on how much of it
// came at once: kMore until any continuation would get the same answer.
struct Reading {
  enum class Is : uint8_t {
    kMore,  // cannot be told yet; `length` bytes are used up all the same (arguments only)
    kNo,    // not what was expected
    kDone,  // `length` bytes are used up
    kNext,  // the same, and the head of another call follows without a marker (tails only)
  };
  Is is = Is::kMore;
  size_t length = 0;

  static Reading More(size_t length = 0) { return {Is::kMore, length}; }
  static Reading No() { return {Is::kNo, 0}; }
  static Reading Done(size_t length) { return {Is::kDone, length}; }
  static Reading Next(size_t length) { return {Is::kNext, length}; }
};

// A call is a begin marker, a head with the name, arguments, and a tail. The state of a syntax is
// that of the call which is being read. `text` begins where the part begins that is asked for;
// `last`: nothing follows.
class CallSyntax {
 public:
  virtual ~CallSyntax() = default;

  virtual std::span<const std::string_view> begins() const = 0;
  // Whether a text may begin with a head, without a marker.
  virtual bool at_start() const { return false; }
  // What ends a call whose arguments are broken. Empty: the end of the text.
  virtual std::string_view end() const { return {}; }

  // The id that the model wrote into the head of a call; empty: none, or none that anybody needs.
  virtual std::string_view id() const { return {}; }

  // Everything in front of the arguments. Sets `name`, and `arguments` if the head had them, too:
  // then they are not read. After kMore the same text comes again, longer.
  virtual Reading ReadHead(std::string_view text, bool last, std::string* name,
                           std::string* arguments) = 0;
  // Appends arguments that became certain. kMore with a length takes a part of them. By default
  // they are a JSON object, taken as it is written.
  virtual Reading ReadArguments(std::string_view text, bool last, std::string* json);
  virtual Reading ReadTail(std::string_view text, bool last) = 0;

 private:
  JsonExtent extent_;
};

// `literal` behind white space from *at on: kMore where it is cut; kDone moves *at behind it.
Reading Expect(std::string_view text, std::string_view literal, size_t* at);
// For tails: those of `parts` that are there, in this order, with white space between them.
Reading ReadParts(std::string_view text, bool last, std::span<const std::string_view> parts);

// Bytes at the end of `text` that may become `marker`.
size_t PartialMarker(std::string_view text, std::string_view marker);
// "\n \t\r"
bool IsJsonSpace(char c);
// Behind the white space from `from` on, or in it after kMaxSpace bytes: no marker begins there, so
// that a text of blanks is not held, and read again with every token, until it ends.
size_t SkipSpace(std::string_view text, size_t from);
inline constexpr size_t kMaxSpace = 1024;
// Letters, digits, _ - . : /
bool IsNameCharacter(char c);
inline constexpr size_t kMaxToolName = 256;
// Of lists and objects in arguments that are not JSON.
inline constexpr int kMaxNesting = 64;
// The name characters at *at; moves behind them. False: there are more than kMaxToolName.
bool ReadName(std::string_view text, size_t* at, std::string* name);

std::unique_ptr<CallSyntax> MakeHermesSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeDeepSeekSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeMistralSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeLlamaSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeGlmSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeQwenCoderSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeSeedSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeZayaSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeCallListSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeNemotronSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeCohereSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeGraniteSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakePhiSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeGigaChatSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeKimiSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeMiniMaxSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeDotsSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeMiniMaxM3Syntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeDsmlSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeHunyuanSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeInklingSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeSolarOpenSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakePythonicSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeOlmo3Syntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeGemma4Syntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeFunctionGemmaSyntax(const OutputRules& rules);
std::unique_ptr<CallSyntax> MakeLfm2Syntax(const OutputRules& rules);
// Its two halves.
std::unique_ptr<CallSyntax> MakeLfm2PythonicSyntax();
std::unique_ptr<CallSyntax> MakeLfm2JsonSyntax();
std::unique_ptr<CallSyntax> MakeLongCatSyntax(const OutputRules& rules);
// Its two halves.
std::unique_ptr<CallSyntax> MakeLongCatJsonSyntax();
std::unique_ptr<CallSyntax> MakeLongCatPairsSyntax(const OutputRules& rules);
// What our own constraints write for tool_choice "required" and for a named function.
std::unique_ptr<CallSyntax> MakeForcedSyntax(const OutputRules& rules);

}  // namespace folkmoot
