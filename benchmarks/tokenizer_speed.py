"""How fast byte-level BPE is learned and used, beside Hugging Face's `tokenizers` and OpenAI's `tiktoken`.

    python benchmarks/tokenizer_speed.py
    python benchmarks/tokenizer_speed.py --file book.txt --megabytes 10 --merges 4096

The text is the source and the manual of the installed Python, repeated until it has the size; give `--file` for a text
of your own. All encoders use the merges that ours has learned, on one thread and one piece of text at a time, and must
give the same ids. Ours starts without a single word in its cache. Times are processor time, so that other work on the
machine counts less; the time on the clock stands beside it. Goals: 10 MB learn 4,096 merges in 20 s, and are encoded at
5 MB/s.

Measured on one of two busy cores, processor time: 2.8 s to learn; 11.7 MB/s to encode (13.1 once the words are known),
where tokenizers makes 1.9 and tiktoken 12.9. With 10 MB of other source code (PyTorch and pandas): 3.1 s; 9.2 MB/s,
1.8 and 12.6.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
SPECIAL = 4


def sample(path: Path | None, num_bytes: int) -> str:
    """Return a text of about that many bytes."""
    from minigpt.data.corpora import load_corpus

    if path is None:
        text = "\n\n".join(text for name in ("python-source", "python-manual") for text in load_corpus(name).documents)
    else:
        text = path.read_text("utf-8")
    size = len(text.encode())
    return (text * (num_bytes // size + 1))[: num_bytes * len(text) // size]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, the seconds of the processor and those on the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - processor, time.perf_counter() - clock


def others(merges: list[tuple[bytes, bytes]], tokens: list[bytes]) -> dict[str, Callable[[str], list[int]]]:
    """Return the other encoders with our merges; their ids are ours without the special tokens."""
    import tiktoken
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    from minigpt.tokenizers.bpe import PATTERN
    from minigpt.tokenizers.huggingface import spell

    vocabulary = {spell(token): n for n, token in enumerate(tokens)}
    theirs = Tokenizer(models.BPE(vocabulary, [(spell(left), spell(right)) for left, right in merges]))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    ranks = {token: n for n, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    return {"tokenizers": lambda text: theirs.encode(text).ids, "tiktoken": encoding.encode_ordinary}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, help="a text in UTF-8; default: Python's source and manual")
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--merges", type=int, default=4096)
    options = parser.parse_args()

    from minigpt.tokenizers.bpe import BPETokenizer

    text = sample(options.file, int(options.megabytes * 1e6))
    megabytes = len(text.encode()) / 1e6
    tokenizer, processor, clock = timed(lambda: BPETokenizer(options.merges).train(text))
    print(f"{megabytes:.1f} MB, {tokenizer.vocab_size:,} tokens")
    print(f"{'learn':24} {processor:6.2f} s processor {clock:6.2f} s clock")
    pieces = [text[start : start + (1 << 20)] for start in range(0, len(text), 1 << 20)]
    ours, processor, clock = timed(lambda: [tokenizer.encode_array(piece) for piece in pieces])
    expected = [token_id - SPECIAL for ids in ours for token_id in ids.tolist()]

    def show(name: str, processor: float, clock: float) -> None:
        print(f"{'encode, ' + name:24} {megabytes / processor:6.1f} MB/s processor {megabytes / clock:6.1f} MB/s clock")

    show("ours", processor, clock)
    _, processor, clock = timed(lambda: [tokenizer.encode_array(piece) for piece in pieces])
    show("ours, words known", processor, clock)
    tokens = [tokenizer.token_bytes(token_id) for token_id in range(SPECIAL, tokenizer.vocab_size)]
    for name, encode in others(list(tokenizer.merges), tokens).items():
        found, processor, clock = timed(lambda encode=encode: [encode(piece) for piece in pieces])  # type: ignore[misc]
        if [token_id for ids in found for token_id in ids] != expected:
            raise SystemExit(f"{name} gives other ids.")
        show(name, processor, clock)
    print(f"bytes per token: {megabytes * 1e6 / len(expected):.2f}")


if __name__ == "__main__":
    main()
