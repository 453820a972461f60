// SPDX-License-Identifier: Apache-2.0
#include "launch/api/common/json_body.h"

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "absl/strings/cord.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kParamPayload[] = "folkmoot/param";
constexpr char kCodePayload[] = "folkmoot/code";
// An ordered_json object is a vector underneath, with an operator[] of its own.
template <typename Members>
auto At(Members& members, size_t i) {
  return members.begin() + static_cast<std::ptrdiff_t>(i);
}

constexpr size_t kIndexFrom = 16;  // members; smaller objects are searched from end to end

// Receives what nlohmann's parser finds, which keeps its own stack on the heap. Builds the document
// itself, because an ordered_json object takes quadratic time for many keys.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(int64_t value) override { return Put(value); }
  bool number_unsigned(uint64_t value) override { return Put(value); }
  bool number_float(double value, const std::string&) override { return Put(value); }
  bool string(std::string& value) override { return Put(std::move(value)); }
  bool binary(Json::binary_t&) override { return Fail("binary data"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool key(std::string& name) override {
    Level& level = levels_.back();
    auto& members = level.json->get_ref<Json::object_t&>();
    if (levels_.size() == 1) top_key_ = name;
    if (const auto found = Find(level, members, name); found < members.size()) {
      slot_ = &At(members, found)->second;
      return true;
    }
    if (members.size() >= limits_.members) {
      return Fail(fmt::format("an object has more than {} members", limits_.members));
    }
    members.emplace_back(name, nullptr);
    if (members.size() > kIndexFrom) Index(&level, members);
    slot_ = &members.back().second;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    if (!error_.ok()) return false;
    if (error.id == 406) {  // "number overflow"
      error_ =
          BadField(top_key_, "{}: a number is too large", top_key_.empty() ? "body" : top_key_);
    } else {
      error_ = InvalidArgument("the request body is not valid JSON (at byte {})", position);
    }
    return false;
  }

  absl::StatusOr<Json> Take() && {
    if (!error_.ok()) return error_;
    return std::move(root_);
  }

 private:
  struct Level {
    Json* json;
    std::unordered_map<std::string, size_t> index;  // of members; empty for small objects
  };

  static size_t Find(const Level& level, const Json::object_t& members, const std::string& name) {
    if (!level.index.empty()) {
      const auto found = level.index.find(name);
      return found == level.index.end() ? members.size() : found->second;
    }
    for (size_t i = 0; i < members.size(); ++i) {
      if (At(members, i)->first == name) return i;
    }
    return members.size();
  }

  static void Index(Level* level, const Json::object_t& members) {
    for (size_t i = level->index.size(); i < members.size(); ++i) {
      level->index.emplace(At(members, i)->first, i);
    }
  }

  // Where the next value goes: into the object's slot, the end of the list, or the document.
  Json* Place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *levels_.back().json;
    if (parent.is_object()) {
      *slot_ = std::move(value);
      return slot_;
    }
    parent.push_back(std::move(value));
    return &parent.back();
  }

  bool Put(Json value) {
    if (++values_ > limits_.values) {
      return Fail(fmt::format("it holds more than {} values", limits_.values));
    }
    Place(std::move(value));
    return true;
  }

  bool Open(Json value) {
    if (levels_.size() >= static_cast<size_t>(limits_.depth)) {
      return Fail(fmt::format("it is nested deeper than {} levels", limits_.depth));
    }
    if (++values_ > limits_.values) {
      return Fail(fmt::format("it holds more than {} values", limits_.values));
    }
    levels_.push_back({.json = Place(std::move(value)), .index = {}});
    return true;
  }

  bool Close() {
    levels_.pop_back();
    return true;
  }

  bool Fail(std::string_view reason) {
    error_ = BadField(top_key_, "the request body is refused: {}", reason);
    return false;
  }

  const JsonLimits limits_;
  Json root_;
  std::vector<Level> levels_;  // pointers stay valid: only the innermost container grows
  Json* slot_ = nullptr;
  size_t values_ = 0;
  std::string top_key_;
  absl::Status error_;
};

std::string Payload(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  return payload.has_value() ? std::string(*payload) : std::string();
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace

absl::StatusOr<Json> ParseBody(std::string_view body, const JsonLimits& limits) {
  Builder builder(limits);
  Json::sax_parse(body, &builder);
  FM_ASSIGN_OR_RETURN(Json json, std::move(builder).Take());
  if (!json.is_object()) return InvalidArgument("the request body must be a JSON object");
  return json;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void AppendQuoted(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      *out += "\\n";
    } else if (byte < 0x20) {
      *out += "\\u00";
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

absl::Status WithParam(absl::Status status, std::string_view param) {
  if (!param.empty()) status.SetPayload(kParamPayload, absl::Cord(std::string(param)));
  return status;
}

absl::Status WithCode(absl::Status status, std::string_view code) {
  if (!code.empty()) status.SetPayload(kCodePayload, absl::Cord(std::string(code)));
  return status;
}

std::string ParamOf(const absl::Status& status) { return Payload(status, kParamPayload); }
std::string CodeOf(const absl::Status& status) { return Payload(status, kCodePayload); }

HttpResponse ToErrorResponse(const absl::Status& status) {
  const int code = HttpStatusOf(status);
  HttpResponse response = ErrorResponse(code, Message(status), ParamOf(status), CodeOf(status));
  if (code == 504 || code == 500) response.headers.emplace_back("x-should-retry", "false");
  return response;
}

}  // namespace folkmoot
