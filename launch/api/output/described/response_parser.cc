// SPDX-License-Identifier: Apache-2.0
// Answers in the format that their model describes (response_template.h). Texts are told as they
// come, without the white space around them; a call is told when its region ends. What is to be a
// call and is none is content, with its marks. Where a field comes several times all its texts are
// told, one below the other; Transformers keeps the last.
#include <algorithm>

#include "launch/api/output/call_syntax.h"
#include "launch/api/output/described/placeholders.h"
#include "launch/api/output/described/response_template.h"
#include "launch/api/output/formats.h"
#include "runtime/check.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using Use = ResponseField::Use;

struct Call {
  std::string name, arguments, id;
};

class ResponseParser final : public OutputParser {
 public:
  ResponseParser(std::shared_ptr<const ResponseTemplate> format, const OutputRules& rules)
      : format_(std::move(format)),
        schemas_(rules.schemas),
        tells_reasoning_(rules.reasoning != nullptr),
        tells_calls_(rules.choice == ToolChoice::kAuto),
        texts_(format_->fields().size()) {
    for (const ResponseField& field : format_->fields()) {
      if (!field.open) outside_ = &field;
    }
    Enter(outside_, 0, 0);
    OutputDeltas begun;  // by the prompt: nobody wants to hear it
    Push(rules.answer_begun, &begun);
  }

  void Push(std::string_view piece, OutputDeltas* out) override {
    text_ += piece;
    Run(/*last=*/false, out);
  }
  void Finish(OutputDeltas* out) override { Run(/*last=*/true, out); }

 private:
  // The place where a region begins or ends.
  struct Mark {
    const ResponseField* field;
    bool opens;
    PythonRegex::Match match;
  };
  // What was told of a field that is text.
  struct Text {
    bool told = false;       // something, ever
    bool begun = false;      // something of this region
    std::string space = {};  // perhaps at its end
  };

  void Run(bool last, OutputDeltas* out);
  // The first mark that is certain; else *hold is where one may come, or the end of the text.
  std::optional<Mark> FindMark(bool last, size_t* hold) const;
  PythonRegex::Found Search(const PythonRegex& regex, bool opens, bool last,
                            PythonRegex::Match* match) const;
  void Enter(const ResponseField* field, size_t mark, size_t body);
  void Take(size_t end, OutputDeltas* out);
  void Tell(const ResponseField& field, std::string_view text, OutputDeltas* out);
  void Leave(size_t end, OutputDeltas* out);
  // False: what the region has is told as content, as it stands, with its marks.
  bool Interprets(const ResponseField& field) const;
  absl::StatusOr<std::vector<Call>> ReadCalls(std::string_view body) const;
  absl::StatusOr<Call> ReadCall(const Json& value) const;

  const std::shared_ptr<const ResponseTemplate> format_;
  const std::shared_ptr<const ToolSchemas> schemas_;
  const bool tells_reasoning_, tells_calls_;
  const ResponseField* outside_ = nullptr;  // of text outside of all regions; null: it is dropped

  std::string text_;  // all that came: expressions may look back
  size_t at_ = 0;     // what is before is done
  // The region.
  const ResponseField* field_ = nullptr;
  size_t mark_ = 0, body_ = 0;  // where its opening mark and its text begin
  Json captures_ = Json::object();
  std::vector<Text> texts_;  // by field
  int calls_ = 0;
};

bool ResponseParser::Interprets(const ResponseField& field) const {
  if (field.use == Use::kReasoning) return tells_reasoning_;
  return field.use != Use::kToolCalls || tells_calls_;
}

std::optional<ResponseParser::Mark> ResponseParser::FindMark(bool last, size_t* hold) const {
  *hold = text_.size();
  std::optional<Mark> best;
  const auto look = [&](const ResponseField& field, bool opens, const PythonRegex& regex) {
    Mark mark{&field, opens, {}};
    const PythonRegex::Found found = Search(regex, opens, last, &mark.match);
    if (found == PythonRegex::Found::kMaybe) *hold = std::min(*hold, mark.match.begin);
    if (found != PythonRegex::Found::kYes) return;
    const auto length = [](const Mark& m) { return m.match.end - m.match.begin; };
    if (!best || mark.match.begin < best->match.begin ||
        (mark.match.begin == best->match.begin && length(mark) > length(*best))) {
      best = std::move(mark);
    }
  };
  if (field_ != outside_) {
    if (field_->close) look(*field_, false, *field_->close);
  } else {
    for (const ResponseField& field : format_->fields()) {
      if (field.open) look(field, true, *field.open);
    }
    if (outside_ != nullptr && outside_->close) look(*outside_, false, *outside_->close);
  }
  if (best && best->match.begin >= *hold) return std::nullopt;
  return best;
}

// An empty mark right here is none if nothing came since the last one: it would lead nowhere.
PythonRegex::Found ResponseParser::Search(const PythonRegex& regex, bool opens, bool last,
                                          PythonRegex::Match* match) const {
  const PythonRegex::Found found = regex.Search(text_, at_, last, match);
  const bool empty = match->begin == at_ && match->end == at_;
  const bool stays = opens || (field_ == outside_ && body_ == at_);
  if (found != PythonRegex::Found::kYes || !empty || !stays) return found;
  if (at_ == text_.size()) return PythonRegex::Found::kNo;
  return regex.Search(text_, at_ + ReadUtf8(text_, at_).length, last, match);
}

void ResponseParser::Run(bool last, OutputDeltas* out) {
  size_t hold = 0;
  while (const std::optional<Mark> mark = FindMark(last, &hold)) {
    const auto& [begin, end, groups] = mark->match;
    Take(begin, out);
    if (mark->opens) {
      Leave(begin, out);
      Enter(mark->field, begin, end);
      if (!Interprets(*field_)) out->Content(std::string_view(text_).substr(begin, end - begin));
    }
    for (const auto& [name, text] : groups) captures_[name] = text;
    if (!mark->opens) {
      Leave(end, out);
      Enter(outside_, end, end);
    }
    at_ = end;
  }
  Take(last ? text_.size() : hold, out);
  if (last) Leave(text_.size(), out);
}

void ResponseParser::Enter(const ResponseField* field, size_t mark, size_t body) {
  field_ = field;
  mark_ = mark;
  body_ = body;
  captures_ = Json::object();
  if (field_ == nullptr) return;
  Text& text = texts_[static_cast<size_t>(field_ - format_->fields().data())];
  text.begun = false;
  text.space.clear();
}

// The text up to `end` is of the region.
void ResponseParser::Take(size_t end, OutputDeltas* out) {
  const std::string_view text = std::string_view(text_).substr(at_, end - at_);
  at_ = end;
  if (field_ == nullptr) return;
  if (!Interprets(*field_)) return out->Content(text);
  if (field_->use == Use::kContent || field_->use == Use::kReasoning) Tell(*field_, text, out);
}

void ResponseParser::Tell(const ResponseField& field, std::string_view text, OutputDeltas* out) {
  Text& state = texts_[static_cast<size_t>(&field - format_->fields().data())];
  std::string told;
  if (field.reader.strips()) {
    if (!state.begun) text = StripLeft(text);
    const std::string_view kept = StripRight(text);
    if (!kept.empty()) told = std::exchange(state.space, {}) + std::string(kept);
    state.space += text.substr(kept.size());
  } else {
    told = text;
  }
  if (told.empty()) return;
  if (!state.begun && state.told) told.insert(0, field.join);
  state.begun = state.told = true;
  field.use == Use::kContent ? out->Content(told) : out->Reasoning(told);
}

// The region ends at at_, and its closing mark at `end`.
void ResponseParser::Leave(size_t end, OutputDeltas* out) {
  if (field_ == nullptr) return;
  const std::string_view all(text_);
  if (!Interprets(*field_)) {
    if (field_ != outside_) out->Content(all.substr(at_, end - at_));
    return;
  }
  const std::string_view body = all.substr(body_, at_ - body_);
  if (field_->use != Use::kToolCalls || (field_ == outside_ && body.empty())) return;
  const absl::StatusOr<std::vector<Call>> calls = ReadCalls(body);
  if (!calls.ok()) return out->Content(all.substr(mark_, end - mark_));
  for (const Call& call : *calls) {
    out->ToolName(calls_, call.name, call.id);
    out->ToolArguments(calls_++, call.arguments);
  }
}

absl::StatusOr<std::vector<Call>> ResponseParser::ReadCalls(std::string_view body) const {
  FM_ASSIGN_OR_RETURN(Json value, field_->reader.Read(body));
  Json values = value.is_array() ? value : Json::array({value});
  if (!field_->transform.is_null()) {
    if (field_->transform_each && !value.is_array()) return InvalidArgument("not a list");
    if (!field_->transform_each) values = Json::array({value});
    for (Json& one : values) {
      Json scope = captures_;
      if (field_->transform_each) {
        if (!one.is_object()) return InvalidArgument("not a list of objects");
        scope.update(one);
      } else {
        scope["content"] = one;
      }
      FM_ASSIGN_OR_RETURN(one, FillPlaceholders(field_->transform, scope));
    }
    // The whole may have become a list of calls.
    if (!field_->transform_each && values[0].is_array()) values = Json(values[0]);
  }
  std::vector<Call> calls;
  for (const Json& one : values) {
    FM_ASSIGN_OR_RETURN(calls.emplace_back(), ReadCall(one));
  }
  return calls;
}

// {"function": {"name", "arguments"}}, or that by itself.
absl::StatusOr<Call> ResponseParser::ReadCall(const Json& value) const {
  if (!value.is_object()) return InvalidArgument("a call that is no object");
  const Json function = value.value("function", value);
  const Json name = function.is_object() ? function.value("name", Json()) : Json();
  if (!name.is_string()) return InvalidArgument("a call without a name");
  Call call{.name = name, .arguments = "{}", .id = {}};
  if (call.name.empty() || call.name.size() > kMaxToolName ||
      !std::all_of(call.name.begin(), call.name.end(), IsNameCharacter)) {
    return InvalidArgument("a call of what has no name of a tool");
  }
  if (const Json id = value.value("id", Json()); id.is_string()) call.id = id;
  const Json arguments = function.value("arguments", Json());
  if (arguments.is_string()) {
    call.arguments = arguments;
  } else if (arguments.is_object() && field_->reader.has_plain_values()) {
    call.arguments = "{";
    for (const auto& [key, argument] : arguments.items()) {
      if (call.arguments.size() > 1) call.arguments += ", ";
      call.arguments += Json(key).dump() + ": ";
      call.arguments += argument.is_string()
                            ? schemas_->ValueJson(call.name, key, argument.get<std::string>())
                            : argument.dump();
    }
    call.arguments += "}";
  } else if (!arguments.is_null()) {
    call.arguments = arguments.dump();
  }
  return call;
}

}  // namespace

std::unique_ptr<OutputParser> MakeResponseParser(const OutputRules& rules) {
  const OutputFormat* format =
      rules.tools != nullptr && rules.tools->response != nullptr ? rules.tools : rules.reasoning;
  FM_CHECK(format != nullptr && format->response != nullptr);
  return std::make_unique<ResponseParser>(format->response, rules);
}

}  // namespace folkmoot
