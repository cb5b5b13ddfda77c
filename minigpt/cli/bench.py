"""`minigpt bench`: how fast this machine trains, writes and scores."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import click

from minigpt.cli.completion import complete_preset
from minigpt.cli.console import note, print_json
from minigpt.cli.options import device_option, json_option, module_option, set_option
from minigpt.cli.progress import progress_bar

if TYPE_CHECKING:
    from minigpt.config import RunConfig
    from minigpt.model.protocols import LanguageModel

BATCH = 16
"""Texts that are written side by side."""


@click.command()
@click.argument("source", metavar="[FILE|PRESET]", default="small", shell_complete=complete_preset)
@set_option
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=2.0,
    metavar="S",
    help="How long to try each of the four.  [default: 2]",
)
@module_option
@device_option("the setting, auto")
@json_option
def bench(source: str, assignments: tuple[str, ...], seconds: float, device: str | None, as_json: bool) -> None:
    """Measure how fast this machine trains, writes and scores.

    The model is new, its tokens are the 256 bytes, and nothing is saved. Without FILE or PRESET the preset is small.
    """
    from minigpt.config import load_config, parse_assignments

    overrides: dict[str, Any] = parse_assignments(assignments)
    if device is not None:
        overrides["device"] = device
    config = load_config(source, overrides=overrides)
    found = {"settings": source, **_measured(config, seconds)}
    if as_json:
        print_json(found)
        return
    peak = f", {found['mfu']:.0%} of the matrix peak of this machine" if found["mfu"] else ""
    click.echo(f"train       {found['train_tokens_per_second']:>11,.0f} tokens per second")
    click.echo(f"write       {found['generate_tokens_per_second']:>11,.0f} tokens per second")
    click.echo(f"write {BATCH:<5} {found['generate_batch_tokens_per_second']:>11,.0f} tokens per second")
    click.echo(f"score       {found['evaluate_tokens_per_second']:>11,.0f} tokens per second")
    note(
        f"\n{found['num_parameters']:,} parameters, {found['device']}, {found['num_threads']} threads; an update takes "
        f"{found['seconds_per_step'] * 1000:,.1f} ms{peak}. `write {BATCH}` writes {BATCH} texts side by side."
    )


def _measured(config: RunConfig, seconds: float) -> dict[str, Any]:
    """Return what was measured, as values for JSON."""
    import torch

    from minigpt.cli.training import num_cores
    from minigpt.evaluation.perplexity import ModelEvaluator
    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.settings import GenerationSettings
    from minigpt.model.devices import resolve_device
    from minigpt.model.transformer import Transformer
    from minigpt.runs.cost import check_memory, step_flops
    from minigpt.runs.step_cost import measure_step
    from minigpt.tokenizers.byte import ByteTokenizer
    from minigpt.training.peak import best_peak

    device, tokenizer = resolve_device(config.device), ByteTokenizer()
    if device.type != "cuda":  # a GPU has its own memory
        check_memory(config, tokenizer.vocab_size)
    torch.set_num_threads(config.training.num_threads or num_cores())
    model = Transformer(config.model, tokenizer.vocab_size, seed=config.seed).to(device).eval()
    run = cast("LanguageModel", SimpleNamespace(model=model, tokenizer=tokenizer, config=config))
    generator, evaluator = TextGenerator(run), ModelEvaluator(run)
    context = config.model.sequence_length
    settings = GenerationSettings(max_new_tokens=context, temperature=1.0)
    text = "".join(chr(97 + place * place % 26) for place in range(8 * context))

    def write(rows: int) -> int:
        written = generator.generate_batch([""] * rows, settings)
        return sum(each.num_new_tokens for each in written)

    with progress_bar() as bar:
        task = bar.add_task("training", total=4)
        step = measure_step(config, tokenizer.vocab_size, seconds=seconds, device=str(device), clock=time.perf_counter)
        bar.update(task, advance=1, description="writing")
        single = _rate(lambda: write(1), seconds)
        bar.advance(task)
        batch = _rate(lambda: write(BATCH), seconds)
        bar.update(task, advance=1, description="scoring")
        scored = _rate(lambda: evaluator.evaluate(text).num_tokens_scored, seconds)
    peak = best_peak(str(device), torch.get_num_threads(), config.training.precision)
    return {
        "device": str(device),
        "num_threads": torch.get_num_threads(),
        "num_parameters": sum(each.numel() for each in model.parameters()),
        "seconds_per_step": step,
        "train_tokens_per_second": config.training.batch_size * context / step,
        "mfu": step_flops(config, tokenizer.vocab_size) / step / peak,
        "generate_tokens_per_second": single,
        "generate_batch_tokens_per_second": batch,
        "evaluate_tokens_per_second": scored,
    }


def _rate(work: Any, seconds: float) -> float:
    """Return how many tokens per second `work` handles at its best; it returns the number that it has handled."""
    best, ends = 0.0, time.perf_counter() + seconds
    work()  # the first call compiles and allocates
    while not best or time.perf_counter() < ends:
        start = time.perf_counter()
        num_tokens = work()
        best = max(best, num_tokens / max(time.perf_counter() - start, 1e-9))
    return best
