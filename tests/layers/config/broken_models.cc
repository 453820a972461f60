// SPDX-License-Identifier: Apache-2.0
#include "tests/layers/config/broken_models.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// A hybrid of linear and full attention.
json GoodHybridConfig() {
  return json::parse(R"({"model_type": "qwen3_next", "vocab_size": 96, "hidden_size": 32,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "num_experts": 8, "num_experts_per_tok": 2})");
}

json GoodConfig() {
  return json::parse(R"({"model_type": "qwen3_moe", "vocab_size": 96, "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12,
    "max_position_embeddings": 256, "intermediate_size": 24, "moe_intermediate_size": 8,
    "num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": true, "rope_theta": 1e6,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "decoder_sparse_step": 1})");
}

BrokenModel Config(std::string name, std::string text, std::vector<std::string> named) {
  named.insert(named.begin(), "config.json");
  return {.name = std::move(name),
          .files = {{"config.json", std::move(text)}},
          .named = std::move(named)};
}

BrokenModel Tokens(std::string name, std::string text, std::vector<std::string> named) {
  named.insert(named.begin(), "tokenizer.json");
  return {.name = std::move(name),
          .files = {{"tokenizer.json", std::move(text)}},
          .named = std::move(named)};
}

std::string WithModel(const std::string& fields) {
  return R"({"model":{"type":"BPE",)" + fields + "}}";
}

}  // namespace

ModelFiles GoodModel() {
  return {{"config.json", GoodConfig().dump()},
          {"chat_template.jinja", "{{ messages[0].content }}"},
          {"tokenizer.json", WithModel(R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])")},
          {"model.safetensors",
           SafetensorsBytes(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "xxxx")}};
}

// Each size of linear attention with values of every wrong type and outside of its bounds, and
// layer_types that name no such model.
void AddHybridConfigs(std::vector<BrokenModel>* table) {
  const auto add = [table](const char* key, const char* value) {
    json config = GoodHybridConfig();
    config.erase(key);
    std::string text = config.dump();
    text.insert(1, fmt::format("\"{}\":{},", key, value));
    table->push_back(
        Config(fmt::format("{} is {}", key, value), text, {fmt::format("'{}' is", key)}));
  };
  for (const char* key :
       {"full_attention_interval", "linear_conv_kernel_dim", "linear_key_head_dim",
        "linear_value_head_dim", "linear_num_key_heads", "linear_num_value_heads"}) {
    for (const char* value : {"0", "-1", "1.5", "\"8\"", "[8]", "{}", "true", "9223372036854775808",
                              "18446744073709551616"}) {
      add(key, value);
    }
  }
  add("linear_conv_kernel_dim", "17");
  add("linear_key_head_dim", "4097");
  add("linear_num_value_heads", "3");   // of 2 key heads
  add("full_attention_interval", "5");  // no layer of 4 attends
  for (const char* types :
       {"[]", "[\"full_attention\"]", "\"linear_attention\"", "[1, 2, 3, 4]", "{}",
        R"(["linear_attention","linear_attention","linear_attention","linear_attention"])",
        R"(["full_attention","mamba","linear_attention","full_attention"])",
        R"(["full_attention","sliding_attention","linear_attention","full_attention"])"}) {
    add("layer_types", types);
  }
  add("linear_attention_bias", "true");
  add("mtp_num_hidden_layers", "1");
}

// Each size of the model with values of every wrong type and outside of its bounds.
std::vector<BrokenModel> BrokenConfigs() {
  std::vector<BrokenModel> table;
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings", "intermediate_size",
        "moe_intermediate_size", "num_experts", "num_experts_per_tok", "decoder_sparse_step"}) {
    for (const char* value : {"0", "-1", "1.5", "\"8\"", "[8]", "{}", "true", "9223372036854775808",
                              "18446744073709551616"}) {
      json config = GoodConfig();
      config.erase(key);
      std::string text = config.dump();
      text.insert(1, fmt::format("\"{}\":{},", key, value));
      table.push_back(
          Config(fmt::format("{} is {}", key, value), text, {fmt::format("'{}' is", key)}));
      table.back().known = "config: layers = 1e9, heads = 0, experts < top_k";
    }
  }
  for (const char* key : {"rope_theta", "rms_norm_eps"}) {
    for (const char* value : {"-1", "\"1\"", "[1]", "{}", "true"}) {
      json config = GoodConfig();
      config[key] = json::parse(value);
      table.push_back(Config(fmt::format("{} is {}", key, value), config.dump(),
                             {fmt::format("'{}' is", key)}));
    }
  }
  for (const char* key : {"norm_topk_prob", "tie_word_embeddings"}) {
    for (const char* value : {"1", "\"true\"", "[true]", "{}"}) {
      json config = GoodConfig();
      config[key] = json::parse(value);
      table.push_back(Config(fmt::format("{} is {}", key, value), config.dump(),
                             {fmt::format("'{}' is", key)}));
    }
  }
  const std::pair<const char*, std::string> kTexts[] = {
      {"config is half", "{\"vocab_size\": "},
      {"config is a list", "[]"},
      {"config is a number", "1"},
      {"config is no UTF-8", "{\"\xff\": 1}"},
      {"config is deep", std::string(100'000, '[')},
      {"config is empty", ""},
      {"config has no model", "{}"},
      {"config has NaN", "{\"rope_theta\": NaN}"},
  };
  for (const auto& [name, text] : kTexts) table.push_back(Config(name, text, {}));
  const auto with = [](const char* key, json value) {
    json config = GoodConfig();
    config[key] = std::move(value);
    return config.dump();
  };
  table.push_back(
      Config("1e9 layers", with("num_hidden_layers", 1'000'000'000), {"num_hidden_layers"}));
  table.push_back(Config("more experts per token than experts", with("num_experts_per_tok", 9),
                         {"num_experts_per_tok"}));
  table.push_back(
      Config("heads do not divide", with("num_key_value_heads", 3), {"num_key_value_heads"}));
  table.push_back(Config("odd head", with("head_dim", 13), {"head_dim"}));
  table.push_back(Config("unknown model", with("model_type", "gpt9"), {"gpt9"}));
  AddHybridConfigs(&table);
  table.push_back({.name = "no config.json",
                   .named = {"config.json"},
                   .code = absl::StatusCode::kNotFound,
                   .missing = {"config.json"}});
  return table;
}

std::vector<BrokenModel> BrokenTokenizers() {
  std::vector<BrokenModel> table;
  const std::pair<const char*, std::string> kTexts[] = {
      {"tokenizer is empty", ""},
      {"tokenizer is half", "{"},
      {"tokenizer is a list", "[1]"},
      {"tokenizer is no UTF-8", "{\"model\": \"\xff\"}"},
      {"tokenizer is deep", std::string(100'000, '[')},
      {"no model", "{}"},
      {"unknown model", R"({"model":{"type":"WordPiece","vocab":{}}})"},
      {"unigram of nothing", R"({"model":{"type":"Unigram","vocab":[]}})"},
      {"unigram without scores", R"({"model":{"type":"Unigram","vocab":["a"]}})"},
      {"no merges", WithModel(R"("vocab":{"a":0})")},
      {"no vocab", WithModel(R"("merges":[])")},
      {"vocab is a list", WithModel(R"("vocab":["a"],"merges":[])")},
      {"id is negative", WithModel(R"("vocab":{"a":-1},"merges":[])")},
      {"id is 2^31", WithModel(R"("vocab":{"a":2147483648},"merges":[])")},
      {"id is 2^24", WithModel(R"("vocab":{"a":16777216},"merges":[])")},
      {"id is a fraction", WithModel(R"("vocab":{"a":0.5},"merges":[])")},
      {"id twice", WithModel(R"("vocab":{"a":0,"b":0},"merges":[])")},
      {"merge of a missing token", WithModel(R"("vocab":{"a":0,"b":1},"merges":["a c"])")},
      {"merge into a missing token", WithModel(R"("vocab":{"a":0,"b":1},"merges":["a b"])")},
      {"merge of one", WithModel(R"("vocab":{"a":0},"merges":["a"])")},
      {"merge is a number", WithModel(R"("vocab":{"a":0},"merges":[1])")},
      {"merge of three", WithModel(R"("vocab":{"a":0},"merges":[["a","a","a"]])")},
      {"dropout", WithModel(R"("vocab":{"a":0},"merges":[],"dropout":0.5)")},
  };
  for (const auto& [name, text] : kTexts) {
    table.push_back(Tokens(name, text, {}));
    table.back().known = "tokenizer.json: merges of missing tokens";
  }
  const std::string good = R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},)";
  const std::pair<const char*, std::string> kParts[] = {
      {"unclosed regex", R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},)"
                         R"("behavior":"Isolated","invert":false}})"},
      {"nested regex", R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":")" +
                           std::string(20'000, '(') +
                           R"("},"behavior":"Isolated","invert":false}})"},
      {"unknown pre-tokenizer", R"("pre_tokenizer":{"type":"Magic"}})"},
      {"unknown normalizer", R"("normalizer":{"type":"Magic"}})"},
      {"unknown decoder", R"("decoder":{"type":"Magic"}})"},
      {"added token without text", R"("added_tokens":[{"id":1}]})"},
      {"added token of a negative id", R"("added_tokens":[{"id":-1,"content":"x"}]})"},
      {"added tokens are an object", R"("added_tokens":{}})"},
  };
  for (const auto& [name, text] : kParts) table.push_back(Tokens(name, good + text, {}));
  return table;
}

// A template inside of the model's directory is a program that strangers wrote.
std::vector<BrokenModel> BrokenTemplates() {
  constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  std::vector<BrokenModel> table;
  const std::tuple<const char*, std::string, absl::StatusCode> kTexts[] = {
      {"template is half", "{% for x in", kInvalid},
      {"template ends nothing", "{% endfor %}", kInvalid},
      {"template is nested", "{{ " + std::string(100'000, '('), kInvalid},
      {"template loops for ever",
       "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
       kExhausted},
      {"template writes for ever", "{{ 'x' * 999999999 }}", kExhausted},
      {"template calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", kExhausted},
      {"template runs code", "{{ ''.__class__.__mro__[1].__subclasses__()[0]('ls', shell=True) }}",
       kInvalid},
      {"template reads a file", "{% include '/etc/passwd' %}", kInvalid},
      {"template imports", "{% import 'os' as os %}", kInvalid},
      {"template calls eval", "{{ eval('1') }}", kInvalid},
  };
  for (const auto& [name, text, code] : kTexts) {
    table.push_back({.name = name,
                     .files = {{"chat_template.jinja", text}},
                     .named = {"chat_template.jinja"},
                     .code = code,
                     .known = "CVE-2026-5760, CVE-2024-34359"});
  }
  return table;
}

std::vector<BrokenModel> AllBrokenModels() {
  std::vector<BrokenModel> table = BrokenWeights();
  for (auto part : {BrokenConfigs(), BrokenTokenizers(), BrokenTemplates()}) {
    table.insert(table.end(), part.begin(), part.end());
  }
  return table;
}

}  // namespace folkmoot
