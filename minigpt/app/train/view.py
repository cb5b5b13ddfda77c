"""Texts and numbers of the Train page for a run: its progress, a verdict, its learning rates, its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from minigpt.app.texts import equally_likely, has, number, percent, size, t, template, unit
from minigpt.data.generators import generator_of
from minigpt.runs.cost import disk_megabytes
from minigpt.runs.folder import RunFolder
from minigpt.runs.snapshots import RunSnapshot
from minigpt.tokenizers.base import make_tokenizer
from minigpt.viz.labels import nats, short
from minigpt.viz.training import REFERENCES, LossWords, first_step_below

FIRST_SECONDS = 3.0
"""After this time a run without a point has a large text or a slow model, and frequent looks would only cost time."""


def is_awaited(snapshot: RunSnapshot) -> bool:
    """Return whether a run was started within `FIRST_SECONDS` and its loss chart has no point yet."""
    if snapshot.curves.get("val_loss") or snapshot.curves.get("loss_ema") or not snapshot.created:
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(snapshot.created)
    return age.total_seconds() < FIRST_SECONDS


def steps_done(snapshot: RunSnapshot) -> str:
    """Return the progress of the training in steps."""
    return t("train.progress", step=number(snapshot.step), steps=number(snapshot.max_steps))


def verdict(snapshot: RunSnapshot) -> str:
    """Return one or two sentences on how well the run learns, with the numbers on the chart."""
    validation = snapshot.curves.get("val_loss", ())
    curve = validation or snapshot.curves.get("loss_ema", ())
    if not curve:
        uniform = snapshot.baselines.get("uniform")
        if uniform is None:
            return t("train.verdict_preparing" if snapshot.status == "preparing" else "train.verdict_waiting")
        return t("train.verdict_start", nats=f"{uniform:.2f}", choices=f"{math.exp(uniform):.0f}", unit=_unit(snapshot))
    whole = whole_loss(snapshot)
    loss = curve[-1][1] if whole is None else whole
    if snapshot.is_diverged or not math.isfinite(loss):
        return t("train.verdict_diverged")
    where = "whole" if whole is not None else "validation" if validation else "training"
    bits = nats(loss / math.log(2))
    sentence = t(
        f"train.verdict_{where}", nats=nats(loss), bits=bits, choices=equally_likely(loss), unit=_unit(snapshot)
    )
    averaged = t("train.verdict_averaged") if validation and snapshot.config.training.weights_ema else ""
    if validation and snapshot.is_copied:  # no praise for what it only remembers
        share = percent(float(snapshot.corpus["copied_share"]))
        return f"{t('train.verdict_copied', nats=nats(loss), bits=bits, share=share)} {averaged}".strip()
    return " ".join(filter(None, (sentence, averaged, progress_sentence(curve, snapshot))))


def _unit(snapshot: RunSnapshot) -> str:
    """Return the word for one token of the run."""
    return unit(make_tokenizer(snapshot.config.tokenizer))


def loss_words() -> LossWords:
    """Return the texts of the loss figure."""
    return LossWords(
        step=t("train.chart_step"),
        loss=t("train.chart_loss"),
        training=t("train.chart_training"),
        validation=t("train.chart_validation"),
        hover=template("train.chart_hover"),
        best=template("train.chart_best"),
        whole=template("train.chart_whole"),
        references={name: t(f"train.chart_{name}") for name in REFERENCES},
        entropy=t("train.chart_entropy"),
    )


def entropy(snapshot: RunSnapshot) -> float | None:
    """Return the true entropy of the run's text in nats per token; None if it is not known.

    A generator knows its entropy for each character; how many a token has is that of the text's validation part.
    """
    corpus = snapshot.corpus
    generator = generator_of(corpus.get("name"), corpus.get("origin"))
    chars, tokens = (int(corpus.get(f"num_validation_{unit}", 0)) for unit in ("chars", "tokens"))
    if generator is None or generator.entropy_bits_per_char is None or not tokens:
        return None
    return generator.entropy_bits_per_char() * math.log(2) * chars / tokens


def right_curves(snapshot: RunSnapshot) -> dict[str, Sequence[tuple[int, float]]]:
    """Return the shares of right items over the steps, by the words for their kind; a kind not known is left out."""
    known = {what: points for what, points in snapshot.right.items() if has(f"frame.item_{what}")}
    return {t(f"frame.item_{what}"): points for what, points in known.items()}


def right_sentence(snapshot: RunSnapshot) -> str:
    """Return a sentence on what the referee found at the latest evaluation; "" if the run's text has none."""
    parts = [
        t(
            "train.right_part",
            share=percent(points[-1][1]),
            count=number(snapshot.judged[what]),
            what=t(f"frame.item_{what}"),
        )
        for what, points in snapshot.right.items()
        if what in snapshot.judged and has(f"frame.item_{what}")
    ]
    generator = generator_of(snapshot.corpus.get("name"), snapshot.corpus.get("origin"))
    how = "asked" if generator is not None and generator.questions is not None else "written"
    return t(f"train.right_{how}", parts=", ".join(parts)) if parts else ""


def whole_loss(snapshot: RunSnapshot) -> float | None:
    """Return the final loss over the whole validation part, None if the curve itself was measured on all of it."""
    curve, loss = snapshot.curves.get("val_loss", ()), snapshot.val_loss
    return loss if curve and loss is not None and loss != curve[-1][1] else None


def progress_sentence(curve: Sequence[tuple[int, float]], snapshot: RunSnapshot) -> str:
    """Return a sentence on the best reference line that the loss has passed, or on a loss that rises again."""
    best_step, best = min(curve, key=lambda point: point[1])
    last_step, last = curve[-1]
    if last > 1.02 * best and last_step > best_step:
        # overfitting: the training loss is lower than the validation loss has ever been
        train = snapshot.curves.get("loss_ema", ())
        by_heart = bool(train) and 1.02 * train[-1][1] < best
        sentence = t(f"train.verdict_{'overfit' if by_heart else 'worse'}", step=number(best_step), nats=f"{best:.2f}")
        return sentence if whole_loss(snapshot) is None else sentence + " " + t("train.verdict_sampled")
    for name in reversed(REFERENCES):
        level = snapshot.baselines.get(name)
        if level is None or last >= level:
            continue
        step = first_step_below(curve, level)
        if step:  # at step 0 it has learned nothing; a loss below the line was luck
            return t(f"train.passed_{name}", step=number(step), nats=f"{level:.2f}", unit=_unit(snapshot))
    return t("train.passed_nothing")


def spaced(samples: Sequence[tuple[int, str]], count: int) -> list[tuple[int, str]]:
    """Return at most `count` of the samples, always the first, each at least at twice the step of the one before."""
    kept: list[tuple[int, str]] = []
    for step, text in samples:
        if not kept or step >= 2 * max(kept[-1][0], 1):
            kept.append((step, text))
    return [*kept[:1], *kept[1:][-(count - 1) :]] if kept else []


def passes(snapshot: RunSnapshot) -> float | None:
    """Return the number of passes over the training part: tokens seen divided by tokens in it."""
    num_train_tokens = int(snapshot.corpus.get("num_train_tokens", 0))
    return snapshot.tokens_seen / num_train_tokens if num_train_tokens else None


def learning_rates(snapshot: RunSnapshot) -> dict[str, Sequence[tuple[int, float]]]:
    """Return the learning rate of each group of weights so far; Muon has one for the matrices and one for the rest.

    Only the rate of the rest is recorded; that of the matrices has a constant ratio to it.
    """
    points, training = snapshot.curves.get("learning_rate", ()), snapshot.config.training
    if training.optimizer != "muon" or not points:
        return {t("train.rate"): points}
    share = training.muon_learning_rate / training.learning_rate
    return {t("train.rate_muon"): [(step, rate * share) for step, rate in points], t("train.rate_rest"): points}


def layer_title(layer: str) -> str:
    """Return the name of a part of the model; blocks are counted from 1, as on all pages."""
    name, _, index = layer.partition(".")
    if name == "blocks":
        return t("train.layer_block", number=int(index) + 1)
    return t(f"train.layer_{name}") if has(f"train.layer_{name}") else name


def extremes(values: Mapping[str, float]) -> str:
    """Return a sentence on the layers with the highest and the lowest value; "" for a single layer."""
    if len(values) < 2:
        return ""
    least, most = min(values, key=lambda layer: values[layer]), max(values, key=lambda layer: values[layer])
    return t("train.norms_extremes", most=most, high=short(values[most]), least=least, low=short(values[least]))


def scientific(value: float | None) -> str:
    """Write a learning rate with three significant digits, a small one with an exponent.

    >>> scientific(3e-4), scientific(0.00123), scientific(0.025), scientific(None)
    ('3e-4', '1.23e-3', '0.025', '–')
    """
    if value is None:
        return "–"
    if value >= 0.01:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def disk(snapshot: RunSnapshot, path: Path, *, bundled: bool) -> str:
    """Return a sentence on the disk space of the run and, while it can grow, on the most that it can take."""
    taken = size(RunFolder(path).disk_bytes())
    tokens = int(snapshot.corpus.get("num_tokens", 0))
    if bundled or snapshot.status == "finished" or not tokens:
        return t("train.disk", taken=taken)
    most = sum(disk_megabytes(snapshot.config, tokens, int(snapshot.corpus["vocab_size"])).values())
    return t("train.disk_growing", taken=taken, most=size(1e6 * most))


def sentences(snapshot: RunSnapshot) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    result = [t("train.see_lines")]
    references = [
        t(f"train.see_{name}", nats=f"{snapshot.baselines[name]:.2f}", unit=_unit(snapshot))
        for name in REFERENCES
        if name in snapshot.baselines
    ]
    if references:
        result.append(t("train.see_references") + " " + " ".join(references))
    generator = generator_of(snapshot.corpus.get("name"), snapshot.corpus.get("origin"))
    floor = entropy(snapshot)
    if generator is not None and floor is not None:
        key = "train.see_entropy_estimated" if generator.is_entropy_estimated else "train.see_entropy"
        result.append(t(key, nats=f"{floor:.2f}", unit=_unit(snapshot)))
    train, validation = snapshot.loss_ema, snapshot.val_loss
    if train is not None and validation is not None and snapshot.status != "failed" and not snapshot.is_copied:
        gap = f"{validation - train:+.2f}"
        result.append(t("train.see_gap", gap=gap, train=f"{train:.2f}", validation=f"{validation:.2f}"))
    if right := right_sentence(snapshot):
        result.append(right)
    return result
