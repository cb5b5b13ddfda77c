"""Generation speed beside the GPT-2 of `transformers`, one text at a time, both with their cache.

    pip install "minigpt-lab[bench]"        # or: pip install "transformers>=5"
    python benchmarks/generation_speed.py

4 layers, 4 heads, width 128, context 1024, 65 characters; random weights, a prompt of one token, 500 new ones drawn
at temperature 1. Both sides have GPT-2's parts: LayerNorm and linear layers with bias, learned positions, tied
embeddings. Theirs is `GPT2LMHeadModel.generate(do_sample=True)`, ours `TextGenerator.generate(temperature=1)`, which
also reports each token's probability. Goal: a median ratio of 2 or more; the floor is 1.5.

`--set model.norm=rmsnorm --set model.positions=rotary --set model.bias=false` measures another model of ours;
`--model-only` leaves our generator out, to see what the model itself costs.
"""

from __future__ import annotations

import argparse
import os
import string
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

from side_by_side import Side, compare, serve

LAYERS, HEADS, WIDTH, CONTEXT = 4, 4, 128, 1024
CHARACTERS = (string.ascii_letters + string.digits)[:61]  # with the four special tokens: 65


def ours(threads: int, tokens: int, assignments: list[str], model_only: bool) -> Callable[[], int]:
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
        "model.bias": True,
    }
    config = load_config(overrides=shape | parse_assignments(assignments), environment={})

    class Endless(CharacterTokenizer):
        eos_id = None  # or an untrained model would end its text after some 65 tokens

    tokenizer = Endless().train(CHARACTERS)
    model = Transformer(config.model, tokenizer.vocab_size).eval()
    if model_only:

        def greedy() -> int:
            with torch.inference_mode():
                cache, ids = model.make_cache(), torch.tensor([[4]])
                for _ in range(tokens):
                    ids = model(ids, cache=cache)[:, -1:].argmax(-1)
            return int(cache.length)

        return greedy
    generator = TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer))
    return lambda: generator.generate("a", max_new_tokens=tokens, temperature=1.0).num_new_tokens


def theirs(threads: int, tokens: int) -> Callable[[], int]:
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
    model = transformers.GPT2LMHeadModel(config).eval()
    prompt = torch.tensor([[4]])

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
        return ids.shape[1] - prompt.shape[1]

    return generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="pairs measured")
    parser.add_argument("--tokens", type=int, default=500, help="tokens in one measurement")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of their side")
    parser.add_argument("--our-threads", type=int, help="processor threads of our side; as many if not given")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for our side")
    parser.add_argument("--model-only", action="store_true", help="our model alone, without our generator")
    parser.add_argument("--side", choices=("minigpt", "transformers"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.our_threads or options.threads
    if options.side:
        if options.side == "minigpt":
            generate = ours(threads, options.tokens, options.set, options.model_only)
        else:
            generate = theirs(options.threads, options.tokens)

        def work() -> float:
            started = time.perf_counter()
            count = generate()
            seconds = time.perf_counter() - started
            assert count == options.tokens, count
            return count / seconds

        work()  # warm up
        serve(work)
        return
    print(f"{LAYERS} layers, width {WIDTH}, context {CONTEXT}, {options.tokens} tokens, {options.threads} threads")
    sides = (Side(name, [*sys.argv[1:], "--side", name]) for name in ("minigpt", "transformers"))
    compare(*sides, rounds=options.rounds, unit="tokens per second")


if __name__ == "__main__":
    main()
