"""Generation speed: beside the GPT-2 of `transformers`, along the context, and of the rules on a large vocabulary.

    pip install "minigpt-lab[bench]"        # or: pip install "transformers>=5"
    python benchmarks/generation_speed.py

Four parts, of which `--part` selects some:

    streams     one text, then 16 side by side, against `GPT2LMHeadModel.generate(do_sample=True)`, both with their
                cache. 4 layers, 4 heads, width 128, context 1024, 65 characters; random weights, prompts of one token,
                500 new ones drawn at temperature 1. Both sides have GPT-2's parts: LayerNorm, linear layers with bias,
                GELU by tanh, learned positions, tied embeddings. Ours is `TextGenerator.generate_batch`, which also
                reports each token's probabilities and text. Goals: median ratios of 6 for one text and of 3 for 16;
                the floors are 4 and 2.
    context     our time per token near the beginning, the middle and the end of the context. Flat is the goal: only
                attention may grow, by what the additional positions cost.
    general     16 texts side by side against one after another, by the model's own pass in place of the NumPy step.
                That is the pass of a GPU, and of models that the step does not cover.
    vocabulary  top-k and top-p on 50,000 tokens against a full sort of the same logits. Both need a small part of it,
                unless the distribution is flat, so that top-p keeps nearly all.

`--part streams --device cuda` measures the first part on a GPU.
`--set model.norm=rmsnorm --set model.positions=rotary --set model.bias=false` measures another model of ours.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import string
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from side_by_side import Side, compare, serve

LAYERS, HEADS, WIDTH, CONTEXT = 4, 4, 128, 1024
CHARACTERS = (string.ascii_letters + string.digits)[:61]  # with the four special tokens: 65
PARTS = ("streams", "context", "general", "vocabulary")
BATCHES = (1, 16)
VOCABULARY = 50_000


def our_generator(threads: int, assignments: list[str], device: str = "cpu") -> Any:
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)  # NumPy reads it when it is imported
    import torch

    from minigpt.config import load_config, parse_assignments
    from minigpt.generation.generator import TextGenerator
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.character import CharacterTokenizer

    torch.set_num_threads(threads)
    shape = {
        "model.num_layers": LAYERS,
        "model.num_heads": HEADS,
        "model.d_model": WIDTH,
        "model.sequence_length": CONTEXT,
        "model.norm": "layernorm",
        "model.positions": "learned",
        "model.activation": "gelu_tanh",
        "model.bias": True,
    }
    config = load_config(overrides=shape | parse_assignments(assignments), environment={})

    class Endless(CharacterTokenizer):
        eos_id = None  # or an untrained model would end its text after some 65 tokens

    tokenizer = Endless().train(CHARACTERS)
    model = Transformer(config.model, tokenizer.vocab_size).eval().to(device)
    return TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer))


def ours(threads: int, texts: int, tokens: int, assignments: list[str], device: str) -> Callable[[], int]:
    generator = our_generator(threads, assignments, device)
    from minigpt.generation.settings import GenerationSettings

    each = [GenerationSettings(max_new_tokens=tokens, temperature=1.0, row=row) for row in range(texts)]
    return lambda: sum(result.num_new_tokens for result in generator.generate_batch(["a"] * texts, each))


def theirs(threads: int, texts: int, tokens: int, device: str) -> Callable[[], int]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    torch.set_num_threads(threads)
    config = transformers.GPT2Config(
        vocab_size=65,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config).eval().to(device)
    prompt = torch.full((texts, 1), 4, device=device)

    def generate() -> int:
        ids = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=tokens,
            use_cache=True,
        )
        return ids[:, prompt.shape[1] :].numel()

    return generate


def along_the_context(threads: int, rounds: int, assignments: list[str]) -> None:
    generator = our_generator(threads, assignments)
    places = (100, CONTEXT // 2, CONTEXT - 64)
    times: dict[int, list[float]] = {place: [] for place in places}
    for _ in range(rounds):
        stream = generator.stream("a", max_new_tokens=CONTEXT - 1, temperature=1.0)
        ends = [time.perf_counter() for _ in stream]
        for place in places:
            window = ends[place - 32 : place + 32]
            times[place].append(statistics.median(b - a for a, b in itertools.pairwise(window)))
    first = statistics.median(times[places[0]])
    for place in places:
        median = statistics.median(times[place])
        print(f"token {place:>5}: {median * 1e6:.0f} µs, {median / first:.2f} of token {places[0]}")


def by_the_general_pass(threads: int, rounds: int, tokens: int, assignments: list[str]) -> None:
    generator = our_generator(threads, assignments)
    from minigpt.generation import reading
    from minigpt.generation.settings import GenerationSettings

    texts = BATCHES[-1]
    reading.can_decode = lambda model: False
    each = [GenerationSettings(max_new_tokens=tokens, temperature=1.0, row=row) for row in range(texts)]
    ways: dict[str, Callable[[], Any]] = {
        "one after another": lambda: [generator.generate("a", one) for one in each],
        "side by side": lambda: generator.generate_batch(["a"] * texts, each),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):  # in turns
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            speeds[name].append(texts * tokens / (time.perf_counter() - started))
    slow, quick = (statistics.median(some) for some in speeds.values())
    print(f"{texts} texts by the general pass: {slow:.0f} tokens per second one after another,")
    print(f"{quick:.0f} side by side, {quick / slow:.1f} times as many")


def on_a_large_vocabulary(threads: int, rounds: int) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    import torch

    from minigpt.generation.truncation import TopKSampler, TopPSampler

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, VOCABULARY, generator=generator, dtype=torch.float64)
    for shape, logits in {"as in text (p ~ 1 / rank)": -noise.argsort().add(1).double().log(), "flat": noise}.items():
        rules: dict[str, Callable[[], Any]] = {"full sort": lambda logits=logits: logits.sort(descending=True)}
        for rule in (TopKSampler(40), TopPSampler(0.5), TopPSampler(0.9)):
            rules[rule.describe()] = lambda rule=rule, logits=logits: rule.process(logits)
        times: dict[str, list[float]] = {name: [] for name in rules}
        with torch.inference_mode():
            for _ in range(10 * rounds):  # in turns
                for name, work in rules.items():
                    started = time.perf_counter()
                    work()
                    times[name].append(time.perf_counter() - started)
        medians = {name: statistics.median(some) for name, some in times.items()}
        print(f"{shape}: " + ", ".join(f"{name} {median * 1e3:.2f} ms" for name, median in medians.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="what to measure; all if not given")
    parser.add_argument("--rounds", type=int, default=9, help="pairs measured")
    parser.add_argument("--tokens", type=int, default=500, help="tokens of each text in one measurement")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of their side")
    parser.add_argument("--our-threads", type=int, help="processor threads of our side; as many if not given")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for our side")
    parser.add_argument("--device", default="cpu", help="of the part streams, for example cuda")
    parser.add_argument("--side", choices=("minigpt", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.our_threads or options.threads
    if options.side:
        if options.side == "minigpt":
            generate = ours(threads, options.texts, options.tokens, options.set, options.device)
        else:
            generate = theirs(options.threads, options.texts, options.tokens, options.device)

        def work() -> float:
            started = time.perf_counter()
            count = generate()
            seconds = time.perf_counter() - started
            assert count == options.tokens * options.texts, count
            return count / seconds

        work()  # warm up
        serve(work)
        return
    parts = options.part or PARTS
    if "streams" in parts:
        print(f"{LAYERS} layers, width {WIDTH}, context {CONTEXT}, {options.tokens} tokens, {options.threads} threads")
        for texts in BATCHES:
            print("one text" if texts == 1 else f"{texts} texts side by side")
            names = ("minigpt", "transformers")
            sides = (Side(name, [*sys.argv[1:], "--side", name, "--texts", str(texts)]) for name in names)
            compare(*sides, rounds=options.rounds, unit="tokens per second")
    if "context" in parts:
        along_the_context(threads, options.rounds, options.set)
    if "general" in parts:
        by_the_general_pass(threads, options.rounds, options.tokens, options.set)
    if "vocabulary" in parts:
        on_a_large_vocabulary(threads, options.rounds)


if __name__ == "__main__":
    main()
