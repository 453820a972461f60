// SPDX-License-Identifier: Apache-2.0
// The pipeline: repair UTF-8, cut out added tokens, normalize, cut out normalized added tokens,
// pre-tokenize, cut into tokens, post-process.
#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "runtime/file.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/post_processor.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/special_ranges.h"
#include "runtime/tokenizer/token_model.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {

struct Tokenizer::Parts {
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<Normalizer> normalizer;       // null: the text stays
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: one piece
  std::optional<AddedTokens> added;             // always set once parsed
  PostProcessor post_processor;
  std::optional<Decoder> decoder;  // always set once parsed
  std::optional<int32_t> bos_id, eos_id, pad_id;

  int64_t id_limit() const { return std::max(model->tokens().id_limit(), added->id_limit()); }
  std::optional<int32_t> TokenToId(std::string_view token) const;
  absl::Status ReadConfig(const JsonNode& config);
  // What the stages of one Encode share. `guarded`: text of others is in it, from which the model
  // itself must not make special tokens either.
  struct Run {
    AddedTokens::Where where;
    bool guarded = false;
    TokenModel::Scratch scratch;
    std::vector<int32_t> ids;
  };
  absl::Status EncodeRaw(std::string_view text, bool at_start, Run* run) const;
  absl::Status EncodeNormalized(std::string_view text, bool at_start, Run* run) const;
  absl::Status EncodePlain(std::string_view piece, Run* run) const;
};

namespace {

// The text of a token in tokenizer_config.json: "x" or {"content": "x", ...}.
absl::StatusOr<std::optional<std::string>> ConfigToken(const JsonNode& config,
                                                       std::string_view key) {
  const std::optional<JsonNode> node = config.Find(key);
  if (!node) return std::optional<std::string>();
  absl::StatusOr<std::string> text =
      node->IsString() ? config.String(key) : node->String("content");
  if (!text.ok()) return text.status();
  return std::optional<std::string>(*std::move(text));
}

// What a class of Transformers makes of add_bos_token.
struct ClassRule {
  bool reads_add_bos;
  bool add_bos;  // where the key is absent
};

// Transformers up to 4 puts begin and end tokens around texts as these classes are told, whatever
// tokenizer.json has; other classes leave that to the file. DeepSeek's models rely on it.
absl::StatusOr<ClassRule> RuleOfClass(const JsonNode& config) {
  if (!config.Find("tokenizer_class")) return ClassRule{.reads_add_bos = true, .add_bos = false};
  FM_ASSIGN_OR_RETURN(const std::string full_name, config.String("tokenizer_class"));
  std::string_view name = full_name;
  if (name.ends_with("Fast")) name.remove_suffix(4);
  if (name == "GPTNeoXTokenizer") return ClassRule{.reads_add_bos = true, .add_bos = false};
  for (const char* reader :
       {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"}) {
    if (name == reader) return ClassRule{.reads_add_bos = true, .add_bos = true};
  }
  return ClassRule{.reads_add_bos = false, .add_bos = false};
}

}  // namespace

std::optional<int32_t> Tokenizer::Parts::TokenToId(std::string_view token) const {
  if (const AddedToken* found = added->FindByContent(token)) return found->id;
  return model->tokens().TokenToId(token);
}

absl::Status Tokenizer::Parts::ReadConfig(const JsonNode& config) {
  if (const auto node = config.Find("added_tokens_decoder")) {
    FM_RETURN_IF_ERROR(added->Extend(*node, model->tokens(), normalizer.get()));
  }
  const auto id_of = [&](std::string_view key) -> absl::StatusOr<std::optional<int32_t>> {
    FM_ASSIGN_OR_RETURN(const std::optional<std::string> token, ConfigToken(config, key));
    if (!token) return std::optional<int32_t>();
    const std::optional<int32_t> id = TokenToId(*token);
    // Nothing here pads, so a padding token that exists nowhere does no harm.
    if (!id && key != "pad_token") {
      return config.Error("{} \"{}\" is not a token of tokenizer.json", key, *token);
    }
    return id;
  };
  FM_ASSIGN_OR_RETURN(bos_id, id_of("bos_token"));
  FM_ASSIGN_OR_RETURN(eos_id, id_of("eos_token"));
  FM_ASSIGN_OR_RETURN(pad_id, id_of("pad_token"));
  if (!config.Find("add_bos_token") && !config.Find("add_eos_token")) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const ClassRule rule, RuleOfClass(config));
  if (!rule.reads_add_bos) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const bool add_bos, config.Bool("add_bos_token", rule.add_bos));
  FM_ASSIGN_OR_RETURN(const bool add_eos, config.Bool("add_eos_token", false));
  std::vector<int32_t> prefix, suffix;
  if (add_bos && bos_id) prefix.push_back(*bos_id);
  if (add_eos && eos_id) suffix.push_back(*eos_id);
  post_processor = PostProcessor(std::move(prefix), std::move(suffix));
  return absl::OkStatus();
}

absl::Status Tokenizer::Parts::EncodeRaw(std::string_view text, bool at_start, Run* run) const {
  std::string normalized(text);
  const bool was_at_start = at_start;
  if (normalizer) FM_RETURN_IF_ERROR(normalizer->Apply(&normalized, &at_start));
  AddedTokens::Where where = run->where;
  std::vector<ByteSpan> ranges;
  if (where.ranges != nullptr && added->has_normalized()) {
    FM_ASSIGN_OR_RETURN(
        ranges, NormalizedRanges(normalizer.get(), text, *where.ranges, normalized, was_at_start));
  }
  if (where.ranges != nullptr) where.ranges = &ranges;
  std::vector<AddedTokens::Segment> segments;
  FM_RETURN_IF_ERROR(added->Split(normalized, AddedTokens::Stage::kNormalized, where, &segments));
  for (const AddedTokens::Segment& segment : segments) {
    const auto [begin, end] = segment.span;
    if (segment.token != nullptr) {
      run->ids.push_back(segment.token->id);
    } else {
      const std::string_view part = std::string_view(normalized).substr(begin, end - begin);
      FM_RETURN_IF_ERROR(EncodeNormalized(part, at_start && begin == 0, run));
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Parts::EncodeNormalized(std::string_view text, bool at_start,
                                                Run* run) const {
  Pieces pieces{std::string(text), {ByteSpan{0, text.size()}}, at_start};
  if (pre_tokenizer) FM_RETURN_IF_ERROR(pre_tokenizer->Apply(&pieces));
  for (const ByteSpan span : pieces.spans) {
    if (run->guarded) {
      FM_RETURN_IF_ERROR(EncodePlain(pieces.View(span), run));
    } else {
      FM_RETURN_IF_ERROR(model->Encode(pieces.View(span), &run->scratch, &run->ids));
    }
  }
  return absl::OkStatus();
}

// A piece that the model would join into a special token is encoded in two parts instead.
absl::Status Tokenizer::Parts::EncodePlain(std::string_view piece, Run* run) const {
  while (!piece.empty()) {
    const size_t before = run->ids.size();
    FM_RETURN_IF_ERROR(model->Encode(piece, &run->scratch, &run->ids));
    size_t cut = 0;  // where to part the piece, if at all
    for (size_t i = before; i < run->ids.size() && cut == 0; ++i) {
      const AddedToken* token = added->FindById(run->ids[i]);
      if (token == nullptr || !token->special) continue;
      const size_t found = piece.find(token->content);
      if (found == std::string_view::npos) continue;  // the token for unknown characters
      cut = found + ReadUtf8(piece, found).length;
      if (cut == found + token->content.size()) {
        return InvalidArgument("the text holds the special token \"{}\", which has no other form",
                               token->content);
      }
    }
    if (cut == 0) break;
    run->ids.resize(before);
    FM_RETURN_IF_ERROR(EncodePlain(piece.substr(0, cut), run));
    piece.remove_prefix(cut);
  }
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer::Parts>> Tokenizer::ParseParts(std::string_view json,
                                                                        std::string_view name) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<JsonDocument> document,
                      JsonDocument::Parse(json, name));
  const JsonNode root = document->root();
  FM_RETURN_IF_ERROR(
      root.AllowOnly({"version", "truncation", "padding", "added_tokens", "normalizer",
                      "pre_tokenizer", "post_processor", "decoder", "model"}));
  auto parts = std::make_unique<Parts>();
  FM_ASSIGN_OR_RETURN(const JsonNode model, root.Get("model"));
  FM_ASSIGN_OR_RETURN(parts->model, TokenModel::Parse(model));
  if (const auto node = root.Find("normalizer")) {
    FM_ASSIGN_OR_RETURN(parts->normalizer, ParseNormalizer(*node));
  }
  if (const auto node = root.Find("pre_tokenizer")) {
    FM_ASSIGN_OR_RETURN(parts->pre_tokenizer, ParsePreTokenizer(*node));
  }
  FM_ASSIGN_OR_RETURN(parts->added,
                      AddedTokens::Parse(root.Find("added_tokens"), parts->model->tokens(),
                                         parts->normalizer.get()));
  FM_ASSIGN_OR_RETURN(parts->post_processor,
                      PostProcessor::Parse(root.Find("post_processor"), parts->id_limit()));
  FM_ASSIGN_OR_RETURN(parts->decoder, Decoder::Parse(root.Find("decoder")));
  return parts;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view json,
                                                               std::string_view name_for_errors) {
  FM_ASSIGN_OR_RETURN(std::unique_ptr<Parts> parts, ParseParts(json, name_for_errors));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const std::string json, ReadFile(path, FaultPoint::kTokenizerRead));
  FM_ASSIGN_OR_RETURN(std::unique_ptr<Parts> parts, ParseParts(json, path));
  const std::filesystem::path config_path =
      std::filesystem::path(path).parent_path() / "tokenizer_config.json";
  std::error_code error;
  if (std::filesystem::exists(config_path, error)) {
    FM_ASSIGN_OR_RETURN(const std::string config_json,
                        ReadFile(config_path.string(), FaultPoint::kTokenizerRead));
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<JsonDocument> config,
                        JsonDocument::Parse(config_json, config_path.string()));
    FM_RETURN_IF_ERROR(parts->ReadConfig(config->root()));
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::OfModel(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (!gguf) return Load((std::filesystem::path(model) / "tokenizer.json").string());
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufModel> file, GgufModel::Open(*gguf));
  FM_ASSIGN_OR_RETURN(const std::string json, GgufTokenizerJson(*file));
  FM_ASSIGN_OR_RETURN(std::unique_ptr<Parts> parts, ParseParts(json, *gguf));
  FM_ASSIGN_OR_RETURN(const std::string config_json, GgufTokenizerConfig(*file));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<JsonDocument> config,
                      JsonDocument::Parse(config_json, *gguf));
  FM_RETURN_IF_ERROR(parts->ReadConfig(config->root()));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return ResourceExhausted("a text of {} bytes cannot be tokenized; the limit is {}", text.size(),
                             kMaxTextBytes);
  }
  std::string repaired;
  std::vector<ByteSpan> ranges;
  Parts::Run run;
  run.where.special = options.parse_special;
  if (options.special_ranges) {
    FM_ASSIGN_OR_RETURN(ranges, RepairWithRanges(text, *options.special_ranges, &repaired));
    run.guarded = ranges.size() != 1 || ranges[0] != ByteSpan{0, repaired.size()};
    run.where = {true, &ranges};
  } else {
    repaired = RepairUtf8(text);
  }
  std::vector<AddedTokens::Segment> segments;
  FM_RETURN_IF_ERROR(
      parts_->added->Split(repaired, AddedTokens::Stage::kRaw, run.where, &segments));
  std::vector<ByteSpan> part_ranges;
  if (options.special_ranges) run.where.ranges = &part_ranges;
  for (const AddedTokens::Segment& segment : segments) {
    const auto [begin, end] = segment.span;
    if (segment.token != nullptr) {
      run.ids.push_back(segment.token->id);
      continue;
    }
    if (options.special_ranges) part_ranges = RangesWithin(ranges, segment.span);
    const std::string_view part = std::string_view(repaired).substr(begin, end - begin);
    FM_RETURN_IF_ERROR(parts_->EncodeRaw(part, begin == 0, &run));
  }
  if (!options.add_special_tokens) return std::move(run.ids);
  return parts_->post_processor.Apply(std::move(run.ids));
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  DecodeStream stream = NewDecodeStream();
  std::string text;
  for (const int32_t id : ids) {
    if (const auto token = DecoderInput(id, skip_special_tokens)) stream.Push(*token, &text);
  }
  stream.Finish(&text);
  return text;
}

const Decoder& Tokenizer::decoder() const { return *parts_->decoder; }

DecodeStream Tokenizer::NewDecodeStream() const { return parts_->decoder->NewStream(); }

std::optional<std::string_view> Tokenizer::DecoderInput(int32_t id,
                                                        bool skip_special_tokens) const {
  if (const AddedToken* token = parts_->added->FindById(id)) {
    if (token->special && skip_special_tokens) return std::nullopt;
    return token->normalized_content;
  }
  const std::string_view token = parts_->model->tokens().IdToToken(id);
  if (token.empty()) return std::nullopt;
  return token;
}

int64_t Tokenizer::vocab_size() const { return parts_->id_limit(); }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  return parts_->TokenToId(token);
}

std::string_view Tokenizer::IdToToken(int32_t id) const {
  if (const AddedToken* token = parts_->added->FindById(id)) return token->content;
  return parts_->model->tokens().IdToToken(id);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  const AddedToken* token = parts_->added->FindById(id);
  return token != nullptr && token->special;
}

std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }
std::optional<int32_t> Tokenizer::pad_id() const { return parts_->pad_id; }

}  // namespace folkmoot
