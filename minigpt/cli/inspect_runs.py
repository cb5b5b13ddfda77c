"""`minigpt runs show` and `minigpt runs compare`: one run in detail, and several side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import click

from minigpt.cli.console import note, print_json, print_table, print_text
from minigpt.cli.options import json_option, run_argument, runs_argument, step_option_with
from minigpt.wording import visible

SAME_BY_NATURE = ("preset",)
"""Settings in which a difference says nothing about the training: the other settings tell."""

SHOWN_LINES = 10
"""Newest lines of a run's log that `show` prints; with --json there are all that `RunFolder.log` gives."""


@click.command()
@run_argument
@step_option_with("the run as a whole")
@json_option
def show(run: str, step: int | Literal["best", "last"] | None, as_json: bool) -> None:
    """Show a run: losses, text, model, and the weights it keeps.

    With --step, the losses and the time are those that were recorded last at or before that step. RUN is a run's
    folder, its id, an exported zip, or the name of a bundled run.
    """
    facts = _facts(run)
    if step is not None:
        facts |= _recorded(run, step, facts)
    del facts["settings"]
    if as_json:
        print_json(facts)
        return
    losses = {"training": facts["loss"], "smoothed": facts["loss_ema"], "validation": facts["val_loss"]}
    lines = {
        "name": facts["name"],
        "status": f"{facts['status']}, step {facts['step']:,} of {facts['max_steps']:,}",
        "weights": "" if step is None else visible(facts["weights_file"]),
        "": facts["message"],
        "loss": ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items() if loss is not None),
        "perplexity": _number(facts["perplexity"], ".4g"),
        "bits per character": _number(facts["bits_per_char"], ".4f"),
        "best step": _number(facts["best_step"], ","),
        "training": f"{facts['seconds']:,.1f} s, {facts['tokens_seen']:,} tokens"
        + (f", {facts['tokens_per_second']:,.0f} tokens per second" if facts["tokens_per_second"] else ""),
        "text": ", ".join(filter(None, (facts["corpus"], _number(facts["num_chars"], ",", " characters")))),
        "tokenizer": f"{facts['tokenizer']}, {facts['vocab_size']:,} tokens",
        "model": f"{facts['num_layers']} layers of {facts['num_heads']} heads, width {facts['d_model']}, context "
        f"{facts['sequence_length']}{_number(facts['num_parameters'], ',', ' parameters', before=', ')}"
        + "".join(f", {part}" for part in (facts["positions"], facts["block"]) if part.startswith("own:")),
        "weights kept": f"steps {', '.join(map(str, facts['weights'])) or 'none'}",
        "tags": ", ".join(facts["tags"]),
        "notes": facts["notes"],
        "made": facts["created"],
        "copied from": facts["parent"] or "",
        "size": f"{facts['bytes'] / 1e6:,.1f} MB",
        "folder": visible(facts["path"]),
    }
    for title, value in lines.items():
        if value:
            print_text(f"{title:18}  {value}", end="\n")
    for number, line in enumerate(facts["log"][-SHOWN_LINES:]):
        print_text(f"{'' if number else 'log':18}  {line}", end="\n")


@click.command()
@runs_argument
@json_option
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: losses, and the settings that differ.

    RUN is a run's folder, its id, an exported zip, or the name of a bundled run.
    """
    found = [_facts(run) for run in runs]
    settings = [_flat(facts.pop("settings")) for facts in found]
    different = [
        name
        for name in settings[0]
        if name not in SAME_BY_NATURE and any(each.get(name) != settings[0][name] for each in settings)
    ]
    if as_json:
        for facts, values in zip(found, settings, strict=True):
            print_json({**facts, "different": {name: values.get(name) for name in different}})
        return
    names = [facts["name"] for facts in found]
    labels = names if len(set(names)) == len(names) else list(runs)  # ids are long, but never the same
    cells = [
        (
            label,
            f"{facts['step']:,}",
            _number(facts["val_loss"], ".4f"),
            _number(facts["perplexity"], ".4g"),
            _number(facts["bits_per_char"], ".4f"),
            _number(facts["num_parameters"], ","),
            f"{facts['seconds']:,.1f}",
        )
        for label, facts in zip(labels, found, strict=True)
    ]
    titles = ("run", "step", "loss", "perplexity", "bits/char", "parameters", "seconds")
    print_table(titles, cells, left=("run",), foldable=("run",))
    if different:
        click.echo()
        rows = [(name, *(_shown(values.get(name)) for values in settings)) for name in different]
        print_table(("setting", *labels), rows, left=("setting", *labels), foldable=labels)
    note(
        "\nLosses of the validation part, in nats per token. Bits per character compare runs with different tokenizers."
    )
    if len({facts["corpus_sha256"] for facts in found}) > 1:
        note("These runs learned different texts, so their losses do not say which model is better.")


def _facts(name: str) -> dict[str, Any]:
    """Return what is known about a run, as values for JSON."""
    from minigpt.model.size import known_parameters
    from minigpt.runs.loading import find_run
    from minigpt.runs.snapshots import snapshot_of

    folder = find_run(name)
    info, tokenizer, config = folder.info, folder.tokenizer, folder.config
    seen = snapshot_of(folder, config)
    measured, model, factor = seen.val_loss, config.model, seen.bits_per_nat
    return {
        "run": folder.path.name,
        "name": seen.name,
        "status": "bundled" if folder.is_bundled else seen.status,
        "message": seen.message,
        "step": seen.step,
        "max_steps": seen.max_steps,
        "loss": seen.loss,
        "loss_ema": seen.loss_ema,
        "val_loss": measured,
        "perplexity": _perplexity(measured),
        "bits_per_char": None if measured is None or factor is None else measured * factor,
        "best_step": seen.best_step,
        "seconds": seen.seconds,
        "tokens_seen": seen.tokens_seen,
        "tokens_per_second": seen.tokens_per_second,
        "corpus": seen.corpus.get("name", ""),
        "corpus_sha256": seen.corpus.get("sha256"),
        "num_chars": seen.corpus.get("num_chars"),
        "tokenizer": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "d_model": model.d_model,
        "sequence_length": model.sequence_length,
        "positions": model.positions,
        "block": model.block,
        "num_parameters": known_parameters(model, tokenizer.vocab_size),
        "weights": folder.steps(),
        "tags": list(info.tags),
        "notes": info.notes,
        "created": seen.created,
        "parent": info.parent,
        "log": folder.log().splitlines(),
        "bytes": folder.disk_bytes(),
        "path": str(folder.path),
        "settings": config.model_dump(mode="json"),
    }


def _recorded(name: str, step: int | Literal["best", "last"], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was recorded last at or before the step of some weights, as values for JSON.

    Raises:
        RunNotFoundError: The run has not kept the weights of this step.
    """
    from minigpt.runs.loading import find_run, step_of

    folder = find_run(name)
    weights = folder.weights_path(step)
    number = step_of(weights)
    found: dict[str, dict[str, Any]] = {}
    for record in folder.metrics():
        if record["step"] <= number:
            found[record["kind"]] = record
    trained, evaluated = found.get("step", {}), found.get("evaluation", {})
    val_loss: float | None = evaluated.get("val_loss")
    per_nat = facts["bits_per_char"] / facts["val_loss"] if facts["bits_per_char"] and facts["val_loss"] else None
    return {
        "step": number,
        "weights_file": str(weights),
        "loss": trained.get("loss"),
        "loss_ema": trained.get("loss_ema"),
        "val_loss": val_loss,
        "perplexity": _perplexity(val_loss),
        "bits_per_char": None if val_loss is None or per_nat is None else val_loss * per_nat,
        "seconds": trained.get("seconds", 0.0),
        "tokens_seen": trained.get("tokens_seen", 0),
        "tokens_per_second": trained.get("tokens_per_second"),
    }


def _perplexity(loss: float | None) -> float | None:
    """Return the perplexity of a loss in nats; None if there is none, or it is too large to be told."""
    return None if loss is None or loss > 700 else math.exp(loss)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _number(value: float | None, form: str, unit: str = "", *, before: str = "") -> str:
    """Return a number in words, "" if it is not known."""
    return "" if value is None else f"{before}{value:{form}}{unit}"


def _shown(value: Any) -> str:
    """Return a setting's value in words."""
    return "empty" if value in (None, [], "") else value if isinstance(value, str) else json.dumps(value)
