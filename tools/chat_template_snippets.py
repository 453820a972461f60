# SPDX-License-Identifier: Apache-2.0
"""Small templates that walk through the language; goldens.json keeps what Jinja makes of each."""

VARIABLES = {
    "n": 7, "f": 2.5, "s": "Hello <World>", "t": True, "z": None, "l": [3, 1, 2],
    "d": {"b": 1, "A": [1, 2.0, None, "x'y"], "c": {"k": "v"}},
    "items": [{"name": "x", "kind": "a", "on": True}, {"name": "Y", "kind": "b"},
              {"name": "z", "kind": "a", "on": False}],
    "u": "żółć ß 🙂 e\u0301", "w": "  a b\tc \n", "lines": "one\ntwo\n\nthree",
}

EXPRESSIONS = """
n + 1 ;; n - 10 ;; n * 2.5 ;; n / 2 ;; n // 2 ;; -n // 2 ;; n % 3 ;; -n % 3 ;; n % -3 ;; 2 ** 10 ;; 2 ** -1
2 ** 3 ** 2 ;; -2 ** 2 ;; f // 1 ;; f % 1 ;; 7.0 / 2 ;; 1e16 ;; 1e15 ;; 1e-5 ;; 0.0001 ;; 1.0 ;; 1_000 ;; 0x1F
0b11 ;; 0o17 ;; 1e3 ;; 10 ** 15 ;; 0.1 + 0.2 ;; 3 == 3.0 ;; 1 < 2 < 3 ;; 1 < 3 < 2 ;; 1 == 1 != 2
not t ;; not z ;; t and n ;; z or 'x' ;; z and 1 ;; n in l ;; 3 in l ;; 3 not in l ;; 'ell' in s ;; 'b' in d
'v' in d ;; s ~ n ~ z ~ t ~ f ;; 'a' 'b' "c" ;; s[0] ;; s[-1] ;; s[99] ;; s[1:3] ;; s[::-1] ;; s[:-7:2] ;; s[5:1]
u[2] ;; u[::-1] ;; u[4:5] ;; l[0] ;; l[-1] ;; l[1:] ;; l[::-1] ;; l[5] ;; (1, 2)[1:] ;; l[::2] ;; d.b ;; d['b'] ;; d.c.k
d['c']['k'] ;; d.nope ;; d.items is defined ;; d.get('b') ;; d.get('q') ;; d.get('q', 5) ;; d.keys() ;; d.values()
d.items() ;; d.keys() | list ;; d.items() | list ;; d ;; l ;; (1,) ;; () ;; {} ;; [] ;; {'a': 1, 'b': [1, 'x']}
[1, 'it''s', "q\\"q", 'n\\n', none, true, 1.0] ;; ['\\u017c', '\\x07', '\\U0001f642', '\\u200b'] ;; "it's" ;; ['"', "'"]
'a' if t ;; 'a' if z ;; 'a' if z else 'b' ;; 'a' if z else 'b' if z else 'c' ;; (n if t else 0) + 1
z is none ;; n is none ;; q is defined ;; q is undefined ;; n is defined ;; s is string ;; n is string
n is number ;; t is number ;; f is number ;; t is boolean ;; n is integer ;; f is float ;; t is integer ;; d is mapping
l is mapping ;; l is sequence ;; s is sequence ;; d is sequence ;; n is sequence ;; q is sequence ;; l is iterable
n is iterable ;; q is iterable ;; z is iterable ;; n is odd ;; n is even ;; n is divisibleby 7 ;; n is divisibleby(2)
n is eq 7 ;; n is equalto 8 ;; n is gt 6 ;; n is in [7] ;; n is ne(7) ;; t is true ;; t is false ;; s is lower ;; 'a' is lower
'A' is upper ;; n is sameas 7 ;; z is sameas none ;; not n is none ;; n is not none ;; n is not defined ;; 'upper' is filter
s is callable ;; range is callable ;; s | length ;; l | length ;; d | count ;; q | length ;; n | length ;; s | upper ;; s | lower
s | capitalize ;; 'fOO bar-baz (x' | title ;; "they're" | title ;; u | upper ;; u | capitalize ;; 'ΣΑΣ' | lower
w | trim ;; w | trim | length ;; 'xxaxx' | trim('x') ;; q | default('d') ;; z | default('d') ;; z | default('d', true)
'' | default('e', boolean=true) ;; q | d('x') ;; l | join ;; l | join(', ') ;; [1, none, 2.5, 'x'] | join('-') ;; items | join(',', attribute='name')
q | join ;; l | first ;; l | last ;; s | first ;; s | last ;; [] | first ;; [] | last ;; l | sort ;; l | sort(reverse=true)
['b', 'A', 'c'] | sort ;; ['b', 'A', 'c'] | sort(case_sensitive=true) ;; items | sort(attribute='kind') | map(attribute='name') | list
l | reverse | list ;; s | reverse ;; l | sum ;; items | sum('name') ;; [1, 2.5] | sum ;; l | min ;; l | max ;; ['b', 'A'] | min ;; [] | max
l | map('string') | list ;; ['a', 'b'] | map('upper') | list ;; items | map(attribute='on', default='?') | list ;; items | map(attribute='on') | list
items | selectattr('on') | list ;; items | selectattr('on', 'defined') | map(attribute='name') | join(',')
items | selectattr('kind', 'equalto', 'a') | list | length ;; items | rejectattr('kind', '==', 'a') | map(attribute='name') | list
l | select('gt', 1) | list ;; l | reject('odd') | list ;; [0, 1, '', 'a'] | select | list ;; ['a', 'A', 'b'] | unique | list
[1, 1, 2] | unique | list ;; d | dictsort ;; d | dictsort(true) ;; d | dictsort(reverse=true) ;; {'a': 2, 'b': 1} | dictsort(by='value')
d | items | list ;; items | groupby('kind') | list | length ;; [1,2,3,4,5] | batch(2) | list ;; [1,2,3] | batch(2, 0) | list
'5' | int ;; '5.7' | int ;; 'x' | int ;; 'x' | int(-1) ;; 'ff' | int(0, 16) ;; ' 12 ' | int ;; 5.9 | int ;; -5.9 | int ;; '1e2' | float ;; 'x' | float
none | int ;; 3 | float ;; -3 | abs ;; 2.567 | round(2) ;; 2.5 | round ;; 3.5 | round ;; 2.1 | round(method='ceil') ;; 7 | round ;; 2.567 | round(1, 'floor')
s | replace('l', 'L') ;; s | replace('l', 'L', 1) ;; 'aaa' | replace('', '-') ;; n | replace(7, 8) ;; s | string ;; n | string ;; d | string
s | safe ;; s | escape ;; (s | e) + '<' ;; (s | safe) + '<' ;; '<' + (s | safe) ;; (s | safe) ~ '<' ;; ('<%s>' | safe) % '<' ;; ('{}' | safe).format('<')
lines | indent ;; lines | indent(2, true) ;; lines | indent(2, blank=true) ;; lines | indent('> ', first=true) ;; 'x' | indent
s | tojson ;; d | tojson ;; d | tojson(indent=2) ;; [] | tojson(indent=2) ;; {} | tojson ;; u | tojson ;; u | tojson(ensure_ascii=true) ;; '\\x7f\\x01/<' | tojson
d | tojson(sort_keys=false) ;; d | tojson(separators=(',', ':')) ;; (1, 2) | tojson ;; 1e20 | tojson ;; 1.0 | tojson ;; {'a': {'b': []}} | tojson(indent=4) ;; {1: 2, none: 3, true: 4} | tojson
'%s and %s' | format('a', 1) ;; '%05d|%-5s|%5s|%.2f|%x' | format(42, 'ab', 'cd', 3.14159, 255) ;; '%(a)s' | format(a=1) ;; '%d%%' % 5 ;; '%s' % l ;; '%r' % s
'{} {}'.format(1, 'x') ;; '{0}-{1}-{0}'.format('a', 'b') ;; '{a}'.format(a=s) ;; '{:>5}|{:<5}|{:^5}|{:05d}|{:.1f}|{:,}'.format('a', 'b', 'c', 42, 2.55, 1234567) ;; '{{}}'.format() ;; '{!r}'.format('x') ;; '{0[b]}'.format(d) ;; '{:x}'.format(255)
s.split() ;; s.split('l') ;; s.split('l', 1) ;; w.split() ;; w.strip() ;; w.lstrip() ;; w.rstrip() ;; 'xxaxx'.strip('x') ;; 'abcba'.lstrip('ab') ;; 'a,b,,c'.split(',')
s.upper() ;; s.lower() ;; s.title() ;; "they're x1y".title() ;; s.swapcase() ;; s.startswith('He') ;; s.endswith('>') ;; s.startswith(('a', 'H')) ;; s.replace('l', '') ;; s.replace('l', '_', 1)
s.find('o') ;; s.find('q') ;; s.rfind('o') ;; s.index('W') ;; s.count('l') ;; 'a-b-c'.rsplit('-', 1) ;; 'a=b'.partition('=') ;; 'ab'.partition('=') ;; 'a.b.c'.rpartition('.') ;; lines.splitlines() ;; ','.join(['a', 'b'])
'5'.isdigit() ;; 'a'.isalpha() ;; 'a1'.isalnum() ;; ' '.isspace() ;; 'A'.isupper() ;; '5'.zfill(3) ;; '-5'.zfill(4) ;; 'a'.ljust(3) ~ '|' ;; 'a'.rjust(3) ;; 'ab'.center(5) ~ '|' ;; 'abc'.removeprefix('a') ;; 'abc'.removesuffix('c') ;; 'ABC'.capitalize()
l.index(1) ;; l.count(1) ;; l + [4] ;; l * 2 ;; 'ab' * 3 ;; 3 * 'ab' ;; (1,) + (2,) ;; [1] == [1.0] ;; {'a': 1} == {'a': 1.0} ;; [1, 2] < [1, 3] ;; 'a' < 'b' ;; (1, 2) == [1, 2] ;; q == q ;; q == none
range(3) | list ;; range(1, 10, 3) | list ;; range(5, 0, -2) | list ;; range(3) | length ;; range(3)[1] ;; range(0) | list ;; range(3) ;; dict(a=1, b='x') ;; dict(d, b=9).b ;; namespace(x=1).x
d.append ;; d.__class__ ;; s.__class__ ;; ''.__class__.__mro__ is defined ;; l.append is defined ;; d._x is defined ;; (l | list).0 ;; d.A.1 ;; strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %A %j %%') ;; 'abc' | list ;; 'a b c' | wordcount ;; 'x' | center(5) ~ '|'
'foo bar baz qux' | truncate(9) ;; 'foo bar baz qux' | truncate(9, true) ;; 'foo bar' | truncate(20) ;; d | attr('items') is callable ;; l | map('upper') is iterable ;; (items | selectattr('nope')) and 1 ;; true and false or true ;; 1 if l else 2 ;; not l and 1
'\\t\\101\\q\\\\' ;; "a
b" ;; 'é' 'ł' ;; {'a': 1}['a'] ;; {'a': 1}.a ;; [[1, 2], [3]] ;; [1, [2, (3,)]] ;; loop is defined ;; z ~ '' ;; true ~ false ;; -n ;; +n ;; - 3 ;; n | abs + 1 ;; s.upper().lower() ;; s | upper | lower ;; d.A[3] ;; d.A[-1] ;; l[n - 7] ;; items[0].name ;; items[-1]['name']
"""

RAISING = """
n + 's' ;; s + n ;; q.x ;; q['x'] ;; q + 1 ;; 1 + q ;; q() ;; n() ;; s.nope() ;; z + 1 ;; 1 / 0 ;; 1 % 0 ;; l.append(1) ;; d.pop('a') ;; d.update({}) ;; l | tojson(foo=1) ;; q | tojson ;; range | tojson
1 in 2 ;; 1 in 'a' ;; 'a' in none ;; [1] < 1 ;; 'a' < 1 ;; q < 1 ;; z > 1 ;; s[1:'x'] ;; z[1:] ;; l['x':] ;; range(1000000) ;; s.split('') ;; n | length ;; z | length ;; none | join ;; n | list ;; z | first ;; n | dictsort
'%d' % 'x' ;; '%s %s' % 'a' ;; '{}'.format() ;; '{a}'.format(1) ;; namespace(_x=1) ;; raise_exception('boom') ;; s.__class__.__mro__ ;; -s ;; -q ;; l | sum(start='x') ;; [[], 1] | sort ;; s | indent(q) ;; d['a'].x ;; d.nope.x ;; {[]: 1} ;; {}[[]]
s | nofilter ;; s is notest ;; 'a'.index('b') ;; l.index(9) ;; x is divisibleby 0 ;; 5 is divisibleby 0 ;; s.upper(1) ;; s.startswith(1) ;; s.join([1]) ;; q | list + 1 ;; none | upper + 1 ;; s | replace('a') ;; z | int + 'x'
"""

STATEMENTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }} {{ x }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.previtem is defined }};"
    "{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in q %}a{% else %}none{% endfor %}",
    "{% for x in z %}a{% endfor %}",
    "{% for x in n %}a{% endfor %}",
    "{% for c in 'żab' %}[{{ c }}]{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }}={{ v }} {% endfor %}",
    "{% for k, v in l %}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.depth }}{{ x * y }} {% endfor %}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in l %}{% set n = n + x %}{{ n }} {% endfor %}{{ n }}",
    "{% set ns = namespace(v=0, w=[]) %}{% for x in l %}{% set ns.v = ns.v + x %}"
    "{% set ns.w = ns.w + [x] %}{% endfor %}{{ ns.v }}{{ ns.w }}{{ ns.nope }}",
    "{% set d.x = 1 %}", "{% set q.x = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% if t %}{% set v = 1 %}{% endif %}{{ v }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a, b = [1] %}",
    "{% set x %}<{{ n }}>{% endset %}{{ x }}{{ x | length }}",
    "{% set x | upper | replace('A', 'B') %}abc{% endset %}{{ x }}",
    "{% set x %}{% set y = 1 %}{% endset %}{{ y }}",
    "{% if q %}1{% elif n == 7 %}2{% else %}3{% endif %}",
    "{% if z is none and not q %}yes{% endif %}", "{% if a if b else c %}{% endif %}",
    "{% macro m(a, b='x', c=b) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}"
    "{{ m(1, c=3) }}{{ m(b=1) }}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=1) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 'x', k=2) }}",
    "{% macro m() %}{{ v }}{% endmacro %}{{ m() }}{% set v = 1 %}{{ m() }}",
    "{% macro f(x) %}{{ x }}{% if x > 0 %}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in {{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(3) }}{% endmacro %}{% call(x) m() %}{{ x * 2 }}{% endcall %}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m(n) %}{% set n = n + 1 %}{{ n }}{% endmacro %}{{ m(1) }}{{ n }}",
    "{% macro m() %}a{% endmacro %}{{ m() + 'b' }}{{ m() | upper }}{{ m.name }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% generation %}{{ s }}{% set v = 1 %}{% endgeneration %}{{ v }}",
    "{% for x in l %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}",
    "{% raw %}{{ x }} {% if %}{% endraw %}", "{%- raw -%}  {{ x }}  {%- endraw -%}  a",
    "a{# {{ x }} #}b", "a {#- c -#} b", "  {# c #}\nb", "{# a\nb #}\n\nc",
    "a\n  {% if t %}\n  b\n  {% endif %}\nc\n", "a\n  {%+ if t %}\n  b\n  {%+ endif %}\nc\n\n",
    "a  {%- if t -%}  b  {%- endif -%}  c", "a\n\n  {{- n -}}  \n\nb", "a {{+ n }} b",
    "{% if t +%}\n b{% endif %}\nc", "\n{% if t %}\nx\n{% endif %}\n\n", "x\r\ny\rz\r\n",
    "  {{ n }}\n  {{ n }}\n", "{% if t %}  {% if t %}\n a{% endif %}{% endif %}", "\t {% set a = 1 %}\nb",
    "a\n\n", "a\n", "\n", "", "{{ '}}' }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ '%}' }}{% set a = '%}' %}{{ a }}",
    "{% print n %}", "{{ n, s }}", "{{ 1 if t }}{{ 2 if z }}", "{% if t: %}a{% endif %}",
    "{% for m in items %}{{ m.on if m.on is defined else '-' }}{% endfor %}",
    "{% set g = items | selectattr('kind', 'equalto', 'a') %}{{ g | list | length }}{{ g | list | length }}",
    "{% set x = 'a' %}{% if t %}{% set x = x + 'b' %}{% endif %}{{ x }}",
    "{{ raise_exception('Say: ' ~ s) }}", "{% if z %}{{ s | nofilter }}{% endif %}ok",
    "{% if z %}{{ s is notest }}{% endif %}ok", "{{ s | nofilter if z else 'ok' }}",
    "{% for x in l %}{% if z %}{{ x | nofilter }}{% endif %}{% endfor %}ok",
    "{% if t %}", "{% for x in %}{% endfor %}", "{{ }}", "{{ n", "{% endif %}", "{{ 'a }}", "{# a",
    "{% raw %}", "{{ (1 }}", "{{ [1) }}", "{% set %}", "{% set 1 = 2 %}", "{% set none = 2 %}",
    "{% macro m( %}{% endmacro %}", "{{ a b }}", "{{ a..b }}", "{{ 1 is }}", "{{ a | }}", "{{ ! }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% do n %}", "{% unknown %}",
    "{{ f(a=1, 2) }}", "{% else %}", "{% break %}", "{{ a if }}", "{{ 'a' is string is string }}",
    "{% macro m(a=1, b) %}{% endmacro %}", "{{ not }}", "{{ {1} }}", "{{ 'a' ~ }}", "{{ a.1b }}",
]


def snippets():
    """Every template, the expressions among them as {{ expression }}."""
    lines = (EXPRESSIONS + RAISING).replace("a\nb", "a\0b").split("\n")
    pieces = [piece for line in lines for piece in line.split(" ;; ") if piece]
    return ["{{ " + piece.replace("\0", "\n") + " }}" for piece in pieces] + STATEMENTS
