// SPDX-License-Identifier: Apache-2.0
// Which bytes of a rendering the template wrote.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

// The rendering with "(" and ")" around each trusted range.
std::string Marked(const std::string& source, const Json& context,
                   SpecialTokenTexts special_tokens = {}) {
  const auto parsed = ChatTemplate::Parse(source, "test", std::move(special_tokens));
  if (!parsed.ok()) return std::string(Message(parsed.status()));
  const auto rendered = (*parsed)->Render(context);
  if (!rendered.ok()) return std::string(Message(rendered.status()));
  std::string marked;
  size_t done = 0;
  for (const auto& [begin, end] : rendered->trusted) {
    marked += rendered->text.substr(done, begin - done) + "(" +
              rendered->text.substr(begin, end - begin) + ")";
    done = end;
  }
  return marked + rendered->text.substr(done);
}

const Json kContext = {
    {"u", "user x"}, {"e", ""}, {"n", 5}, {"l", {"a", "b"}}, {"d", {{"k", "v"}}}};

TEST(Provenance, LiteralsAreTrustedAndTheContextIsNot) {
  EXPECT_EQ(Marked("<a>{{ u }}</a>", kContext), "(<a>)user x(</a>)");
  EXPECT_EQ(Marked("{{ '<' + u + '>' }}", kContext), "(<)user x(>)");
  EXPECT_EQ(Marked("{{ '<|' ~ 'a' ~ e ~ '|>' }}", kContext), "(<|a|>)");
  EXPECT_EQ(Marked("{{ d.k }}{{ d }}{{ l[0] }}", kContext), "v{'k': 'v'}a");
  EXPECT_EQ(Marked("{{ d | tojson }}{{ ['<s>'] | tojson }}", kContext), R"({"k": "v"}["<s>"])");
  EXPECT_EQ(Marked("{% for k in d %}{{ k }}{% endfor %}", kContext), "k");
}

TEST(Provenance, NumbersOfTheContextStayOutside) {
  EXPECT_EQ(Marked("{{ n }}{{ 5 }}{{ n + 1 }}{{ l | length }}", kContext), "5(5)6(2)");
  EXPECT_EQ(Marked("{{ '7' | int }}{{ n | string }}{{ true }}", kContext), "75(True)");
}

TEST(Provenance, SurvivesMethodsAndFilters) {
  EXPECT_EQ(Marked("{{ ('<' + u + '> ') | trim }}", kContext), "(<)user x(>)");
  EXPECT_EQ(Marked("{{ ('<' + u + '>').upper() }}", kContext), "(<)USER X(>)");
  EXPECT_EQ(Marked("{{ ('<' + u + '>')[1:4] }}", kContext), "use");
  EXPECT_EQ(Marked("{{ ('<' + u + '>')[::-1] }}", kContext), "(>)x resu(<)");
  EXPECT_EQ(Marked("{{ ('a' + u).split(' ') | join('|') }}", kContext), "(a)user(|)x");
  EXPECT_EQ(Marked("{{ u.replace('user', '<s>') }}", kContext), "(<s>) x");
  EXPECT_EQ(Marked("{{ '<s>{}</s>'.format(u) }}", kContext), "(<s>)user x(</s>)");
  EXPECT_EQ(Marked("{{ '<s>%s' % u }}", kContext), "(<s>)user x");
  EXPECT_EQ(Marked("{{ '%s' | format(u) }}", kContext), "user x");
  EXPECT_EQ(Marked("{{ l | join('<sep>') }}", kContext), "a(<sep>)b");
  EXPECT_EQ(Marked("{{ u | capitalize }}{{ u | title }}", kContext), "User xUser X");
  EXPECT_EQ(Marked("{{ (u ~ '\\n' ~ u) | indent(2) }}", kContext), "user x(\n  )user x");
  EXPECT_EQ(Marked("{{ u | first }}{{ ('a' + u) | list | join }}", kContext), "u(a)user x");
  EXPECT_EQ(Marked("{{ q | default('<s>') }}{{ q | default(u) }}", kContext), "(<s>)user x");
  EXPECT_EQ(Marked("{{ u | safe }}{{ '<' + (u | safe) }}", kContext), "user x(&lt;)user x");
}

TEST(Provenance, SurvivesMacrosBlocksAndNamespaces) {
  EXPECT_EQ(Marked("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(u) }}", kContext), "(<)user x(>)");
  EXPECT_EQ(Marked("{% set b %}<{{ u }}>{% endset %}{{ b }}", kContext), "(<)user x(>)");
  EXPECT_EQ(Marked("{% set ns = namespace(t='') %}{% for x in l %}{% set ns.t = ns.t + '<' + x %}"
                   "{% endfor %}{{ ns.t }}",
                   kContext),
            "(<)a(<)b");
  EXPECT_EQ(Marked("{% filter upper %}a{{ u }}{% endfilter %}", kContext), "(A)USER X");
}

TEST(Provenance, SpecialTokensAreTrustedUnlessTheContextSetsThem) {
  const SpecialTokenTexts tokens = {{"bos_token", "<s>"}};
  EXPECT_EQ(Marked("{{ bos_token }}{{ u }}", kContext, tokens), "(<s>)user x");
  EXPECT_EQ(Marked("{{ bos_token }}", {{"bos_token", "<evil>"}}, tokens), "<evil>");
}

TEST(Provenance, RolesOfMessagesAreTrustedWhereTheyAreOrdinary) {
  const std::string source =
      "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}";
  const auto messages = [](const char* role) {
    return Json{{"messages", {{{"role", role}, {"content", "user"}}}}};
  };
  EXPECT_EQ(Marked(source, messages("user")), "(<|user|>)user");
  EXPECT_EQ(Marked(source, messages("im_end")), "(<|)im_end(|>)user");
  // Nowhere else.
  EXPECT_EQ(Marked("{{ x.role }}", {{"x", {{"role", "user"}}}}), "user");
}

}  // namespace
}  // namespace folkmoot
