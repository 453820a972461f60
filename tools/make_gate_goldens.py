#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/gates/random_cases.json: random gates on random logits, and what they decide.

The decisions are made here, in float64 and pure Python, by a second implementation of the gate
that shares nothing with layers/gates/. Run without arguments from the root of the repository:

    python3 tools/make_gate_goldens.py

The format of a case (to stay small, all arrays are flat and row-major):
  gate       the fields that differ from their defaults
  rows       number of tokens; logits: integers, in hundredths
  start      position of the first token; layer, stream: keys of the random draws
  uniforms   optional injected draws of the extra slots, in 1/1024
  valid      optional string of 0 and 1
  token_ids  optional, for token tables
  capacity, expert, weight, pos (-1 none), state (k kept, r rejected, o overflow, m moved,
             i padding)
"""
import json
import math
import pathlib
import random
import struct

from goldens.draws import Draws

OUT = pathlib.Path("tests/data/gates/random_cases.json")
CASES = 420
SEED = 20260711
NEAR = 1e-9  # a decision by a smaller margin proves nothing: such cases are drawn again
FREE = float("inf")

DEFAULTS = dict(
    score_fn="softmax", router_dtype="fp32", router_bias=None, select_on="score",
    selection_bias=None, selection="learned", token_table=None, n_group=1, topk_group=1,
    group_score="max", group_fill="-inf", weight_from="score", normalize="none", norm_eps=0.0,
    norm_eps_mode="add", extra_policy="all", extra_threshold=0.5, extra_gate="normalized",
    rejected_consumes=False, capacity="none", capacity_factor=1.0, capacity_fixed=0,
    min_capacity=0, capacity_multiple=1, group="step", group_size=64, priority="slot_major",
    overflow="residual", scale=1.0, seed=0)


class TooClose(Exception):
    """The case hinges on a rounding error."""


# ------------------------------------------------------------------ small mathematics
def float32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def bfloat16(x):
    (bits,) = struct.unpack("I", struct.pack("f", x))
    keep, rest = divmod(bits, 1 << 16)
    if rest > 0x8000 or (rest == 0x8000 and keep % 2):
        keep += 1
    return struct.unpack("f", struct.pack("I", keep << 16))[0]


def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


def softmax(values):
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / total(powers) for p in powers]


def logistic(x):
    return math.exp(min(x, 0.0)) / (1.0 + math.exp(-abs(x)))


def root_softplus(x):
    return math.sqrt(max(x, 0.0) + math.log1p(math.exp(-abs(x))))


def less(a, b):
    """a < b, where the two must not be nearly equal."""
    if a != b and abs(a - b) < NEAR * max(1.0, abs(a)):
        raise TooClose
    return a < b


def ranking(values):
    """Indices by falling value; equal values by rising index."""
    order = []
    for i, value in enumerate(values):
        at = len(order)
        while at and less(values[order[at - 1]], value):
            at -= 1
        order.insert(at, i)
    return order


# ------------------------------------------------------------------ one token
class Token:
    """Everything that a token decides by itself, then its fate."""

    def __init__(self, gate, logits, draws, uniforms, real, forced):
        self.gate, self.real = gate, real
        bias = gate["router_bias"] or [0.0] * len(logits)
        self.logits = [float32(l) + float32(b) for l, b in zip(logits, bias)]
        if gate["router_dtype"] == "bf16":
            self.logits = [bfloat16(l) for l in self.logits]
        self.score = {"softmax": softmax,
                      "sigmoid": lambda row: [logistic(l) for l in row],
                      "sqrt_softplus": lambda row: [root_softplus(l) for l in row],
                      "logits": list}[gate["score_fn"]](self.logits)
        self.key = self.make_key()
        self.experts = list(forced) if forced else ranking(self.key)[:gate["top_k"]]
        if gate["extra_policy"] == "sample":
            first = self.experts[0]
            noisy = [-FREE if e == first else l + draws.gumbel(e)
                     for e, l in enumerate(self.logits)]
            self.experts[1] = ranking(noisy)[0]
        if gate["weight_from"] == "softmax_selected":
            self.raw = softmax([self.logits[e] for e in self.experts])
        else:
            self.raw = [self.score[e] for e in self.experts]
        self.state = "".join(self.first_state(j, draws, uniforms) for j in range(gate["top_k"]))
        self.pos = [-1] * gate["top_k"]
        self.luck = [draws.drop(e) for e in self.experts]

    def make_key(self):
        gate = self.gate
        key = list(self.score if gate["select_on"] == "score" else self.logits)
        if gate["selection_bias"]:
            key = [k + float32(b) for k, b in zip(key, gate["selection_bias"])]
        groups = gate["n_group"]
        if groups == 1:
            return key
        width = len(key) // groups
        members = [key[g * width:(g + 1) * width] for g in range(groups)]
        count = {"max": 1, "sum_top2": 2,
                 "sum_topn": gate["top_k"] // gate["topk_group"]}[gate["group_score"]]
        strength = [total(sorted(m)[::-1][:count]) for m in members]
        kept = ranking(strength)[:gate["topk_group"]]
        fill = -FREE if gate["group_fill"] == "-inf" else gate["group_fill"]
        return [k if e // width in kept else fill for e, k in enumerate(key)]

    def shares(self, values, counted):
        """values over the guarded sum of those that count."""
        gate = self.gate
        divisor = total(v if c else 0.0 for v, c in zip(values, counted))
        if gate["norm_eps_mode"] == "add":
            divisor += gate["norm_eps"]
        else:
            divisor = max(divisor, gate["norm_eps"])
        if abs(divisor) < NEAR and divisor != 0:
            raise TooClose
        return [v / divisor for v in values] if divisor > 0 else [0.0] * len(values)

    def before_drop(self):
        return self.shares(self.raw, [True] * len(self.raw))

    def first_state(self, slot, draws, uniforms):
        """w wants a place, r does not, i padding."""
        gate = self.gate
        if not self.real:
            return "i"
        policy = gate["extra_policy"]
        if slot == 0 or policy in ("all", "sample"):
            return "w"
        if policy == "none":
            return "r"
        g = (self.before_drop() if gate["extra_gate"] == "normalized" else self.raw)[slot]
        bar = gate["extra_threshold"]
        if policy == "random":
            u = draws.extra(slot) if uniforms is None else uniforms[min(slot, len(uniforms)) - 1]
            bar *= u
        return "w" if less(bar, g) else "r"

    def settle(self, slot, state, pos):
        self.state = self.state[:slot] + state + self.state[slot + 1:]
        self.pos[slot] = pos

    def weights(self):
        gate = self.gate
        alive = [s in "km" for s in self.state]
        if gate["normalize"] == "before_drop":
            shares = self.before_drop()
        elif gate["normalize"] == "after_drop":
            shares = self.shares(self.raw, alive)
        else:
            shares = self.raw
        counts = "km" + ("o" if gate["overflow"] == "passthrough" else "")
        return [gate["scale"] * w if s in counts else 0.0 for w, s in zip(shares, self.state)]


# ------------------------------------------------------------------ a capacity group
def places(gate, tokens):
    f, k, e, s = gate["capacity_factor"], gate["top_k"], gate["num_experts"], tokens
    formula = {
        "fixed": lambda: gate["capacity_fixed"], "fraction": lambda: math.ceil(f * s),
        "ceil_k": lambda: math.ceil(k * f * s / e), "floor": lambda: math.floor(s * f / e),
        "round": lambda: round(f * s / e), "k_ceil": lambda: k * -(-s // e),
        "k_floor_ceil": lambda: k * math.floor(f * -(-s // e)),
        "ceil_k_div": lambda: math.ceil(f * s) * k // e, "k_div": lambda: max(k, k * s // e)}
    if gate["capacity"] == "none":
        return None
    least = max(formula[gate["capacity"]](), gate["min_capacity"])
    return -(-least // gate["capacity_multiple"]) * gate["capacity_multiple"]


def queue(gate, tokens):
    """(token, slot) in the order in which they ask for a place."""
    slots = range(gate["top_k"])
    priority = gate["priority"]
    if priority == "token_major":
        return [(t, j) for t in range(len(tokens)) for j in slots]
    if priority == "slot_major":
        return [(t, j) for j in slots for t in range(len(tokens))]
    if priority == "batch_prioritized":
        by_best = careful_ranking([max(t.score) for t in tokens])
        return [(t, j) for j in slots for t in by_best]
    pairs = [(t, j) for t in range(len(tokens)) for j in slots]
    if priority == "random":
        value = [tokens[t].luck[j] for t, j in pairs]
    elif gate["normalize"] == "before_drop":
        shares = [token.before_drop() for token in tokens]
        value = [shares[t][j] for t, j in pairs]
    else:
        value = [tokens[t].raw[j] for t, j in pairs]
    return [pairs[i] for i in careful_ranking(value)]


def careful_ranking(values):
    """Across tokens, equal sums may be equal by luck only: exact numbers excepted."""
    order = ranking(values)
    for a, b in zip(order, order[1:]):
        if values[a] == values[b] and values[a] not in (0.0, 0.5, 1.0):
            raise TooClose
    return order


def fill_group(gate, tokens, capacity):
    limit = FREE if capacity is None else capacity
    asked = [0] * gate["num_experts"]
    order = queue(gate, tokens)
    for t, j in order:
        token = tokens[t]
        expert = token.experts[j]
        if token.state[j] == "w":
            token.settle(j, "k" if asked[expert] < limit else "o", asked[expert])
            asked[expert] += 1
        elif token.state[j] == "r" and gate["rejected_consumes"]:
            asked[expert] += 1
    if gate["priority"] in ("weight_desc", "random"):
        packed = [0] * gate["num_experts"]
        for token in tokens:
            for j, expert in enumerate(token.experts):
                if token.state[j] == "k":
                    token.pos[j] = packed[expert]
                    packed[expert] += 1
    if gate["overflow"] == "reroute" and capacity is not None:
        move(tokens, order, [min(a, capacity) for a in asked], capacity)


def move(tokens, order, taken, capacity):
    for t, j in order:
        token = tokens[t]
        if token.state[j] != "o":
            continue
        for expert in ranking(token.key):
            if expert in token.experts or taken[expert] >= capacity:
                continue
            if token.key[expert] == -FREE:
                continue
            token.experts[j], token.raw[j] = expert, token.score[expert]
            token.settle(j, "m", taken[expert])
            taken[expert] += 1
            break


def route(gate, case):
    """Tokens of one sequence, and the capacity."""
    tokens = []
    experts = gate["num_experts"]
    for row in range(case["rows"]):
        logits = [l / 100 for l in case["logits"][row * experts:(row + 1) * experts]]
        draws = Draws(gate["seed"], case["stream"], case["layer"], case["start"] + row)
        uniforms = None
        if "uniforms" in case:
            width = len(case["uniforms"]) // case["rows"]
            uniforms = [u / 1024 for u in case["uniforms"][row * width:(row + 1) * width]]
        real = "valid" not in case or case["valid"][row] == "1"
        forced = gate["token_table"][case["token_ids"][row]] if gate["token_table"] else None
        tokens.append(Token(gate, logits, draws, uniforms, real, forced))
    if gate["group"] == "sequence_chunk" and gate["capacity"] != "none":
        capacity = places(gate, gate["group_size"])
        chunk_of = [(case["start"] + t) // gate["group_size"] for t in range(len(tokens))]
        for chunk in sorted(set(chunk_of)):
            fill_group(gate, [token for t, token in enumerate(tokens)
                              if chunk_of[t] == chunk], capacity)
    else:
        capacity = places(gate, sum(token.real for token in tokens))
        fill_group(gate, tokens, capacity)
    return tokens, capacity


# ------------------------------------------------------------------ random cases
def random_gate(rng):
    experts = rng.choice([3, 4, 6, 8])
    gate = dict(DEFAULTS, num_experts=experts, top_k=rng.choice([1, 2, 2, 2, 3]))
    some = lambda p: rng.random() < p
    if some(.5):
        gate["score_fn"] = rng.choice(["sigmoid", "sqrt_softplus", "logits"])
    gate["select_on"] = rng.choice(["score", "score", "logit"])
    gate["weight_from"] = rng.choice(["score", "score", "softmax_selected"])
    if some(.15):
        gate["router_bias"] = [rng.randint(-8, 8) / 8 for _ in range(experts)]
    if some(.1):
        gate["router_dtype"] = "bf16"
    if some(.25):
        gate["selection_bias"] = [rng.randint(-9, 9) / 32 for _ in range(experts)]
    if experts > 4 and some(.5):
        groups = rng.choice([2, experts // 2])
        kept = rng.randint(1, groups)
        if kept * (experts // groups) >= gate["top_k"]:
            gate.update(n_group=groups, topk_group=kept)
            gate["group_score"] = rng.choice(
                ["max", "sum_top2"] + (["sum_topn"] if gate["top_k"] >= kept else []))
            if some(.2):
                gate["group_fill"] = 0.0
    gate["normalize"] = rng.choice(["none", "before_drop", "after_drop"])
    if some(.3):
        gate.update(norm_eps=rng.choice([1e-9, 2.0 ** -23, 0.125]),
                    norm_eps_mode=rng.choice(["add", "clamp"]))
    policies = ["all", "none", "threshold", "random", "random"]
    gate["extra_policy"] = rng.choice(policies + (["sample"] if gate["top_k"] == 2 else []))
    gate["extra_threshold"] = rng.choice([.5, .5, .2, .3, 1.0])
    gate["extra_gate"] = rng.choice(["normalized", "normalized", "raw"])
    gate["rejected_consumes"] = some(.3)
    if some(.85):
        gate["capacity"] = rng.choice(["fixed", "fraction", "ceil_k", "floor", "round", "k_ceil",
                                       "k_floor_ceil", "ceil_k_div", "k_div"])
        gate["capacity_factor"] = rng.choice([1.0, .5, .75, 1.25, .25, 2.0])
        gate["capacity_fixed"] = rng.randint(0, 4) if gate["capacity"] == "fixed" else 0
        gate["min_capacity"] = rng.choice([0, 0, 1, 2])
        gate["capacity_multiple"] = rng.choice([1, 1, 2])
        gate["group"] = rng.choice(["step", "rank", "sequence_chunk"])
        gate["group_size"] = rng.choice([2, 3, 4, 8])
        gate["overflow"] = rng.choice(["residual", "passthrough", "reroute"])
        gate["priority"] = rng.choice(["slot_major", "token_major", "batch_prioritized",
                                       "weight_desc", "random"])
    gate["scale"] = rng.choice([1.0, 1.0, 2.5])
    gate["seed"] = rng.choice([0, 7, rng.getrandbits(64)])
    if some(.08):
        gate.update(selection="token_table",
                    token_table=[rng.sample(range(experts), gate["top_k"]) for _ in range(4)])
    return gate


def random_case(rng, gate):
    rows, experts, k = rng.randint(1, 9), gate["num_experts"], gate["top_k"]
    spread = rng.choice([60, 150, 150, 400])
    case = dict(rows=rows, logits=[round(rng.gauss(0, spread)) for _ in range(rows * experts)],
                start=rng.choice([0, 0, 0, 5, 1000]), layer=rng.choice([0, 3, 61]),
                stream=rng.choice([0, 7, rng.getrandbits(64)]))
    if rng.random() < .15:  # ties
        case["logits"] = [rng.choice([0, 100, 200]) for _ in case["logits"]]
    if gate["extra_policy"] == "random" and k > 1 and rng.random() < .4:
        width = rng.choice([1, k - 1])
        case["uniforms"] = [rng.randrange(1024) for _ in range(rows * width)]
    if rng.random() < .2:
        case["valid"] = "".join(rng.choice("1110") for _ in range(rows))
    if gate["token_table"]:
        case["token_ids"] = [rng.randrange(4) for _ in range(rows)]
    return case


def main():
    rng = random.Random(SEED)
    lines, redrawn = [], 0
    while len(lines) < CASES:
        gate = random_gate(rng)
        case = random_case(rng, gate)
        try:
            tokens, capacity = route(gate, case)
        except TooClose:
            redrawn += 1
            continue
        named = {k: v for k, v in gate.items() if k not in DEFAULTS or v != DEFAULTS[k]}
        result = dict(
            capacity=capacity, expert=[e for t in tokens for e in t.experts],
            state="".join(t.state for t in tokens),
            weight=[float("%.8g" % w) for t in tokens for w in t.weights()],
            pos=[p for t in tokens for p in t.pos])
        lines.append(json.dumps(dict(gate=named, **case, **result), separators=(",", ":")))
    OUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{OUT}: {len(lines)} cases, {OUT.stat().st_size} bytes ({redrawn} drawn again)")


if __name__ == "__main__":
    main()
