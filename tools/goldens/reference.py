# SPDX-License-Identifier: Apache-2.0
"""The reference runs: Transformers, eager attention and experts, CPU, with the routers hooked."""

import itertools
import json
import re
import tempfile
from inspect import signature
from pathlib import Path
from types import MethodType

import torch
from transformers import AutoConfig, AutoModelForCausalLM, Mxfp4Config

from .families import FAMILIES
from .family import Choices, is_of_text

MIN_GAP = 1e-3  # of router probabilities and of log-probabilities: what is closer is not clear


def load_model(directory, dtype=torch.float32, config=None):
    """Loads a checkpoint and insists that every tensor of model and files found its partner."""
    mxfp4 = "mxfp4" in (Path(directory) / "config.json").read_text()
    arguments = {"quantization_config": Mxfp4Config(dequantize=True)} if mxfp4 else {}
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager",
        experts_implementation="eager", output_loading_info=True, **arguments)
    weights = model.state_dict()
    info["unexpected_keys"] = [name for name in info["unexpected_keys"]
                               if not is_behind_last_layer(name, model.config)]
    info["missing_keys"] = [name for name in info["missing_keys"]
                            if weights[name].numel() and is_of_text(name)]
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise RuntimeError(f"{directory}: {problem}: {info[problem]}")
    if mxfp4:  # Transformers reads it as bfloat16, which is exact
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
    FAMILIES[model.config.model_type].correct(model)
    return model.eval()


def is_behind_last_layer(name, config):
    """Tensors of layers that predict further tokens: skipped by Transformers and by us."""
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    return bool(layer) and int(layer[1]) >= config.get_text_config().num_hidden_layers


def load_with_other_config(directory, changes, load=load_model):
    """The same weights under a changed config.json (None deletes nothing: it writes null)."""
    config = json.loads((Path(directory) / "config.json").read_text()) | changes
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "config.json").write_text(json.dumps(config))
        return load(directory, config=AutoConfig.from_pretrained(temporary))


def fresh_rope(model):
    """A new rotary module: the old one remembers the longest prompt it has seen (dynamic NTK)."""
    if is_length_dependent(model):
        model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config)


def depends_on_prompt(model):
    """Does an uncached forward behind a prompt do anything else than a cached one?"""
    by_prompt = FAMILIES[model.config.model_type].by_prompt is not None
    return by_prompt or is_length_dependent(model)


def is_length_dependent(model):
    parameters = getattr(model.config, "rope_parameters", None) or {}
    return parameters.get("rope_type") in ("dynamic", "longrope")


class RouterTrace:
    """Collects the decisions of every MoE layer inside the block."""

    def __init__(self, model):
        self._family = FAMILIES[model.config.model_type]
        self._model = model
        self._routers = self._family.routers(model)
        self._choosers = self._family.choosers(model)

    def __enter__(self):
        visits = [(self._family.visits(self._model, index), router)
                  for index, router in self._routers]
        self.layers = {place: [] for place in sorted(sum((places for places, _ in visits), []))}
        for chooser in self._choosers:
            chooser.margins = []
        self._hooks = [router.register_forward_hook(self._hook(itertools.cycle(places)),
                                                    with_kwargs=True)
                       for places, router in visits]
        return self

    def _hook(self, places):
        def hook(module, inputs, keywords, output):
            self.layers[next(places)].append((module, (*inputs, *keywords.values()), output))
        return hook

    def __exit__(self, *unused):
        for hook in self._hooks:
            hook.remove()

    def choices(self, layer):
        """What the router of this layer decided in all calls, one after the other."""
        parts = [self._family.choices(*call) for call in self.layers[layer]]
        margins = [part.margin for part in parts]
        return Choices(torch.cat([part.keys for part in parts]),
                       torch.cat([part.ids for part in parts]),
                       torch.cat([part.weights for part in parts]),
                       None if margins[0] is None else torch.cat(margins))

    def gaps(self, boundary_only=False):
        """Per token the least distance of neighbours among the k + 1 best keys of a layer."""
        result = None
        for layer in self.layers:
            choices = self.choices(layer)
            k = choices.ids.shape[-1]
            best = torch.sort(choices.keys, dim=-1, descending=True).values[:, :k + 1]
            steps = best[:, :-1] - best[:, 1:]
            gap = (steps[:, -1:] if boundary_only and best.shape[-1] > k else steps).min(-1).values
            if choices.margin is not None:
                gap = torch.minimum(gap, choices.margin)
            result = gap if result is None else torch.minimum(result, gap)
        for chooser in self._choosers:
            result = torch.minimum(result, torch.cat(chooser.margins))
        return result


@torch.no_grad()
def forward(model, token_ids):
    """One uncached forward over the whole sequence: log-probabilities [n, V], logits, trace."""
    fresh_rope(model)
    with RouterTrace(model) as trace:
        logits = model(torch.tensor([token_ids]), use_cache=False).logits[0].float()
    return logits.log_softmax(-1), logits, trace


def argmax_gaps(log_probabilities):
    best = log_probabilities.topk(2, dim=-1).values
    return best[:, 0] - best[:, 1]


def clear_prompt(model, length, generator):
    """A random prompt in which each decision is a clear one: an unclear token is drawn again."""
    config = model.config.get_text_config()
    vocab = getattr(config, "unpadded_vocab_size", None) or config.vocab_size
    token_ids = torch.randint(vocab, (length,), generator=generator).tolist()
    for _ in range(200 * length):
        log_probabilities, _, trace = forward(model, token_ids)
        unclear = argmax_gaps(log_probabilities) <= MIN_GAP
        if trace.layers:
            unclear |= trace.gaps() <= MIN_GAP
        if not unclear.any():
            return token_ids
        position = int(unclear.nonzero()[0])
        token_ids[position] = int(torch.randint(vocab, (1,), generator=generator))
    raise RuntimeError(f"no clear prompt of length {length}")


def cache_keyword(model):
    """What the argument and the output are called that newer versions of Transformers renamed."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


@torch.no_grad()
def greedy_cached(model, prompt, count):
    """Greedy decoding with the KV cache: ids, the logits that chose them, the smallest gaps."""
    fresh_rope(model)
    keyword = cache_keyword(model)
    cache, step, chosen, rows = None, prompt, [], []
    with RouterTrace(model) as trace:
        for _ in range(count):
            output = model(torch.tensor([step]), use_cache=True, **{keyword: cache})
            cache = output[keyword]
            rows.append(output.logits[0, -1].float())
            chosen.append(int(rows[-1].argmax()))
            step = chosen[-1:]
    logits = torch.stack(rows)
    router_gap = float(trace.gaps(boundary_only=True).min()) if trace.layers else None
    return chosen, logits, router_gap, float(argmax_gaps(logits.log_softmax(-1)).min())


def greedy_recomputed(model, prompt, count):
    """Greedy decoding without cache; what differs for rope types that depend on the length."""
    token_ids, smallest = list(prompt), float("inf")
    for _ in range(count):
        log_probabilities, _, _ = forward(model, token_ids)
        smallest = min(smallest, float(argmax_gaps(log_probabilities[-1:])[0]))
        token_ids.append(int(log_probabilities[-1].argmax()))
    return token_ids[len(prompt):], smallest


def generate(model, prompt, count):
    """The public way to the same ids, to prove that greedy_cached does what generate() does."""
    fresh_rope(model)
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count,
                            min_new_tokens=count, do_sample=False, use_cache=True, pad_token_id=0)
    return output[0, len(prompt):].tolist()


@torch.no_grad()
def forward_with_length_rule(model, token_ids, prompt_length):
    """An uncached forward where position p has the frequencies of max(prompt_length, p + 1), or
    what else of a family depends on the prompt."""
    by_prompt = FAMILIES[model.config.model_type].by_prompt
    if by_prompt is not None:
        return by_prompt(model, token_ids, prompt_length)
    if not is_length_dependent(model):
        return forward(model, token_ids)[1]
    fresh_rope(model)
    rope = model.model.rotary_emb
    plain = rope.forward

    def ruled(self, x, position_ids):
        rows = []
        for position in position_ids.reshape(-1, position_ids.shape[-1])[0].tolist():
            fresh_rope(model)
            length = max(prompt_length, position + 1)
            turns = model.model.rotary_emb(x, torch.arange(length)[None])
            parts = turns if isinstance(turns, tuple) else (turns,)  # Llama 4: complex numbers
            rows.append([part[:, position] for part in parts])
        model.model.rotary_emb = self
        parts = tuple(torch.stack(part, 1) for part in zip(*rows))
        return parts if len(parts) > 1 else parts[0]

    rope.forward = MethodType(ruled, rope)
    logits = model(torch.tensor([token_ids]), use_cache=False).logits[0].float()
    rope.forward = plain
    return logits
