# SPDX-License-Identifier: Apache-2.0
"""Golden records of models with an encoder: prompts of source and target, greedy text, beams."""

import json

import torch
import transformers
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from . import checkpoint, families_seq2seq, reference
from .variant import DELETE

CONTINUATION = 12
MIN_GAP = 1e-3
TRIES = 40
BEAMS = ({"num_beams": 2}, {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
         {"num_beams": 4, "length_penalty": 0.0, "early_stopping": "never",
          "num_return_sequences": 3},
         {"num_beams": 4, "length_penalty": -1.0, "num_return_sequences": 2})


def number(value):
    return float(f"{float(value):.9g}")


def config_of(variant):
    config = {"architectures": [families_seq2seq.ARCHITECTURES[variant.model_type]],
              "model_type": variant.model_type}
    return config | {key: value for key, value in variant.config.items() if value != DELETE}


def load(directory, dtype=torch.float32, config=None, correct=True):
    model, info = AutoModelForSeq2SeqLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager",
        output_loading_info=True)
    weights = model.state_dict()
    there = {tensor.data_ptr() for name, tensor in weights.items()
             if name not in info["missing_keys"]}
    info["missing_keys"] = [name for name in info["missing_keys"]  # tied ones are there
                            if weights[name].data_ptr() not in there]
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise RuntimeError(f"{directory}: {problem}: {info[problem]}")
    if correct:
        families_seq2seq.correct(model)
    return model.eval()


def random_weights(state_dict, config, seed):
    """New values for every tensor, one of each that share memory."""
    generator = torch.Generator().manual_seed(seed)
    weights, seen = {}, set()
    for name in sorted(state_dict, key=lambda name: (not name.endswith("shared.weight"), name)):
        if state_dict[name].data_ptr() in seen:
            continue
        seen.add(state_dict[name].data_ptr())
        noise = torch.randn(tuple(state_dict[name].shape), generator=generator)
        weights[name] = checkpoint.exact_in_all_dtypes(families_seq2seq.draw(name, noise, config))
    return weights


@torch.no_grad()
def forward(model, source, target):
    """Log-probabilities [n, V] of one uncached forward."""
    if hasattr(model, "step"):
        model.step.set(source, target)
        for _, _, mlp in families_seq2seq.sparse_layers(model):
            mlp.decisions.clear()
    output = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]),
                   attention_mask=torch.ones(1, len(source), dtype=torch.long), use_cache=False)
    return output.logits[0].float().log_softmax(-1)


def gap_of(model, logprobs):
    best = logprobs.topk(2, -1).values
    gaps = [mlp.decisions[-1].gap for _, _, mlp in families_seq2seq.sparse_layers(model)]
    return min([float((best[:, 0] - best[:, 1]).min()), *gaps])


def random_ids(model, count, generator):
    """No tokens that mean something else: begin, padding, end."""
    return torch.randint(4, model.config.vocab_size, (count,), generator=generator).tolist()


def clear_pair(model, lengths, generator):
    """A source and a target in which every decision is a clear one."""
    start = model.config.decoder_start_token_id
    for _ in range(400):
        source = random_ids(model, lengths[0], generator)
        target = [start, *random_ids(model, lengths[1] - 1, generator)]
        logprobs = forward(model, source, target)
        if gap_of(model, logprobs) > MIN_GAP / 2:
            return source, target, logprobs
    raise RuntimeError(f"no clear prompt of {lengths}")


def router_record(model):
    return [{"layer": layer, "experts": mlp.decisions[-1].ids.tolist(),
             "weights": [[number(value) for value in row] for row in mlp.decisions[-1].weights]}
            for layer, _, mlp in families_seq2seq.sparse_layers(model)]


def prompt_record(model, plain, source, target, logprobs):
    steps = torch.arange(len(target) - 1)
    uncorrected = forward(plain, source, target)
    return {"source_ids": source, "token_ids": target,
            "logprobs": [None, *map(number, logprobs[steps, target[1:]])],
            "transformers_logprobs": [None, *map(number, uncorrected[steps, target[1:]])],
            "top1": logprobs.argmax(-1).tolist(), "router": router_record(model)}


def greedy(model, source, prefix, count):
    ids, smallest = list(prefix), 1.0
    for _ in range(count):
        logprobs = forward(model, source, ids)
        smallest = min(smallest, gap_of(model, logprobs[-1:]))
        ids.append(int(logprobs[-1].argmax()))
    return ids[len(prefix):], smallest


def greedy_record(model, generator):
    start = model.config.decoder_start_token_id
    for _ in range(TRIES):
        source = random_ids(model, 9, generator)
        forced = random_ids(model, 1, generator)
        ids, gap = greedy(model, source, [start, *forced], CONTINUATION)
        if gap > MIN_GAP / 2 and len(set(ids)) > 3 and model.config.eos_token_id not in ids:
            break
    else:
        raise RuntimeError("no clear greedy continuation")
    if not draws(model) and generate(model, source, forced[0])[0][0][1:] != ids:
        raise RuntimeError("generate() and the uncached loop disagree")
    return {"source": source, "prompt": [start, *forced], "continuation": ids}


def draws(model):
    return getattr(model.config, "second_expert_policy", "all") != "all"


@torch.no_grad()
def generate(model, source, forced, **arguments):
    """[ids behind what the decoder begins with], [their scores]"""
    arguments = {"max_new_tokens": CONTINUATION + 1} | arguments
    ids = torch.tensor([source])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, use_cache=True,
        decoder_start_token_id=model.config.decoder_start_token_id, forced_bos_token_id=forced,
        pad_token_id=model.config.pad_token_id, return_dict_in_generate=True, output_scores=True,
        **arguments)
    end, texts = model.config.eos_token_id, []
    for row in output.sequences.tolist():
        row = row[1:]
        texts.append(row[:row.index(end) + 1] if end in row else row)
    return texts, getattr(output, "sequences_scores", None)


def beam_records(model, directory, generator):
    """What generate() finds with beams, where doubles find the same."""
    if draws(model):
        return []
    records, exact = [], load(directory).double()
    for arguments in BEAMS:
        for _ in range(TRIES):
            source = random_ids(model, 8, generator)
            forced = random_ids(model, 1, generator)[0]
            texts, scores = generate(model, source, forced, **arguments)
            if generate(exact, source, forced, **arguments)[0] == texts:
                break
        else:
            raise RuntimeError(f"no clear beams for {arguments}")
        records.append({"source": source, "forced_bos": forced, "max_new_tokens": CONTINUATION + 1,
                        **arguments, "sequences": texts, "scores": [number(s) for s in scores]})
    return records


def write_checkpoint(variant, weights, directory):
    tensors = {name: tensor.to(checkpoint.dtype_on_disk(
        name, tensor, checkpoint.TORCH_DTYPES[variant.dtype])).contiguous()
        for name, tensor in weights.items()}
    checkpoint.write_tensors(tensors, variant.shard_bytes, directory)


def sensitivity(directory, variant, pairs, base):
    result = []
    for changes in variant.matters:
        other = reference.load_with_other_config(directory, changes, load)
        distance = max(float((forward(other, s, t) - b).abs().max())
                       for (s, t), b in zip(pairs, base))
        if distance <= 1e-3:
            raise RuntimeError(f"{variant.name}: {changes} moves nothing ({distance})")
        result.append({"changes": changes, "worst_difference": number(distance)})
    return result


def chosen(table, target):
    return table[torch.arange(len(target) - 1), target[1:]]


def build(variant, directory, seed):
    config = config_of(variant)
    checkpoint.clear(directory)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    skeleton = AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(directory))
    weights = random_weights(skeleton.state_dict(), config, seed)
    write_checkpoint(variant, weights, directory)
    model, plain = load(directory), load(directory, correct=False)

    generator = torch.Generator().manual_seed(seed)
    records, pairs, base, low = [], [], [], []
    rough = load(directory, torch.bfloat16)
    for lengths in variant.prompts:
        source, target, logprobs = clear_pair(model, lengths, generator)
        pairs.append((source, target))
        base.append(logprobs)
        records.append(prompt_record(model, plain, source, target, logprobs))
        low.append((chosen(forward(rough, source, target), target)
                    - chosen(logprobs, target)).abs())
    low = torch.cat(low)
    differences = [abs(a - b) for record in records
                   for a, b in zip(record["logprobs"][1:], record["transformers_logprobs"][1:])]
    return {
        "description": variant.description,
        "transformers": transformers.__version__,
        "seed": seed,
        "dtype_on_disk": variant.dtype,
        "sharded": bool(variant.shard_bytes),
        "transformers_difference": number(max(differences)),
        "bf16_reference_error": number(low.max()),
        "bf16_reference_mean_error": number(low.mean()),
        "sensitivity": sensitivity(directory, variant, pairs, base),
        "greedy": greedy_record(model, generator),
        "beams": beam_records(model, directory, generator),
        "prompts": records,
    }
