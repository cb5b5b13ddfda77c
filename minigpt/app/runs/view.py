"""Texts and tables of the Runs page: a row for each run, and which run is best."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from minigpt import resources
from minigpt.app.session import runs
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import compact, equally_likely, escape, number, size, t
from minigpt.app.ui.status import status_words
from minigpt.model.size import count_parameters
from minigpt.runs.archive import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.snapshots import RunSnapshot


class Listed(NamedTuple):
    """One line of the list: a run and its snapshot."""

    ref: RunRef
    snapshot: RunSnapshot


def listed(own: Sequence[RunSnapshot]) -> list[Listed]:
    """Return the visitor's own runs and after them the bundled ones; a run that cannot be found is left out."""
    found = [(runs.find_run(snapshot.id), snapshot) for snapshot in own]
    bundled = [runs.find_run(name) for name in resources.bundled_run_names()]
    found += [(ref, snapshot) for ref in bundled if ref is not None and (snapshot := runs.snapshot_of(ref)) is not None]
    return [Listed(ref, snapshot) for ref, snapshot in found if ref is not None]


def table(lines: Sequence[Listed]) -> pd.DataFrame:
    """Return the list as a table, a row for each run."""
    return pd.DataFrame(
        [
            {
                t("runs.name"): snapshot.name,
                t("runs.status"): t("runs.bundled")
                if ref.bundled
                else status_words(snapshot.status, snapshot.progress),
                t("runs.steps"): f"{number(snapshot.step)} / {number(snapshot.max_steps)}",
                t("runs.val_loss"): snapshot.val_loss,
                t("runs.parameters"): compact(num_parameters(snapshot)),
                t("runs.corpus"): str(snapshot.corpus.get("name", "")),
                t("runs.created"): pd.Timestamp(snapshot.created).tz_convert("UTC"),
                t("runs.size"): size(RunFolder(ref.path).disk_bytes()),
            }
            for ref, snapshot in lines
        ]
    )


def num_parameters(snapshot: RunSnapshot) -> int:
    """Return how many parameters a run's model has."""
    return count_parameters(snapshot.config.model, int(snapshot.corpus.get("vocab_size") or 0)).total


def packed(path: Path, *, with_data: bool) -> bytes:
    """Return a run as one zip file.

    Args:
        path: The run's folder.
        with_data: Whether to include its text.
    """
    buffer = io.BytesIO()
    export_zip(RunFolder(path), buffer, include_data=with_data)
    return buffer.getvalue()


def sentences(lines: Sequence[Listed]) -> list[str]:
    """Return sentences on the best run, with its numbers."""
    measured = [(loss, snapshot) for _, snapshot in lines if (loss := snapshot.val_loss) is not None]
    if not measured:
        return [t("runs.see_none")]
    loss, best = min(measured, key=lambda pair: pair[0])
    sentence = t(
        "runs.see_best",
        name=escape(best.name),
        loss=f"{loss:.2f}",
        choices=equally_likely(loss),
        parameters=compact(num_parameters(best)),
    )
    return [sentence, t("runs.see_compare")]
