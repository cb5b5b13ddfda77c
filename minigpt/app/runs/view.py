"""Texts and tables of the Runs page: a row for each run, and which run is best."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from minigpt import resources
from minigpt.app.session import runs
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import compact, distinct, equally_likely, escape, number, plain, size, t, template
from minigpt.app.ui.status import status_words
from minigpt.model.size import known_parameters
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.snapshots import Point, RunSnapshot
from minigpt.viz.comparison import ComparisonWords
from minigpt.wording import harmless


class Listed(NamedTuple):
    """One line of the list: a run and its snapshot."""

    ref: RunRef
    snapshot: RunSnapshot


def listed(own: Sequence[RunSnapshot], current: RunRef) -> list[Listed]:
    """Return the runs that a visitor can choose from; a run that cannot be found is left out.

    The visitor's own come first, then the current run if it is another person's, then the bundled ones.
    """
    names = dict.fromkeys([current.id, *resources.bundled_run_names()])
    refs = [runs.find_run(snapshot.id) for snapshot in own]
    refs += [runs.find_run(name) for name in names if name not in {snapshot.id for snapshot in own}]
    known = {snapshot.id: snapshot for snapshot in own}
    found = [(ref, known.get(ref.id) or runs.snapshot_of(ref)) for ref in refs if ref is not None]
    return [Listed(ref, snapshot) for ref, snapshot in found if snapshot is not None]


def table(lines: Sequence[Listed]) -> pd.DataFrame:
    """Return the list as a table, a row for each run."""
    return pd.DataFrame(
        [
            {
                t("runs.name"): harmless(snapshot.name),
                t("runs.status"): t("runs.bundled")
                if ref.bundled
                else status_words(snapshot.status, snapshot.progress),
                t("runs.steps"): "–"
                if snapshot.is_from_elsewhere
                else f"{number(snapshot.step)} / {number(snapshot.max_steps)}",
                t("runs.val_loss"): snapshot.val_loss,
                t("runs.parameters"): parameters_of(snapshot),
                t("runs.corpus"): "–" if snapshot.is_from_elsewhere else harmless(str(snapshot.corpus.get("name", ""))),
                t("runs.created"): pd.Timestamp(snapshot.created).tz_convert("UTC"),
                t("runs.size"): size(RunFolder(ref.path).disk_bytes()),
            }
            for ref, snapshot in lines
        ]
    )


def parameters_of(snapshot: RunSnapshot) -> str:
    """Return how many parameters a run's model has; a dash if it has a part of one's own that is not loaded."""
    known = known_parameters(snapshot.config.model, int(snapshot.corpus.get("vocab_size") or 0))
    return "–" if known is None else compact(known)


def packed(path: Path, *, with_data: bool) -> bytes:
    """Return a run as one zip file.

    Args:
        path: The run's folder.
        with_data: Whether to include its text.
    """
    buffer = io.BytesIO()
    export_zip(RunFolder(path), buffer, include_data=with_data)
    return buffer.getvalue()


@dataclass(frozen=True)
class Comparison:
    """The validation curves of several runs in one unit.

    Attributes:
        curves: Name of each run with its (step, value) points.
        unit: `bits` for bits per character, which can be compared between tokenizers; `nats` for nats per token.
        sentences: What the curves show, and what keeps them from being compared.
    """

    curves: tuple[tuple[str, tuple[Point, ...]], ...]
    unit: Literal["bits", "nats"]
    sentences: tuple[str, ...]


def comparison(chosen: Mapping[str, RunSnapshot]) -> Comparison:
    """Return the validation curves of some runs, in bits per character if each run's data says how to convert them.

    Args:
        chosen: The runs by a name unlike all others; see `distinct_names`.
    """
    measured = [(name, run, points) for name, run in chosen.items() if (points := finite_curve(run))]
    missing = [name for name in chosen if name not in {name for name, *_ in measured}]
    factors = {name: run.bits_per_nat for name, run, _ in measured}
    is_in_bits = all(factors.values())
    curves = tuple(
        (name, tuple((step, value * (factors[name] or 1.0 if is_in_bits else 1.0)) for step, value in points))
        for name, _, points in measured
    )
    unit: Literal["bits", "nats"] = "bits" if is_in_bits else "nats"
    return Comparison(curves, unit, tuple(_compared(curves, [run for _, run, _ in measured], unit, missing)))


def _compared(
    curves: Sequence[tuple[str, tuple[Point, ...]]], measured: Sequence[RunSnapshot], unit: str, missing: Sequence[str]
) -> Iterator[str]:
    """Yield the sentences of a comparison."""
    if curves:
        name, (step, value) = min(
            ((name, min(points, key=lambda point: point[1])) for name, points in curves), key=lambda pair: pair[1][1]
        )
        words = t(f"runs.compare_{unit}")
        yield t("runs.compare_lowest", name=escape(name), value=f"{value:.3f}", unit=words, step=number(step))
    if len(measured) > 1 and unit == "nats":
        yield t("runs.compare_only_nats")
    if len({str(run.corpus.get("sha256", run.id)) for run in measured}) > 1:
        yield t("runs.compare_other_text")
    in_step = {run.config.training.batch_size * run.config.model.sequence_length for run in measured}
    if len(in_step) > 1:
        yield t("runs.compare_other_step", low=number(min(in_step)), high=number(max(in_step)))
    if missing:
        yield t("runs.compare_unmeasured", names=", ".join(escape(name) for name in missing))


def finite_curve(run: RunSnapshot) -> tuple[Point, ...]:
    """Return the points of a run's validation loss, without those that are no numbers."""
    return tuple(point for point in run.curves.get("val_loss", ()) if math.isfinite(point[1]))


def distinct_names(chosen: Sequence[RunSnapshot]) -> list[str]:
    """Return the runs' names; equal ones get a number."""
    return distinct([harmless(run.name) for run in chosen])


def comparison_words(unit: str) -> ComparisonWords:
    """Return the words of the figure of a comparison."""
    return ComparisonWords(
        step=t("runs.compare_step"), value=t(f"runs.compare_axis_{unit}"), hover=template("runs.compare_hover")
    )


def comparison_alt(found: Comparison) -> str:
    """Return a text alternative for the figure of a comparison."""
    return plain(" ".join((t("runs.compare_alt", count=len(found.curves)), *found.sentences[:1])))


def sentences(lines: Sequence[Listed]) -> list[str]:
    """Return sentences on the best run, with its numbers."""
    measured = [(loss, snapshot) for _, snapshot in lines if (loss := snapshot.val_loss) is not None]
    copied = [escape(snapshot.name) for _, snapshot in measured if snapshot.is_copied]
    remarks = [t("runs.see_copied", names=", ".join(copied))] if copied else []
    measured = [(loss, snapshot) for loss, snapshot in measured if not snapshot.is_copied]
    if not measured:
        return [t("runs.see_none"), *remarks]
    loss, best = min(measured, key=lambda pair: pair[0])
    sentence = t(
        "runs.see_best",
        name=escape(best.name),
        loss=f"{loss:.2f}",
        choices=equally_likely(loss),
        parameters=parameters_of(best),
    )
    return [sentence, *remarks, t("runs.see_compare")]
