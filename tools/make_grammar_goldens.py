#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random forms of structured output, judged by Python's `re` and by `jsonschema`.

    python3 tools/make_grammar_goldens.py > tests/data/grammar/forms.jsonl
        Writes the golden file of grammar_golden_test: forms with texts that the oracles accept or
        reject. Texts of a schema are written the way we write JSON, properties in schema order.

    python3 tools/make_grammar_goldens.py --check GRAMMAR_TOOL TOKENIZER_JSON [FORMS [SEED]]
        Lets a random model speak under many forms (1,200 of each kind unless told) and asks the
        oracles about every output. Needs: pip install jsonschema rfc3339-validator
"""
import json
import random
import re
import subprocess
import sys

import jsonschema

CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER


# Regular expressions -----------------------------------------------------------------------------

ATOMS = ["a", "b", "c", "0", "7", " ", "_", "é", "日", r"\d", r"\w", r"\s", r"\D", r"\W", ".", r"\.",
         r"\\", r"\n", "-", '"', "[abc]", "[^abc]", "[a-cx-z]", r"[\d_]", "[é-ü]", r"[^\w]", r"\x41",
         r"\u00e9", "[^\"\\\\\n]", "x{", r"\{", "[.]", "[-a]", "[a-]"]


def random_regex(rng, depth=3):
    kind = rng.random()
    if depth == 0 or kind < 0.35:
        return rng.choice(ATOMS)
    if kind < 0.6:
        return "".join(random_regex(rng, depth - 1) for _ in range(rng.randint(1, 4)))
    if kind < 0.75:
        branches = [random_regex(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return rng.choice(["(%s)", "(?:%s)", "(?P<n%d>%%s)" % rng.randrange(10**9)]) % "|".join(branches)
    inner = random_regex(rng, depth - 1)
    atom = inner if inner in ATOMS and inner != "x{" else "(?:%s)" % inner
    low = rng.randint(0, 3)
    quantifier = rng.choice(["*", "+", "?", "*?", "{%d}" % low, "{%d,}" % low,
                             "{%d,%d}" % (low, low + rng.randint(0, 4))])
    return atom + quantifier


def regex_texts(rng, regex):
    alphabet = "abcxyz07 _-.é日AZ\"\\\n"
    texts = {"", "a", "abc", "é", "7"}
    for _ in range(20):
        texts.add("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6))))
    return sorted(texts)


def regex_matches(regex, text):
    return re.fullmatch(regex, text, re.ASCII) is not None


# Schemas -----------------------------------------------------------------------------------------

NAMES = ["name", "age", "a b", "tags", "x", "xy", "日本", "quo\"te", "id"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "uri", "hostname"]
PATTERNS = [r"^[a-z]+$", r"[A-Z]{2}\d{2,4}", r"^(foo|bar)-\d$", r"^\S+@\S+$", "^.{1,5}$", r"[^\"]+",
            r"\w+ \w+", "[\\s\\S]{2}"]


def random_string(rng):
    schema = {"type": "string"}
    kind = rng.random()
    if kind < 0.25:
        low = rng.randint(0, 4)
        schema.update(rng.choice([{"minLength": low}, {"maxLength": low + 3},
                                  {"minLength": low, "maxLength": low + rng.randint(0, 5)}]))
    elif kind < 0.45:
        schema["format"] = rng.choice(FORMATS)
    elif kind < 0.6:
        schema["pattern"] = rng.choice(PATTERNS)
    elif kind < 0.65:
        schema.update(pattern="^[a-zé]+$", maxLength=rng.randint(1, 6))
    return schema


def random_number(rng):
    schema = {"type": rng.choice(["integer", "number"])}
    scale = rng.choice([1, 10, 1000, 10**6, 10**12])
    def bound(value):
        if schema["type"] == "number" and rng.random() < 0.6:
            return round(value + rng.uniform(-1, 1), rng.randint(1, 3))
        return value
    low = rng.randint(-scale, scale)
    high = low + rng.randint(1, 2 * scale)
    kind = rng.random()
    if kind < 0.6:
        if rng.random() < 0.7:
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = bound(low - 1)
        if rng.random() < 0.7:
            schema[rng.choice(["maximum", "exclusiveMaximum"])] = bound(high + 2)
    elif kind < 0.75:
        schema = {"type": "integer", "multipleOf": rng.randint(1, 30)}
        if rng.random() < 0.5:
            schema["minimum"] = rng.choice([0, 1])
            if rng.random() < 0.5:
                schema["maximum"] = rng.randint(60, 3000)
    return schema


def random_array(rng, depth, defs):
    schema = {"type": "array"}
    if rng.random() < 0.8:
        schema["items"] = random_schema(rng, depth - 1, defs)
    if rng.random() < 0.25:
        schema["prefixItems"] = [random_schema(rng, depth - 1, defs) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.3:
            schema["items"] = False
    if schema.get("items") is not False:
        low = rng.randint(0, 3)
        if rng.random() < 0.4:
            schema["minItems"] = low
        if rng.random() < 0.4:
            schema["maxItems"] = low + rng.randint(0, 3)
    return schema


def random_object(rng, depth, defs):
    schema = {"type": "object"}
    names = rng.sample(NAMES, rng.randint(0, 4))
    if names or rng.random() < 0.5:
        schema["properties"] = {name: random_schema(rng, depth - 1, defs) for name in names}
    schema["required"] = [name for name in names if rng.random() < 0.5]
    if rng.random() < 0.35:
        schema["additionalProperties"] = rng.choice([True, False, {"type": "integer"}])
    if not names and rng.random() < 0.4:
        schema.pop("properties", None)
        schema["additionalProperties"] = random_schema(rng, depth - 1, defs)
        schema[rng.choice(["minProperties", "maxProperties"])] = 1
    return schema


def random_schema(rng, depth=3, defs=()):
    kind = rng.random()
    if depth <= 0 or kind < 0.3:
        return rng.choice([random_string, random_number, random_string, random_number,
                           lambda r: {"type": "boolean"}, lambda r: {"type": "null"},
                           lambda r: {"type": ["integer", "null"]},
                           lambda r: {"enum": ["red", 3, None, {"k": [1, 2.5]}, "日\"\n"]},
                           lambda r: {"const": r.choice(["x", 1.5, False, [1, {"a": 2}]])}])(rng)
    if kind < 0.55:
        return random_object(rng, depth, defs)
    if kind < 0.7:
        return random_array(rng, depth, defs)
    if kind < 0.8:
        return {"anyOf": [random_schema(rng, depth - 1, defs) for _ in range(rng.randint(1, 3))]}
    if kind < 0.84:
        return {"oneOf": [{"type": "object", "required": ["kind", "v"], "properties": {
            "kind": {"const": "c%d" % i}, "v": random_schema(rng, depth - 1, defs)}}
            for i in range(2)], "description": "told apart by kind"}
    if kind < 0.88:
        return {"type": "object", "properties": {"id": {"type": "integer"}, "x": {"type": "string"}},
                "required": ["id"], "anyOf": [{"required": ["x"]}, {"required": ["id"]}]}
    if kind < 0.92:
        return {"allOf": [{"type": "object", "properties": {"p": random_schema(rng, depth - 1, defs)}},
                          {"required": ["p"], "properties": {"q": {"type": "boolean"}}}]}
    if kind < 0.94:
        return {}
    return {"$ref": "#/$defs/" + rng.choice(defs)} if defs else True


def random_root(rng):
    defs = rng.choice([[], ["A"], ["A", "B"]])
    schema = random_schema(rng, 3, defs)
    if not isinstance(schema, dict) or "$ref" in schema:
        schema = {"type": "array", "items": schema}
    schema = dict(schema)
    if defs:
        # Every recursion passes through an optional property.
        schema["$defs"] = {name: {"type": "object", "title": name, "properties": {
            "v": random_schema(rng, 1, []),
            "next": {"anyOf": [{"$ref": "#/$defs/" + rng.choice(defs)}, {"type": "null"}]}},
            "required": ["v"]} for name in defs}
    return schema


def random_instance(rng, schema, root, depth=0):
    """Some value that may or may not be valid."""
    if rng.random() < 0.08 or not isinstance(schema, dict) or depth > 6:
        return rng.choice([None, True, 3, -2.5, "s", "", [], {}, [1], {"name": "x"}, "2024-02-30"])
    if "$ref" in schema:
        return random_instance(rng, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key in schema and "properties" not in schema:
            return random_instance(rng, rng.choice(schema[key]), root, depth + 1)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    if "allOf" in schema:
        return {"p": random_instance(rng, schema["allOf"][0]["properties"]["p"], root, depth + 1),
                "q": rng.choice([True, 1])}
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = rng.choice(kind)
    if kind == "object":
        value = {}
        for name, sub in schema.get("properties", {}).items():
            if name in schema.get("required", []) or rng.random() < 0.5:
                value[name] = random_instance(rng, sub, root, depth + 1)
        if rng.random() < 0.15 or schema.get("minProperties"):
            value["zz" if rng.random() < 0.5 else "nam"] = rng.choice([1, "s"])
        return value
    if kind == "array":
        value = [random_instance(rng, sub, root, depth + 1) for sub in schema.get("prefixItems", [])]
        for _ in range(rng.randint(0, 3)):
            value.append(random_instance(rng, schema.get("items", {}), root, depth + 1))
        return value
    if kind == "string":
        return rng.choice(["", "a", "abc", "AB12", "foo-1", "a b", "日本語", "q\"\\\n", "é" * 5,
                           "2024-02-29", "10:20:30Z", "10.0.0.255", "300.1.1.1", "::1", "a@b.co"])
    if kind in ("integer", "number"):
        edges = [schema[k] for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
                 if k in schema] or [0]
        value = rng.choice(edges) + rng.choice([0, 0, 1, -1, 0.5, -0.001, 10, -100])
        return int(value) if kind == "integer" and rng.random() < 0.9 else round(value, 6)
    return rng.choice([True, None])


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_valid(schema, text):
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return jsonschema.Draft202012Validator(schema, format_checker=CHECKER).is_valid(value)


def goldens():
    rng = random.Random(20)
    for _ in range(160):
        regex = random_regex(rng)
        texts = regex_texts(rng, regex)
        print(json.dumps({"regex": regex, "texts": {t: regex_matches(regex, t) for t in texts}},
                         ensure_ascii=False))
    for _ in range(160):
        schema = random_root(rng)
        texts = {dumps(random_instance(rng, schema, schema)) for _ in range(12)}
        print(json.dumps({"schema": schema, "texts": {t: is_valid(schema, t) for t in sorted(texts)}},
                         ensure_ascii=False))


def check(tool, tokenizer, count, seed):
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        regex = random_regex(rng)
        lines.append({"regex": regex, "samples": 3, "texts": regex_texts(rng, regex)})
        lines.append({"schema": random_root(rng), "samples": 3})
    if not json.load(open(tokenizer))["decoder"]["type"] == "ByteLevel":
        for line in lines:
            line.pop("texts", None)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    run = subprocess.run([tool, tokenizer], input=text, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in run.stdout.split("\n") if line]
    assert len(answers) == len(lines)
    counts = {"regex": [0, 0, 0], "schema": [0, 0, 0]}  # outputs checked, refused, unfinished
    errors, wrong, texts, slowest = {}, 0, 0, 0
    for line, answer in zip(lines, answers):
        kind = "regex" if "regex" in line else "schema"
        slowest = max(slowest, answer["compile_us"])
        if "error" in answer:
            counts[kind][1] += 1
            reason = re.sub(r"#\S*/|at byte \d+", "", answer["error"])
            errors[reason] = errors.get(reason, 0) + 1
            continue
        for output in answer["outputs"]:
            if not output["ended"] and not output["problem"]:
                counts[kind][2] += 1
                continue
            good = not output["problem"] and (
                regex_matches(line["regex"], output["text"]) if kind == "regex"
                else is_valid(line["schema"], output["text"]))
            counts[kind][0] += 1
            if not good:
                wrong += 1
                print("WRONG", json.dumps(line, ensure_ascii=False), output)
        for t, accepted in zip(line.get("texts", []), answer["accepted"]):
            texts += 1
            if accepted != regex_matches(line["regex"], t):
                wrong += 1
                print("WRONG", line["regex"], repr(t), "accepted:", accepted)
    for kind, (checked, refused, open_ended) in counts.items():
        print(f"{kind}: {checked} outputs checked, {refused} forms refused, {open_ended} unfinished")
    print(f"texts compared: {texts}; wrong: {wrong}; slowest compile: {slowest / 1000:.1f} ms")
    for reason, times in sorted(errors.items(), key=lambda item: -item[1]):
        print(f"  refused {times}x: {reason}")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        many = int(sys.argv[4]) if len(sys.argv) > 4 else 1200
        sys.exit(1 if check(sys.argv[2], sys.argv[3], many,
                            int(sys.argv[5]) if len(sys.argv) > 5 else 1) else 0)
    goldens()
