// SPDX-License-Identifier: Apache-2.0
// Every template ends, within bounds and with a message; broken ones are refused with their line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

absl::StatusOr<ChatTemplate::Rendered> Render(const std::string& source,
                                              const Json& context = Json::object(),
                                              const RenderLimits& limits = {}) {
  const auto parsed = ChatTemplate::Parse(source, "dir/x.jinja");
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->Render(context, limits);
}

std::string Repeated(const std::string& part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

TEST(TemplateBounds, EndlessAndHugeTemplatesAreStopped) {
  const std::vector<std::string> sources = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() ~ f() }}{% endmacro %}{{ f() }}",
      "{{ 'a' * 999999999999 }}",
      "{{ 'a' * 9223372036854775807 }}",
      "{{ [1] * 999999999 }}",
      "{{ range(100001) }}",
      "{% set ns = namespace(s='abcdefgh') %}{% for i in range(9999) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s='abcdefgh') %}{% for i in range(9999) %}{% set ns.s = ns.s ~ ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s='ab') %}{% for i in range(9999) %}"
      "{% set ns.s = ns.s.replace('', 'aaaa') %}{% endfor %}",
      "{% set ns = namespace(s='ab') %}{% for i in range(9999) %}"
      "{% set ns.s = ns.s | replace('a', 'aaaaaaaa') %}{% endfor %}",
      "{% set ns = namespace(s='a') %}{% for i in range(9999) %}{% set ns.s = '%s%s' % (ns.s, "
      "ns.s) %}"
      "{% endfor %}",
      "{% set ns = namespace(s='a\\n') %}{% for i in range(99) %}"
      "{% set ns.s = (ns.s ~ ns.s) | indent(9999) %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = ns.l + ns.l %}"
      "{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(90) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(90) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}{{ ns.l | tojson }}",
      "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(90) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
      "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '{:999999999}'.format(1) }}",
      "{{ 'a'.center(99999999999) }}",
      "{{ 'a' | indent(999999999) }}",
      "{{ [1] | batch(99999, 1) | list | tojson(indent=99999) }}",
      "{% set x = 'a' * 30000000 %}{{ x }}{{ x }}",
      "{% set x = 'ab' * 3000000 %}{% for i in range(99999) %}{{ 'zz' in x }}{% endfor %}",
      "{{ range(99999) | map('string') | join('x' * 99999) }}",
      "{{ 2 ** 1000000000 ** 2 }}",
  };
  for (const std::string& source : sources) {
    const auto rendered = Render(source);
    ASSERT_FALSE(rendered.ok()) << source;
    const bool overflow = source.find("2 ** 1") != std::string::npos;
    if (!overflow) {
      EXPECT_EQ(rendered.status().code(), absl::StatusCode::kResourceExhausted)
          << source << ": " << Message(rendered.status());
    }
    EXPECT_THAT(std::string(Message(rendered.status())), HasSubstr("dir/x.jinja:1: ")) << source;
  }
}

TEST(TemplateBounds, LongChainsOfObjectsAreFreedFlat) {
  const std::vector<std::string> sources = {
      "{% set ns = namespace(p=none) %}{% for i in range(99999) %}{% set ns.p = namespace(p=ns.p) "
      "%}"
      "{% endfor %}{% set ns.p = none %}ok",
      "{% set ns = namespace(p=none) %}{% for i in range(99999) %}{% set a = namespace() %}"
      "{% set w = [a] %}{% set a.x = ns.p %}{% set ns.p = w %}{% endfor %}ok",
      "{% set ns = namespace(f=none) %}{% for i in range(9999) %}{% set g = ns.f %}"
      "{% macro f() %}{{ g }}{% endmacro %}{% set ns.f = f %}{% endfor %}ok",
  };
  for (const std::string& source : sources) {
    const auto rendered = Render(source);
    ASSERT_TRUE(rendered.ok()) << Message(rendered.status());
    EXPECT_EQ(rendered->text, "ok");
  }
  const auto loops = Render(
      "{% set ns = namespace(l=1) %}{% for i in range(9999) %}{% for x in [ns.l] %}"
      "{% set ns.l = loop %}{% endfor %}{% endfor %}");
  EXPECT_EQ(loops.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TemplateBounds, LimitsAreSettable) {
  RenderLimits limits;
  limits.max_output_bytes = 10;
  EXPECT_TRUE(Render("0123456789", Json::object(), limits).ok());
  EXPECT_THAT(std::string(Message(Render("0123456789a", Json::object(), limits).status())),
              HasSubstr("the limit is 10"));
  RenderLimits steps;
  steps.max_steps = 100;
  EXPECT_THAT(std::string(Message(
                  Render("{% for i in range(99) %}{% endfor %}", Json::object(), steps).status())),
              HasSubstr("more than 100 steps"));
}

TEST(TemplateBounds, DeepTemplatesAreRefusedWithTheirLine) {
  const int n = 200000;
  const std::vector<std::string> sources = {
      "\n\n{{ " + std::string(n, '(') + "1" + std::string(n, ')') + " }}",
      "\n\n{{ " + std::string(n, '(') + " }}",
      "\n\n{{ " + std::string(n, '[') + " }}",
      "\n\n{{ " + Repeated("{1:", n) + " }}",
      "\n\n{{ " + Repeated("not ", n) + "1 }}",
      "\n\n{{ " + std::string(n, '-') + "1 }}",
      "\n\n{{ " + Repeated("1 + ", n) + "1 }}",
      "\n\n{{ " + Repeated("1 if 1 else ", n) + "1 }}",
      "\n\n{{ " + Repeated("a if ", n) + "1 }}",
      "\n\n{{ a" + Repeated("|e", n) + " }}",
      "\n\n{{ a" + Repeated(".a", n) + " }}",
      "\n\n{{ a" + Repeated("()", n) + " }}",
      "\n\n{{ a" + Repeated("(a", n) + " }}",
      "\n\n{{ a" + Repeated("[a", n) + " }}",
      "\n\n{{ a" + Repeated(" is b(a", n) + " }}",
      "\n\n{{ 1" + Repeated(" and 1", n) + " }}",
      "\n\n{{ 2" + Repeated(" ** 2", n) + " }}",
      "\n\n{% set " + Repeated("(", n) + " = 1 %}",
      "\n\n" + Repeated("{% if a %}", n),
      "\n\n" + Repeated("{% for a in b %}", n),
      "\n\n" + Repeated("{% macro a() %}", n),
      "\n\n" + Repeated("{% set a %}", n),
  };
  for (const std::string& source : sources) {
    const auto rendered = Render(source);
    ASSERT_FALSE(rendered.ok()) << source.substr(0, 40);
    EXPECT_THAT(std::string(Message(rendered.status())), HasSubstr("dir/x.jinja: line 3: "))
        << source.substr(0, 40);
  }
  // What is long but not deep is fine.
  EXPECT_TRUE(Render("{{ 'a'" + Repeated(" ~ 'a'", 20000) + " }}").ok());
  EXPECT_TRUE(Render("{% if a %}" + Repeated("{% elif a %}x", 20000) + "{% endif %}").ok());
  EXPECT_TRUE(Render("{{ [" + Repeated("1,", 20000) + "] | length }}").ok());
  EXPECT_TRUE(Render("{{ " + std::string(50, '(') + "1" + std::string(50, ')') + " }}").ok());
}

TEST(TemplateBounds, ErrorsNameTheLine) {
  const auto message = [](const std::string& source) {
    return std::string(Message(Render(source).status()));
  };
  EXPECT_EQ(message("a\n{% if x %}\nb\n"),
            "dir/x.jinja: line 3: the template ends where 'endif' is due for the block of line 2");
  EXPECT_THAT(message("\n\n{{ 'a }}"), HasSubstr("line 3: a string is not closed"));
  EXPECT_THAT(message("\n{# a"), HasSubstr("line 2: a comment is not closed"));
  EXPECT_THAT(message("\n\n{% bogus %}"), HasSubstr("line 3: unknown statement 'bogus'"));
  EXPECT_THAT(message("\n{{ x | bogus }}"), HasSubstr("line 2: no filter named 'bogus'"));
  EXPECT_THAT(message("\n{{ a b }}"), HasSubstr("line 2: expected '}}', found 'b'"));
  EXPECT_EQ(message("x\n\n{{ q.y }}"), "dir/x.jinja:3: 'q' is undefined");
  EXPECT_EQ(message("{{ raise_exception('Only once: ' + 'x') }}"), "Only once: x");
}

TEST(TemplateBounds, DeepContextIsAnError) {
  Json deep = 1;
  for (int i = 0; i < 5000; ++i) deep = Json::array({std::move(deep)});
  const Json context = {{"tools", std::move(deep)}};
  const auto rendered = Render("{{ tools }}", context);
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(Message(rendered.status())), HasSubstr("\"tools\""));
  EXPECT_TRUE(Render("never read", context).ok());
}

TEST(TemplateBounds, TheSandboxHasNoWayOut) {
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ x.__init__.__globals__ }}", "{{ self.__dict__.x }}",
        "{{ messages.append(1) }}", "{{ d.update({'a': 1}) }}", "{{ cycler.__init__ }}",
        "{{ namespace(__class__=1) }}", "{% include '/etc/passwd' %}", "{% import 'os' as os %}",
        "{{ ''['__class__']['__mro__'] }}", "{{ ('' | attr('__class__')).x }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}"}) {
    EXPECT_FALSE(
        Render(source, {{"messages", Json::array()}, {"d", Json::object()}, {"x", 1}}).ok())
        << source;
  }
}

// Random edits of a template: whatever comes out, it ends and does not crash.
TEST(TemplateBounds, MutatedTemplatesNeverCrash) {
  const std::string seed =
      "{%- macro m(a, b=[1, {'k': 'v'}]) -%}{{ a|trim ~ b[0] }}{% endmacro %}\n"
      "{% for x, y in messages.items() if x is not none %}{{ loop.index0 * 2 // 3 }}"
      "{% set ns.z = m(x, b=y)[::-1] %}{% else %}{{ 'a\\n' 'b' if q else 1.5e3 }}{% endfor %}"
      "{# c #}{% raw %}{{ }}{% endraw %}{% filter upper %}{{ '%s {}' % l | join(', ') }}"
      "{% endfilter %}{% generation %}{{ messages | tojson(indent=2) }}{% endgeneration %}";
  const std::string letters = "{}%#()[]'\"|.,:~-+*/=<> \nab01_";
  std::mt19937 random(7);
  const auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  RenderLimits limits;
  limits.max_steps = 20000;
  limits.max_output_bytes = 100000;
  const Json context = {{"messages", {{"a", "b"}, {"c", 1}}}, {"l", {1, 2}}, {"q", nullptr}};
  for (int i = 0; i < 20000; ++i) {
    std::string source = seed;
    for (size_t edits = 1 + below(4); edits > 0 && !source.empty(); --edits) {
      const size_t at = below(source.size());
      const size_t choice = below(4);
      if (choice == 0) source.erase(at, 1 + below(20));
      if (choice == 1) source.insert(at, 1, letters[below(letters.size())]);
      if (choice == 2) source[at] = letters[below(letters.size())];
      if (choice == 3) source.insert(at, source.substr(below(source.size()), below(30)));
    }
    const auto rendered = Render(source, context, limits);
    EXPECT_TRUE(rendered.ok() || !Message(rendered.status()).empty());
  }
}

TEST(TemplateBounds, OneTemplateManyThreads) {
  const auto parsed = ChatTemplate::Parse(
      "{% set ns = namespace(v=0) %}{% for m in messages %}{% set ns.v = ns.v + m %}{% endfor %}"
      "{{ ns.v }}",
      "x");
  ASSERT_TRUE(parsed.ok());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto rendered = (*parsed)->Render({{"messages", {t, i, 1}}});
        if (!rendered.ok() || rendered->text != std::to_string(t + i + 1))
          ++wrong[static_cast<size_t>(t)];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace folkmoot
