"""Write the tables of docs/scale.md, which the library's own counts and a few published figures give.

    python tools/make_scale_tables.py

Each table stands between two marks in the document. A test compares them, so that they cannot drift from the code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from minigpt import resources
from minigpt.config import RunConfig, load_config
from minigpt.model.size import BYTES_PER_NUMBER, count_parameters, flops_per_token
from minigpt.runs.cost import measured, memory_megabytes, seconds_per_step, state_numbers

DOCUMENT = Path("docs") / "scale.md"

# published: NVIDIA, "H100 Tensor Core GPU" data sheet (SXM), and "DGX H100" data sheet for the network
PEAK = 989e12
"""Operations per second of an H100 in bfloat16, dense."""
GPU_BYTES = 80e9
"""Memory of an H100."""
MEMORY_RATE = 3.35e12
"""Bytes per second between an H100 and its memory."""
NVLINK = 450e9
"""Bytes per second between two H100 of one node, in one direction."""
NETWORK = 400e9 / 8
"""Bytes per second from one node to another: one adapter of 400 Gb/s."""
NODE = 8
"""GPUs of a node."""

# assumed
UTILISATION = 0.4
"""Share of the peak that a training reaches."""
BATCH_TOKENS = 2**19
"""Tokens of one update over all GPUs, as in nanoGPT's GPT-2."""
TOKENS_PER_PARAMETER = 20
"""Length of a training: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models"."""
USABLE = 0.9
"""Share of a GPU's memory that a training may fill."""

MODELS = {  # layers, heads, width, context, vocabulary, windows of a micro-batch; those of benchmarks/gpu_steps.py
    "1M": (4, 4, 144, 256, 256, 64),
    "10M": (6, 6, 384, 256, 256, 64),
    "124M": (12, 12, 768, 1024, 50_257, 16),
    "350M": (24, 16, 1024, 1024, 50_257, 8),
    "1B": (24, 16, 1792, 1024, 50_257, 4),
}

# people: what they do is assumed, what it costs is measured or follows from the settings
PAGE_SECONDS = 0.015
"""Processor time to draw a page with a chart (docs/engines.md)."""
SERVER_MEGABYTES = 440
"""Memory of a server that trains in a thread (docs/engines.md)."""
STUDENTS, STUDENT_DRAWS, WAIT = 300, 1.0, 600.0
"""A class: students, pages that each has drawn in a second while a chart moves, seconds until all have trained."""
VISITORS, VISIT, VISIT_DRAWS, TRAINING_SHARE, RUSH = 10_000, 600.0, 40, 0.2, 3.0
"""A public site: visitors a day, seconds of a visit, pages drawn in it, share who train, and how much busier than the
mean the busiest hour is."""
DAY = 86_400.0


def settings(name: str) -> tuple[RunConfig, int]:
    """Return the settings of a model, for one micro-batch, and its vocabulary."""
    layers, heads, width, context, vocabulary, windows = MODELS[name]
    changes = {
        "model.num_layers": layers,
        "model.num_heads": heads,
        "model.d_model": width,
        "model.sequence_length": context,
        "training.batch_size": windows,
    }
    return RunConfig().updated(changes), vocabulary


def parameters(name: str) -> int:
    """Return N."""
    config, vocabulary = settings(name)
    return count_parameters(config.model, vocabulary).total


def flops(name: str) -> int:
    """Return F, the operations for one token, forward and backward."""
    config, vocabulary = settings(name)
    return flops_per_token(config.model, vocabulary)


def state_bytes(name: str) -> int:
    """Return the bytes of weights, gradients and AdamW's two means."""
    config, vocabulary = settings(name)
    return BYTES_PER_NUMBER * state_numbers(config, vocabulary)


def ring_bytes(num_bytes: float, gpus: int, times: int) -> float:
    """Return what each GPU sends when a tensor goes round a ring of GPUs.

    Args:
        num_bytes: Size of the tensor.
        gpus: G.
        times: 2 for an all-reduce; 1 for an all-gather or a reduce-scatter.

    >>> ring_bytes(800, 8, 2)
    1400.0
    """
    return times * (gpus - 1) / gpus * num_bytes


def link(gpus: int) -> float:
    """Return the bytes per second of the slowest link of a ring."""
    return NVLINK if gpus <= NODE else NETWORK


def compute_seconds(name: str, gpus: int) -> float:
    """Return the seconds of arithmetic of one update on each GPU."""
    return BATCH_TOKENS / gpus * flops(name) / (UTILISATION * PEAK)


def update_seconds(name: str) -> float:
    """Return the seconds in which AdamW reads 16 bytes of each parameter and writes 12."""
    return 7 * BYTES_PER_NUMBER * parameters(name) / MEMORY_RATE


def wire_seconds(name: str, gpus: int) -> float:
    """Return the seconds in which the gradients of one update go round the ring."""
    return ring_bytes(BYTES_PER_NUMBER * parameters(name), gpus, 2) / link(gpus)


def step_seconds(name: str, gpus: int) -> float:
    """Return the seconds of one update with DDP, which sends gradients during the backward pass, 2/3 of the arithmetic.

    >>> round(step_seconds("124M", 1) / step_seconds("124M", 8), 2)
    7.95
    """
    compute = compute_seconds(name, gpus)
    return compute / 3 + max(2 * compute / 3, wire_seconds(name, gpus)) + update_seconds(name)


def efficiency(name: str, gpus: int) -> float:
    """Return the speed with G GPUs as a share of G times that with one."""
    return step_seconds(name, 1) / gpus / step_seconds(name, gpus)


def fewest_tokens(gpus: int) -> float:
    """Return the tokens of an update on each GPU from which DDP hides its traffic, for F = 6 N.

    2 (G - 1) / G * 4 N / link = 2/3 * 6 N * tokens / (utilisation * peak)
    """
    return 2 * (gpus - 1) / gpus * UTILISATION * PEAK / link(gpus)


# -- how numbers are written


def amount(value: float, unit: str = "") -> str:
    """Return a number with three digits and a prefix.

    >>> amount(1.5e9, "B"), amount(0.0021, "s"), amount(16_000, "B"), amount(0)
    ('1.50 GB', '2.10 ms', '16.0 kB', '0')
    """
    if not value:
        return f"0 {unit}".strip()
    power = min(6, max(-2, math.floor(math.log10(abs(float(f"{value:.2e}"))) / 3)))
    scaled, prefix = (
        value / 1000**power,
        {-2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}[power],
    )
    digits = max(0, 2 - math.floor(math.log10(scaled))) if scaled < 1000 else 0
    return f"{scaled:.{digits}f} {prefix}{unit}".strip()


def count(value: float) -> str:
    """Return a large number in words.

    >>> count(4.5e9), count(20_669_760), count(2.88e11)
    ('4.5 billion', '21 million', '288 billion')
    """
    size, word = (1e9, "billion") if value >= 1e9 else (1e6, "million")
    return f"{value / size:.{1 if value / size < 10 else 0}f} {word}"


def duration(seconds: float) -> str:
    """Return a time in the unit that a person would use.

    >>> duration(0.0125), duration(9), duration(90), duration(3600), duration(7200), duration(200_000)
    ('12.5 ms', '9.00 s', '90 s', '60 min', '2.0 h', '2.3 days')
    """
    if seconds < 10:
        return amount(seconds, "s")
    for limit, size, unit in ((600, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; the first column is at the left."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- the tables


def token_table() -> str:
    """One GPU: what a token and an update cost."""
    rows = []
    for name in MODELS:
        config, vocabulary = settings(name)
        seconds = step_seconds(name, 1)
        rows.append(
            [
                f"{parameters(name):,}",
                f"{config.model.num_layers} x {config.model.d_model}",
                f"{config.model.sequence_length:,}",
                amount(flops(name), "FLOP"),
                amount(flops(name) / (UTILISATION * PEAK), "s"),
                duration(seconds),
                f"{update_seconds(name) / seconds:.2%}",
                amount(state_bytes(name), "B"),
                amount(memory_megabytes(config, vocabulary) * 1e6 - state_bytes(name), "B"),
            ]
        )
    titles = ["parameters N", "layers x width", "context", "F, for a token", "a token", "an update", "of it AdamW"]
    return table([*titles, "state", "activations"], rows)


def scaling_table() -> str:
    """DDP: seconds and efficiency of an update on 1 to 64 GPUs."""
    counts = (1, 2, 4, 8, 16, 32, 64)
    rows = [
        [name, *(f"{duration(step_seconds(name, gpus))}, {efficiency(name, gpus):.0%}" for gpus in counts)]
        for name in MODELS
    ]
    tokens = ["tokens of a GPU", *(f"{BATCH_TOKENS // gpus:,}" for gpus in counts)]
    hidden = ["needed to hide the traffic", "0", *(f"{fewest_tokens(gpus):,.0f}" for gpus in counts[1:])]
    return table(["", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in counts)], [*rows, tokens, hidden])


def sharding_table() -> str:
    """DDP and FSDP: state on a GPU, and bytes on the wire."""
    rows = []
    for name in MODELS:
        number = BYTES_PER_NUMBER * parameters(name)
        rows.append(
            [
                name,
                amount(state_bytes(name), "B"),
                *(amount(state_bytes(name) / gpus, "B") for gpus in (8, 64)),
                amount(ring_bytes(number, 8, 2), "B"),
                amount(ring_bytes(number, 8, 3), "B"),
                amount(wire_seconds(name, 8), "s"),
                amount(wire_seconds(name, 64), "s"),
            ]
        )
    fits = USABLE * GPU_BYTES / 16
    rows.append(["largest N", count(fits), *(count(fits * gpus) for gpus in (8, 64)), "", "", "", ""])
    titles = ["", "state, DDP", "FSDP, 8 GPUs", "FSDP, 64 GPUs", "sent, DDP", "sent, FSDP"]
    return table([*titles, "DDP: 8 GPUs, NVLink", "DDP: 64 GPUs, network"], rows)


def training_table() -> str:
    """How long a training takes."""
    rows = []
    for name in MODELS:
        tokens = TOKENS_PER_PARAMETER * parameters(name)
        times = [duration(tokens / BATCH_TOKENS * step_seconds(name, gpus)) for gpus in (1, 8, 64)]
        rows.append([name, count(tokens), amount(tokens * flops(name), "FLOP"), *times, amount(2 * tokens, "B")])
    return table(["", "tokens", "operations", "1 GPU", "8 GPUs", "64 GPUs", "tokens on disk"], rows)


def preset_seconds(name: str) -> float:
    """Return the seconds of a training with a preset on two cores."""
    config, found = load_config(name, environment={}), measured(name).seconds
    return found or config.training.max_steps * seconds_per_step(config, 76)


def class_table() -> str:
    """What a class needs."""
    rows = []
    for name in ("nano", "small"):
        seconds = preset_seconds(name)
        megabytes = memory_megabytes(load_config(name, environment={}), 76)
        rows.append(
            [
                name,
                f"{seconds:.0f} s",
                duration(STUDENTS * seconds),
                f"{math.ceil(2 * STUDENTS * seconds / WAIT)}",
                f"{megabytes:.1f} MB",
                amount((SERVER_MEGABYTES + STUDENTS * megabytes) * 1e6, "B"),
            ]
        )
    titles = ["preset", "one, 2 cores", f"{STUDENTS}, 2 cores", f"cores for {WAIT / 60:.0f} minutes"]
    return table([*titles, "memory of one", "server and all"], rows)


def people_table() -> str:
    """Pages drawn for a class and for a public site, and the trainings of the site."""
    site_draws = VISITORS * VISIT_DRAWS / DAY
    at_once = VISITORS * VISIT / DAY
    trainings = VISITORS * TRAINING_SHARE / DAY
    rows = [
        ["class: pages drawn in a second", "students x draws", f"{STUDENTS * STUDENT_DRAWS:.0f}"],
        ["class: processors that draw", "x 15 ms", f"{STUDENTS * STUDENT_DRAWS * PAGE_SECONDS:.1f}"],
        ["site: visitors at once, mean", "visitors x visit / day", f"{at_once:.0f}"],
        ["site: visitors at once, busiest hour", f"x {RUSH:.0f}", f"{RUSH * at_once:.0f}"],
        [
            "site: pages drawn in a second, busiest hour",
            f"visitors x draws / day x {RUSH:.0f}",
            f"{RUSH * site_draws:.1f}",
        ],
        ["site: processors that draw", "x 15 ms", f"{RUSH * site_draws * PAGE_SECONDS:.2f}"],
        *(
            [
                f"site: processors that train *{name}*, busiest hour",
                f"trainings x {RUSH:.0f} x 2 cores x {preset_seconds(name):.0f} s",
                f"{RUSH * trainings * 2 * preset_seconds(name):.2f}",
            ]
            for name in ("nano", "small")
        ),
    ]
    return table(["quantity", "formula", "value"], rows)


TABLES = {
    "token": token_table,
    "scaling": scaling_table,
    "sharding": sharding_table,
    "training": training_table,
    "class": class_table,
    "people": people_table,
}


def with_tables(text: str) -> str:
    """Return a document with its tables made again.

    Args:
        text: The document, with the two marks of each table.
    """
    for name, make in TABLES.items():
        begin, end = (f"<!-- tools/make_scale_tables.py: {name} {side} -->" for side in ("begins", "ends"))
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
        replaced = f"{begin}\n{make()}\n{end}"
        text, found = pattern.subn(replaced.replace("\\", r"\\"), text)
        if found != 1:
            raise SystemExit(f"The document has the marks of the table {name} {found} times; once is right.")
    return text


def main() -> None:
    """Write the tables into the document."""
    path = resources.root() / DOCUMENT
    path.write_text(with_tables(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
