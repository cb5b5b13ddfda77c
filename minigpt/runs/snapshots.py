"""What a page sees of a run: plain, immutable data, small enough for many pages to read every second.

`History` takes the records of `metrics.jsonl` one by one and keeps at most 500 points of each curve, however long the
run is; `RunSnapshot` is one look at a run.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from minigpt.config import RunConfig
from minigpt.errors import CheckpointError, NonFiniteLossError
from minigpt.runs.info import Status
from minigpt.runs.lock import is_being_trained
from minigpt.runs.metrics import JUDGED, NORMS

if TYPE_CHECKING:
    from minigpt.runs.folder import RunFolder

MAX_POINTS = 500
MAX_SAMPLES = 20
MAX_JUDGED = 4
"""Kinds of items that a snapshot shows; a file of somebody else may name any number."""
CURVES = ("loss", "loss_ema", "val_loss", "learning_rate", "tokens_per_second")

Point = tuple[int, float]
"""(step, value)"""


@dataclass(frozen=True)
class RunSnapshot:
    """One look at a run. Losses are nats per token; numbers that are not known yet are None."""

    id: str
    name: str
    status: str
    """preparing, queued, running, paused, stopped, finished or failed. `run.json` says queued while it is preparing."""
    step: int
    """Weight updates done."""
    max_steps: int
    epoch: float
    seconds: float
    """Training time, without evaluation, samples, saving and other runs' turns."""
    eta_seconds: float | None
    """Wall time until the last step at the present pace, other runs' turns included; None unless running."""
    loss: float | None
    loss_ema: float | None
    val_loss: float | None
    """The latest; at the end of training that of the whole validation part, while the curve may show a sample's."""
    best_step: int | None
    """The step of the lowest loss on the curve."""
    learning_rate: float | None
    tokens_per_second: float | None
    mfu: float | None
    """Share of the machine's measured matrix peak, over the steps before the last evaluation (MFU)."""
    tokens_seen: int
    device: str
    message: str
    """Why the run is in this state, in full sentences; may be empty."""
    queue_position: int | None
    """1 for the run that starts next; None unless queued."""
    version: int
    """Grows with every change of another field; a snapshot with the same version need not be drawn again."""
    curves: Mapping[str, tuple[Point, ...]]
    """loss, loss_ema, val_loss, learning_rate, tokens_per_second; each at most 500 points, in order of steps."""
    samples: tuple[tuple[int, str], ...]
    """(step, text) of the latest samples, oldest first."""
    norms: Mapping[str, Mapping[str, float]]
    """The latest norms by layer, of `gradient`, `update` and `ratio` (update by weights); empty before the first."""
    baselines: Mapping[str, float]
    """Loss of simple models on the same validation part: uniform, unigram, bigram."""
    config: RunConfig
    corpus: Mapping[str, Any]
    """What is known about the corpus: the contents of `data/meta.json`; before it is prepared only `name`, `origin` and
    `num_chars`; empty if the data was left out of an export."""
    created: str
    """When, in ISO 8601."""
    right: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """Share of right items, 0 to 1, by kind, where the text has a referee; as `curves`."""
    judged: Mapping[str, int] = field(default_factory=dict)
    """How many items of each kind the latest evaluation judged."""
    progress: float | None = None
    """Share of the text that is prepared, 0 to 1; None unless preparing."""
    activity: str = ""
    """What takes long at the moment and shows no progress, such as compiling, in full sentences; mostly empty."""
    is_elsewhere: bool = False
    """Whether another process trains it; only that process can pause or stop it."""
    is_diverged: bool = False
    """Whether it failed because its loss or gradient became infinite or NaN; resumed, it would do so again."""

    @property
    def is_copied(self) -> bool:
        """Whether most of the validation part also stands in the training part, so that its loss shows memory."""
        share = self.corpus.get("copied_share")
        if not isinstance(share, int | float):
            return False
        from minigpt.data.overlap import COPIED_SHARE  # it loads numpy, which the list of runs does without

        return share >= COPIED_SHARE

    @property
    def bits_per_nat(self) -> float | None:
        """Bits per character of one nat per token on the validation part; None if the data does not say."""
        tokens, chars = (self.corpus.get(f"num_validation_{what}") for what in ("tokens", "chars"))
        return tokens / chars / math.log(2) if tokens and chars else None

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether it is finished without a step, as the import of a model from another library is."""
        return self.status == "finished" and self.step == 0

    @property
    def is_active(self) -> bool:
        """Whether the engine still works on it: preparing, queued, running or paused."""
        return self.status in ("preparing", "queued", "running", "paused")


def snapshot_to_json(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return a snapshot as values that JSON can hold, to be sent to another machine."""
    values = {each.name: getattr(snapshot, each.name) for each in fields(snapshot)}
    return {name: _plain(value) for name, value in values.items()} | {"config": snapshot.config.model_dump(mode="json")}


def snapshot_from_json(values: Mapping[str, Any]) -> RunSnapshot:
    """Return the snapshot that `snapshot_to_json` has written.

    Raises:
        ValidationError: A field is missing, or is of another type.
    """
    read = _adapter().validate_python(values)
    return replace(read, **{name: _frozen(getattr(read, name)) for name in _MAPPINGS})


@functools.cache
def _adapter() -> TypeAdapter[RunSnapshot]:
    return TypeAdapter(RunSnapshot)


_MAPPINGS = ("curves", "norms", "baselines", "corpus", "right", "judged")


def _plain(value: Any) -> Any:
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def _frozen(value: Any) -> Any:
    return MappingProxyType({key: _frozen(each) for key, each in value.items()}) if isinstance(value, dict) else value


class Curve:
    """A growing series that never takes more than `max_points` points.

    The first and the last point are kept exactly. The points between are cut into equal buckets that keep their lowest
    and their highest point, so a spike is never thinned away. When there are too many buckets, neighbours merge.

    >>> curve = Curve(max_points=6)
    >>> for step in range(100):
    ...     curve.add(step, 9.0 if step == 50 else 1.0)
    >>> (50, 9.0) in curve.points()
    True
    """

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self._max_buckets = (max_points - 2) // 2
        self._width = 1
        self._first: Point | None = None
        self._last: Point | None = None
        self._buckets: list[tuple[int, Point, Point]] = []  # (points in it, lowest, highest), the last one still open
        self._points: tuple[Point, ...] | None = None

    def add(self, step: int, value: float) -> None:
        """Append a point; a point at the step of the last one replaces it."""
        self._points = None
        if self._first is None:
            self._first = (step, value)
        elif self._last is not None and step > self._last[0]:
            self._put(self._last)
        self._last = (step, value)

    def points(self) -> tuple[Point, ...]:
        """Return the points in order of steps; the same tuple until a point is added."""
        if self._points is None:
            ends = {point[0]: point for point in (self._first, self._last) if point is not None}
            kept = {point[0]: point for _, low, high in self._buckets for point in (low, high)}
            self._points = tuple(sorted((kept | ends).values()))
        return self._points

    def _put(self, point: Point) -> None:
        if self._buckets and self._buckets[-1][0] < self._width:
            self._buckets[-1] = _merged(self._buckets[-1], (1, point, point))
            return
        if len(self._buckets) == self._max_buckets:
            halves = [self._buckets[index : index + 2] for index in range(0, len(self._buckets), 2)]
            self._buckets = [functools.reduce(_merged, half) for half in halves]
            self._width *= 2
            self._put(point)
            return
        self._buckets.append((1, point, point))


def _merged(left: tuple[int, Point, Point], right: tuple[int, Point, Point]) -> tuple[int, Point, Point]:
    low = min(left[1], right[1], key=lambda point: point[1])
    high = max(left[2], right[2], key=lambda point: point[1])
    return left[0] + right[0], low, high


class History:
    """The records of one run so far, condensed for a snapshot.

    Args:
        records: The records of `metrics.jsonl` without superseded ones.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._curves = {name: Curve() for name in CURVES}
        self._samples: deque[tuple[int, str]] = deque(maxlen=MAX_SAMPLES)
        self.latest: dict[str, Any] = {}
        self.norms: Mapping[str, Mapping[str, float]] = MappingProxyType({})
        self._right: dict[str, Curve] = {}
        self.judged: Mapping[str, int] = MappingProxyType({})
        self._early_end = (0, "")
        self._measured: int | None = None
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record of kind step, evaluation, sample, budget, norms or early_end; other kinds are ignored."""
        kind = record.get("kind")
        if kind == "sample":
            self._samples.append((int(record["step"]), str(record["text"])))
            return
        if kind == "norms":
            self.norms = MappingProxyType({name: MappingProxyType(dict(record[name])) for name in NORMS})
        if kind == "early_end":
            self._early_end = (int(record["step"]), str(record["text"]))
        if kind == "budget":
            self.latest["max_steps"] = record["max_steps"]
        if kind not in ("step", "evaluation"):
            return
        # the last step is evaluated again on the whole validation part; a curve only holds evaluations of the same kind
        is_again = kind == "evaluation" and record["step"] == self._measured
        for name, value in record.items():
            if value is None or name in ("kind", "whole", *JUDGED):
                continue
            self.latest[name] = value
            if name in self._curves and not is_again:
                self._curves[name].add(int(record["step"]), float(value))
        if kind == "evaluation":
            self._measured = int(record["step"])
            self.judged = MappingProxyType({what: int(count) for what, count in record.get("judged", {}).items()})
            for what, share in record.get("right", {}).items():
                if not is_again and (what in self._right or len(self._right) < MAX_JUDGED):
                    self._right.setdefault(what, Curve()).add(int(record["step"]), float(share))

    @property
    def curves(self) -> Mapping[str, tuple[Point, ...]]:
        """The points of each curve."""
        return MappingProxyType({name: curve.points() for name, curve in self._curves.items()})

    @property
    def right(self) -> Mapping[str, tuple[Point, ...]]:
        """The share of right items over the steps, by kind."""
        return MappingProxyType({what: curve.points() for what, curve in self._right.items()})

    @property
    def early_end(self) -> str:
        """Why the training ended before its last step, in words; empty if it did not."""
        step, text = self._early_end
        return text if step >= int(self.latest.get("step", 0)) else ""

    @property
    def samples(self) -> tuple[tuple[int, str], ...]:
        """The latest samples, oldest first."""
        return tuple(self._samples)


def snapshot_of(folder: RunFolder, config: RunConfig | None = None) -> RunSnapshot:
    """Look at a run on disk that this process does not train, a bundled run included.

    A run that was queued, running or paused when its server ended was interrupted and counts as stopped. A run with a
    damaged folder counts as failed, and its message says what is wrong.

    Args:
        folder: The run.
        config: Its settings, if already loaded, which saves some milliseconds; None: they are read.

    Raises:
        RunNotFoundError: The folder is no run.
    """
    try:
        return _snapshot_of(folder, folder.config if config is None else config)
    except CheckpointError as error:
        return damaged(folder.path.name, str(error))


def _snapshot_of(folder: RunFolder, config: RunConfig) -> RunSnapshot:
    info = folder.info
    history = History(folder.metrics())
    latest = history.latest
    corpus = _corpus_facts(folder)
    newest = max(folder.checkpoints(), default=0)
    step = max(int(latest.get("step", 0)), newest)
    max_steps = int(latest.get("max_steps", config.training.max_steps))
    status, message = status_at_rest(info.status, folder), info.error or ""
    if status == "running":
        message = "Another process trains this run; it can be stopped only there."
    if status == "finished" and not message:
        message = history.early_end
    if status == "stopped" and not message:
        where = f"at step {step:,} of {max_steps:,}" if folder.is_prepared else "before its text was prepared"
        how = f"Stopped {where}."
        if info.status != "stopped":
            how = (
                f"Interrupted {where}, when its process ended: the server was restarted, or the system ended it, "
                "for example because the memory was full."
            )
        message = f"{how} Resume continues at step {newest:,}." if folder.is_prepared else f"{how} Resume prepares it."
    return RunSnapshot(
        id=info.id,
        name=info.name,
        status=status,
        step=step,
        max_steps=max_steps,
        epoch=float(latest.get("epoch", 0.0)),
        seconds=float(latest.get("seconds", 0.0)),
        eta_seconds=None,
        loss=latest.get("loss"),
        loss_ema=latest.get("loss_ema"),
        val_loss=latest.get("val_loss"),
        best_step=folder.best_step,
        learning_rate=latest.get("learning_rate"),
        tokens_per_second=latest.get("tokens_per_second"),
        mfu=latest.get("mfu"),
        tokens_seen=int(latest.get("tokens_seen", 0)),
        device=config.device,
        message=message,
        queue_position=None,
        version=0,
        curves=history.curves,
        right=history.right,
        judged=history.judged,
        samples=history.samples,
        norms=history.norms,
        baselines=MappingProxyType(dict(corpus.get("baselines", {}))),
        config=config,
        corpus=MappingProxyType(corpus),
        created=info.created.isoformat(),
        is_elsewhere=status == "running",
        is_diverged=status == "failed" and info.error_type == NonFiniteLossError.__name__,
    )


def status_at_rest(written: Status, folder: RunFolder) -> Status:
    """Return the status of a run that this process does not train.

    Args:
        written: The status in its `run.json`.
        folder: The run.
    """
    if written in ("queued", "running", "paused"):
        return "running" if is_being_trained(folder.path) else "stopped"
    return written


def _corpus_facts(folder: RunFolder) -> dict[str, Any]:
    """Return what is known about the corpus: all of `data/meta.json`, less before the text is prepared."""
    try:
        if folder.is_prepared:
            return folder.meta
        from minigpt.data.stored import stored_corpus

        corpus = stored_corpus(folder.unprepared_path)
        return {"name": corpus.name, "origin": corpus.origin, "num_chars": corpus.num_chars}
    except CheckpointError:
        return {}  # left out of an export


def damaged(run_id: str, message: str) -> RunSnapshot:
    """Return the snapshot of a run that cannot be read: its id, and what is wrong with it."""
    return RunSnapshot(
        id=run_id,
        name=run_id,
        status="failed",
        step=0,
        max_steps=0,
        epoch=0.0,
        seconds=0.0,
        eta_seconds=None,
        loss=None,
        loss_ema=None,
        val_loss=None,
        best_step=None,
        learning_rate=None,
        tokens_per_second=None,
        mfu=None,
        tokens_seen=0,
        device="",
        message=message,
        queue_position=None,
        version=0,
        curves=History().curves,
        samples=(),
        norms=MappingProxyType({}),
        baselines=MappingProxyType({}),
        config=RunConfig(),
        corpus=MappingProxyType({}),
        created="",
    )
