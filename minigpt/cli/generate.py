"""`minigpt generate`: text from a run, shown as it is written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from minigpt.cli.console import note, note_readings, print_json, print_text
from minigpt.cli.options import (
    device_option,
    input_file,
    json_option,
    module_option,
    run_argument,
    sampler_file_option,
    seed_option,
    step_option,
)
from minigpt.cli.progress import progress_bar
from minigpt.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from minigpt.data.generators import Referee, Verdict
    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.results import FoundText
    from minigpt.generation.settings import GenerationSettings

BATCH = 16
"""Texts that are written side by side."""

Job = tuple[str, "GenerationSettings"]
"""A prompt and how to continue it."""


@click.command()
@run_argument
@click.option("--prompt", help="The beginning of the text; empty starts a new document.")
@click.option(
    "--prompt-file",
    type=input_file,
    metavar="FILE",
    help="A file with one prompt per line, - for standard input.",
)
@click.option(
    "--max-new-tokens", type=int, metavar="N", help="Largest number of tokens to write.  [default: the run's setting]"
)
@click.option(
    "--temperature",
    type=float,
    metavar="T",
    help="Below 1 more cautious, above 1 wilder; 0 always takes the likeliest token.",
)
@click.option("--top-k", type=int, metavar="K", help="Keep the K likeliest tokens.")
@click.option("--top-p", type=float, metavar="P", help="Keep the fewest tokens that together have probability P.")
@click.option(
    "--min-p", type=float, metavar="P", help="Keep the tokens at least P times as likely as the likeliest one."
)
@click.option(
    "--sampler", metavar="SPEC", help='All sampling options at once: "greedy", or "temperature=0.8,top_k=40".'
)
@sampler_file_option
@click.option(
    "--num-beams",
    type=click.IntRange(1, 64),
    metavar="B",
    help="Search the likeliest texts, keeping B beginnings; nothing is drawn. --num-samples prints the best ones.",
)
@click.option(
    "--length-penalty",
    type=click.FloatRange(0, 10),
    default=1.0,
    metavar="X",
    help="Of a search: 0 compares probabilities, 1 their means per token, more favours long texts.  [default: 1]",
)
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be given several times.")
@click.option("--num-samples", type=click.IntRange(min=1), default=1, metavar="N", help="Texts for each prompt.")
@module_option
@step_option
@seed_option(0)
@device_option("cpu")
@json_option
def generate(
    run: str,
    prompt: str | None,
    prompt_file: Path | None,
    max_new_tokens: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    sampler: str | None,
    sampler_file: Path | None,
    num_beams: int | None,
    length_penalty: float,
    stop: tuple[str, ...],
    num_samples: int,
    step: int | Literal["best", "last"] | None,
    seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Write text with a run.

    Without a sampling option the run's own settings count; if it has none, the likeliest token is taken every time.
    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    prompts = _prompts(prompt, prompt_file)

    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.own_rules import load_rules
    from minigpt.generation.samplers import SamplerChain
    from minigpt.generation.settings import GenerationSettings, parse_sampler
    from minigpt.runs.folder import RunFolder
    from minigpt.runs.loading import load_run

    given: dict[str, Any] = {"seed": seed}
    if max_new_tokens is not None:
        given["max_new_tokens"] = max_new_tokens
    if stop:
        given["stop"] = stop
    strategy: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    own = {} if sampler_file is None else load_rules(sampler_file)
    strategy["sampler"] = parse_sampler(sampler, own) if sampler is not None else None
    if any(
        value is not None for value in strategy.values()
    ):  # one sampling option replaces all sampling settings of the run
        given |= strategy
    if num_beams is not None and stop:
        raise click.UsageError("Give --stop or --num-beams, not both: a search has no stop texts.")
    if num_beams is not None and num_samples > num_beams:
        raise click.UsageError(f"--num-samples {num_samples} is more than --num-beams {num_beams}, the texts kept.")
    loaded = load_run(run, step=step, device=device or "cpu")
    if own and sampler is None and loaded.config.generation.sampler is None:
        given["sampler"] = SamplerChain([make() for make in own.values()])
    settings = GenerationSettings.from_config(loaded.config.generation, own=own, **given)
    ours = RunFolder(loaded.path).generator
    referee = None if ours is None else ours.referee
    if num_beams is not None:
        for name, value in strategy.items():
            if value is not None:
                note(f"--{name.replace('_', '-')} has no effect: --num-beams draws nothing.")
        search = partial(
            TextGenerator(loaded).search,
            num_beams=num_beams,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=length_penalty,
            num_results=num_samples,
        )
        _print_found(search, prompts, num_beams, settings.max_new_tokens, referee, as_json=as_json)
        return
    jobs = [(text, replace(settings, row=row)) for text in prompts for row in range(num_samples)]
    batches = [jobs[first : first + BATCH] for first in range(0, len(jobs), BATCH)]
    (_print_objects if as_json else _print_as_written)(TextGenerator(loaded), batches, referee)


def _prompts(prompt: str | None, prompt_file: Path | None) -> list[str]:
    if prompt is not None and prompt_file is not None:
        raise click.UsageError("Give --prompt or --prompt-file, not both.")
    if prompt_file is None:
        return [prompt or ""]
    from minigpt.data.readers import read_text

    document = read_text(prompt_file)
    note_readings([document.reading])
    prompts = [line for line in document.text.splitlines() if line]
    if not prompts:
        raise InputError(f"{prompt_file} has no prompt in it.", mend="Write one prompt per line.")
    return prompts


def _counted(bar: Progress, what: str, num_steps: int) -> Callable[[], bool]:
    """Add a task to a bar and return what counts one of its steps; it says that the work was not cancelled."""
    task = bar.add_task(what, total=num_steps)

    def step() -> bool:
        bar.advance(task)
        return False

    return step


def _counted_right(verdict: Verdict) -> dict[str, Any]:
    """Return what a referee says as a part of a JSON object; nothing if it says nothing."""
    return (
        {"referee": {count.what: {"right": count.right, "total": count.total} for count in verdict}} if verdict else {}
    )


def _note_right(verdicts: list[Verdict]) -> None:
    """Print in one line what a referee says about all texts together."""
    from minigpt.data.generators import added

    if counts := [f"{count.right:,} of {count.total:,} {count.what}" for count in added(verdicts)]:
        note(f"right: {', '.join(counts)}")


def _print_objects(generator: TextGenerator, batches: list[list[Job]], referee: Referee | None) -> None:
    """Print one JSON object for each text; a referee counts what is right in it."""
    with progress_bar() as bar:
        step = _counted(bar, "writing", sum(batch[0][1].max_new_tokens for batch in batches))
        for batch in batches:
            prompts, each = zip(*batch, strict=True)
            for settings, result in zip(each, generator.generate_batch(prompts, each, cancelled=step), strict=True):
                verdict = () if referee is None else referee(result.text)
                print_json(
                    {
                        "prompt": result.prompt,
                        "completion": result.completion,
                        "text": result.text,
                        "num_new_tokens": result.num_new_tokens,
                        "seconds": result.seconds,
                        "tokens_per_second": result.tokens_per_second,
                        "stop_reason": result.stop_reason,
                        "seed": settings.seed,
                        "row": settings.row,
                        "notes": list(result.notes),
                    }
                    | _counted_right(verdict)
                )


def _print_found(
    search: Callable[..., list[FoundText]],
    prompts: list[str],
    num_beams: int,
    num_steps: int,
    referee: Referee | None,
    *,
    as_json: bool,
) -> None:
    """Print the best texts for each prompt; a referee counts what is right in them."""
    is_first = True
    verdicts: list[Verdict] = []
    for prompt in prompts:
        start = time.perf_counter()
        with progress_bar() as bar:
            texts = search(prompt, cancelled=_counted(bar, "searching", num_steps))
        seconds = time.perf_counter() - start
        for found in texts:
            verdict = () if referee is None else referee(found.text)
            verdicts.append(verdict)
            if as_json:
                shown = {**asdict(found), "notes": list(found.notes), **_counted_right(verdict)}
                rate = found.num_new_tokens / seconds if seconds else 0.0
                print_json({**shown, "seconds": seconds, "tokens_per_second": rate, "num_beams": num_beams})
                continue
            print_text("" if is_first else "\n\n---\n\n")
            is_first = False
            for text in found.notes:
                note(text)
            print_text(found.prompt, bold=True)
            print_text(found.completion)
            ending = ", ended by the model" if found.stop_reason == "eos" else ""
            note(
                f"\n\n{found.num_new_tokens:,} tokens, log probability {found.log_prob:.2f} nats, "
                f"score {found.score:.3f}, {num_beams} beams{ending}"
            )
    if not as_json:
        _note_right(verdicts)
        print_text("\n")


def _print_as_written(generator: TextGenerator, batches: list[list[Job]], referee: Referee | None) -> None:
    """Print the texts in order, each token as soon as it is certain and the texts before it are printed.

    A referee counts what is right in all of them. If the texts go into a file or a pipe, a bar shows how far they are.
    """
    start, num_tokens, is_first = time.perf_counter(), 0, True
    verdicts: list[Verdict] = []
    later: list[str] = []
    with progress_bar(shown=not sys.stdout.isatty()) as bar:
        say = note if bar.disable else later.append  # nothing else may be printed where a bar is
        count = _counted(bar, "writing", sum(settings.max_new_tokens for batch in batches for _, settings in batch))
        for batch in batches:
            prompts, each = zip(*batch, strict=True)
            stream = generator.stream_batch(prompts, each)
            written: list[list[str]] = [[] for _ in batch]
            for place, settings in enumerate(each):
                if not is_first:
                    print_text("\n\n---\n\n")
                is_first = False
                for text in stream.notes[place]:
                    say(text)
                print_text(stream.prompts[place], bold=True)
                print_text("".join(written[place]))
                while stream.stop_reasons[place] is None and (step := next(stream, None)) is not None:
                    owner, token = step
                    written[owner].append(token.written)
                    num_tokens += 1
                    count()
                    if owner == place:
                        print_text(token.written)
                rate = num_tokens / max(time.perf_counter() - start, 1e-9)
                ending = {"stop": ", ended by a stop text", "eos": ", ended by the model"}.get(
                    stream.stop_reasons[place] or "", ""
                )
                say(f"\n\n{len(written[place]):,} tokens, {rate:,.0f} tokens per second, seed {settings.seed}{ending}")
                if referee is not None:
                    verdicts.append(referee(stream.prompts[place] + "".join(written[place])))
    for text in later:
        note(text)
    _note_right(verdicts)
    print_text("\n")
