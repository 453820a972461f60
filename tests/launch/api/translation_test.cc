// SPDX-License-Identifier: Apache-2.0
// Fields of models with an encoder, and of beam search.
#include <gmock/gmock.h>

#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

class Translation : public ApiTest {
 protected:
  std::string ErrorOf(const Json& body) {
    const auto exchange = Post("/v1/completions", body);
    EXPECT_EQ(exchange->response.status, 400) << exchange->response.body;
    return exchange->response.body;
  }
  // The source, then the decoder's first token and, where one is asked for, a language.
  void MakeSources() {
    model.make_source = [this](const SourceOptions& languages, std::span<const int32_t> source) {
      asked = languages;
      SourcePrompt prompt;
      prompt.tokens.assign(source.begin(), source.end());
      prompt.source = std::ssize(prompt.tokens);
      prompt.tokens.push_back(2);
      prompt.begun = languages.forced_bos ? 1 : 0;
      if (languages.forced_bos) prompt.tokens.push_back(*languages.forced_bos);
      return absl::StatusOr<SourcePrompt>(prompt);
    };
  }

  SourceOptions asked;
};

TEST_F(Translation, APromptBecomesASource) {
  MakeSources();
  Attach();
  Post("/v1/completions", {{"prompt", {5, 6, 7}},
                           {"source_language", "eng_Latn"},
                           {"forced_bos_token_id", 9},
                           {"num_beams", 4},
                           {"n", 2},
                           {"length_penalty", 0.5},
                           {"early_stopping", "never"}});
  EXPECT_EQ(asked.source_language, "eng_Latn");
  EXPECT_EQ(taken().prompt, (std::vector<int32_t>{5, 6, 7, 2, 9}));
  EXPECT_EQ(taken().source, 3);
  EXPECT_EQ(taken().beams.width, 4);
  EXPECT_EQ(taken().beams.begun, 1);
  EXPECT_EQ(taken().beams.length_penalty, 0.5);
  EXPECT_EQ(taken().beams.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(taken().n, 2);
}

TEST_F(Translation, SourcesHaveNoLogprobs) {
  MakeSources();
  Attach();
  EXPECT_THAT(ErrorOf({{"prompt", {5}}, {"prompt_logprobs", 1}}), HasSubstr("has an encoder"));
}

TEST_F(Translation, DecodersAloneHaveNoLanguages) {
  Attach();
  EXPECT_THAT(ErrorOf({{"prompt", {5}}, {"target_language", "fra_Latn"}}),
              HasSubstr("target_language: this model has no encoder"));
  Post("/v1/completions", {{"prompt", {5}}});
  EXPECT_EQ(taken().source, 0);
  EXPECT_EQ(taken().beams.width, 0);
}

TEST_F(Translation, BeamsByTheNamesOfVllmAndTransformers) {
  Attach();
  Post("/v1/completions", {{"prompt", {5}}, {"use_beam_search", true}, {"n", 3}});
  EXPECT_EQ(taken().beams.width, 3);
  Post("/v1/completions", {{"prompt", {5}}, {"beam_width", 2}, {"early_stopping", true}});
  EXPECT_EQ(taken().beams.width, 2);
  EXPECT_EQ(taken().beams.early_stopping, EarlyStopping::kYes);
  Post("/v1/completions", {{"prompt", {5}}, {"use_beam_search", false}, {"length_penalty", 2}});
  EXPECT_EQ(taken().beams.width, 0);
  EXPECT_THAT(ErrorOf({{"prompt", {5}}, {"num_beams", 2}, {"n", 3}}), HasSubstr("beam search"));
  EXPECT_THAT(ErrorOf({{"prompt", {5}}, {"num_beams", 2}, {"beam_width", 3}}),
              HasSubstr("contradicts"));
  EXPECT_THAT(ErrorOf({{"prompt", {5}}, {"num_beams", 2}, {"early_stopping", "soon"}}),
              HasSubstr("early_stopping"));
}

}  // namespace
}  // namespace folkmoot
