"""The pipeline inspector in numbers and words: what each rule does to the chances of the next token.

The model reads the prompt once, and its answer is kept by the gate. Moving a rule's slider computes with that answer.
torch is imported inside the functions that the compute gate calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from minigpt.app.sampling import pipeline_view
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import number, percent, plain, probability, quoted, t
from minigpt.viz.labels import token_label, visible_token
from minigpt.viz.pipeline import PipelineRow

if TYPE_CHECKING:
    from minigpt.generation.samplers import Sampler, StageReport
    from minigpt.model.protocols import LanguageModel

T = TypeVar("T")

START = "presence_penalty=0.5:64,temperature=1.5,top_p=0.7"
"""The pipeline at first: a rule of each kind, and an order that matters."""
EXAMPLES = {"cut_first": "presence_penalty=0.5:64,top_p=0.7,temperature=1.5", "idle": "temperature=1,top_k=1,top_p=0.8"}
"""Pipelines to try, by the name of their label."""
HESITATES = 6
"""Tokens between which the model hesitates where the inspection starts: exp of the entropy."""
FEW, MANY = 8, 16
"""Tokens drawn as bars: of long tokens few, of short ones many."""
LAST = 16
"""Tokens before the next one that are quoted."""
NAMED = 8
"""Tokens that a sentence lists; the others are only counted."""
SAME = 1e-6
"""Chances that differ by less are equal."""


@dataclass(frozen=True)
class Places:
    """The places in a prompt at which the next token can be inspected.

    Attributes:
        reading: The prompt as the model reads it.
        hesitates: Index of the token after which the model hesitates between about `HESITATES` tokens, in the second
            half of the prompt.
    """

    reading: Reading
    hesitates: int


def places(run: LanguageModel, prompt: str) -> Places:
    """Run the model on a prompt and return where there is something to see."""
    import torch

    from minigpt.generation.inference import evaluation_mode

    context = run.model.config.sequence_length
    reading = read_prompt(run, prompt, context, context)
    with evaluation_mode(run.model):
        scores = run.model(torch.tensor([reading.ids], device=run.model.device))[0]
        log_probs = torch.log_softmax(scores.float(), -1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    half = len(reading.ids) // 2
    return Places(reading, half + int((entropy[half:] - math.log(HESITATES)).abs().argmin()))


@dataclass(frozen=True)
class Outlook:
    """What the model says of the next token at one place of a prompt.

    Attributes:
        ids: The tokens before it.
        logits: (V,), float64; -inf for special tokens that are never written.
    """

    ids: tuple[int, ...]
    logits: np.ndarray


def outlook(run: LanguageModel, reading: Reading, place: int) -> Outlook:
    """Run the model on the tokens of a prompt up to a place, once."""
    ids = reading.ids[: place + 1]
    return Outlook(ids, next_logits(run, ids))


def next_logits(run: LanguageModel, ids: Sequence[int]) -> np.ndarray:
    """Return the logits of the token after `ids`, (V,), float64; -inf for special tokens that are never written.

    Args:
        run: Model and tokenizer.
        ids: One token or more; the newest that fit the context are read.
    """
    import torch

    from minigpt.generation.inference import evaluation_mode

    model, tokenizer = run.model, run.tokenizer
    with evaluation_mode(model):
        scores = model(torch.tensor([list(ids[-model.config.sequence_length :])], device=model.device))[0, -1]
    logits: np.ndarray = scores.to("cpu", torch.float64).numpy().copy()
    logits[[i for i in tokenizer.special_ids if i != tokenizer.eos_id]] = -math.inf
    return logits


@dataclass(frozen=True)
class Swap:
    """What changes if two neighbouring rules change places.

    Attributes:
        place: Index of the first of the two.
        first: It in a few words.
        second: The other one in a few words.
        lost: Tokens that only the present order leaves, likeliest first.
        gained: Tokens that only the other order leaves, likeliest first.
        moved: The largest change of a token's chance.
    """

    place: int
    first: str
    second: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    moved: float

    @property
    def is_different(self) -> bool:
        """Whether the other order leaves other tokens or other chances."""
        return bool(self.lost or self.gained) or self.moved > SAME


@dataclass(frozen=True)
class Inspection:
    """What a pipeline does to one distribution.

    Attributes:
        tokens: The tokens drawn as bars, by the model's own chance.
        names: What the model's row and each rule are called.
        rows: The model's row, then one for each rule.
        mass_left: For each rule the chance, before it, of the tokens that it kept.
        has_effect: For each rule whether it changed anything here.
        best: The likeliest tokens at the end, as (text, chance).
        swaps: One for each pair of neighbouring rules.
        notes: Rules that never have an effect in this pipeline, one sentence each.
    """

    tokens: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[PipelineRow, ...]
    mass_left: tuple[float, ...]
    has_effect: tuple[bool, ...]
    best: tuple[tuple[str, float], ...]
    swaps: tuple[Swap, ...]
    notes: tuple[str, ...]


def inspect(run: LanguageModel, seen: Outlook, spec: str, own: RuleFile = NO_FILE) -> Inspection:
    """Apply the rules in order to what the model said, and every pair of neighbours in the other order too.

    Args:
        run: Tells what the tokens are.
        seen: What the model said.
        spec: The pipeline's text, as `pipeline_view.usable` returns it.
        own: The file of the rules of one's own that it names.

    Raises:
        SamplingError: The rules leave no token, or one of them is not there.
    """
    from minigpt.generation.samplers import SamplerChain
    from minigpt.generation.settings import resolve_sampler

    sampler = pipeline_view.sampler(spec, own.rules).bound(run)
    rules = tuple(stage.name() for stage in pipeline_view.read(spec))
    stages = sampler.stages if isinstance(sampler, SamplerChain) else (sampler,)
    reports = _reports(seen, stages)
    probs = np.stack([_softmax(seen.logits), *(report.probs.numpy() for report in reports)])
    shown = _shown_tokens(run, probs)
    names = (t("sampling.inspector_model"), *rules)
    text = run.tokenizer.token_text
    last = probs[-1]
    return Inspection(
        tokens=tuple(text(i) for i in shown),
        names=names,
        rows=_rows(names, probs, shown, reports),
        mass_left=tuple(report.mass_left for report in reports),
        has_effect=tuple(report.has_effect for report in reports),
        best=tuple((text(i), float(last[i])) for i in np.argsort(-last, kind="stable")[:3].tolist() if last[i] > 0),
        swaps=tuple(
            _swap(run, _reports(seen, swapped(stages, place))[-1].probs.numpy(), last, rules, place)
            for place in range(len(stages) - 1)
        ),
        notes=resolve_sampler(sampler).notes,
    )


def _reports(seen: Outlook, stages: Sequence[Sampler]) -> tuple[StageReport, ...]:
    import torch

    from minigpt.generation.samplers import SamplerChain

    return SamplerChain(stages).explain(torch.from_numpy(seen.logits), torch.tensor(seen.ids))


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max())
    probs: np.ndarray = shares / shares.sum()
    return probs


def _shown_tokens(run: LanguageModel, probs: np.ndarray) -> list[int]:
    """Return the tokens to draw: those that are likeliest at any stage, by the model's own chance."""
    best = np.argsort(-probs.max(axis=0), kind="stable")[:MANY].tolist()
    best = [i for i in best if probs[:, i].max() > 0]
    if max(len(visible_token(run.tokenizer.token_text(i))) for i in best) > 2:
        best = best[:FEW]
    return sorted(best, key=lambda i: (-probs[0, i], i))


def _rows(
    names: Sequence[str], probs: np.ndarray, shown: Sequence[int], reports: Sequence[StageReport]
) -> tuple[PipelineRow, ...]:
    """Return a row for the model and one for each rule."""
    known = np.isin(np.arange(probs.shape[1]), shown)
    rows = []
    for place, name in enumerate(names):
        before, after = probs[max(0, place - 1)], probs[place]
        removed = frozenset(reports[place - 1].removed) if place else frozenset()
        title = _title(place, name, after, reports[place - 1] if place else None)
        rows.append(
            PipelineRow(
                title=title,
                before=(*before[shown].tolist(), float(before[~known].sum())),
                after=(*after[shown].tolist(), float(after[~known].sum())),
                cut=tuple(i in removed for i in shown),
                num_before=int((before > 0).sum()),
                num_left=int((after > 0).sum()),
                num_others=int((after[~known] > 0).sum()),
            )
        )
    return tuple(rows)


def _title(place: int, name: str, after: np.ndarray, report: StageReport | None) -> str:
    """Return what is written above a row, for Plotly."""
    left = number(int((after > 0).sum()))
    if report is None:
        return t("sampling.inspector_row_model", name=f"<b>{name}</b>", left=left)
    name = f"<b>{place} · {token_label(name).replace('␣', ' ')}</b>"
    if not report.has_effect:
        return t("sampling.inspector_row_idle", name=name)
    if report.removed:
        cut = len(report.removed)
        return t("sampling.inspector_row_cut", name=name, cut=number(cut), mass=percent(1 - report.mass_left))
    return t("sampling.inspector_row_change", name=name)


def swapped(stages: Sequence[T], place: int) -> list[T]:
    """Return rules with two neighbours in the other order.

    >>> swapped("abc", 1)
    ['a', 'c', 'b']
    """
    return [*stages[:place], stages[place + 1], stages[place], *stages[place + 2 :]]


def _swap(run: LanguageModel, other: np.ndarray, last: np.ndarray, rules: Sequence[str], place: int) -> Swap:
    """Return what the other order of two neighbours would leave: `other` instead of `last`, both (V,)."""

    def names(mask: np.ndarray) -> tuple[str, ...]:
        chosen = np.flatnonzero(mask)
        order = chosen[np.argsort(-np.maximum(last, other)[chosen], kind="stable")]
        return tuple(run.tokenizer.token_text(i) for i in order.tolist())

    return Swap(
        place,
        first=rules[place],
        second=rules[place + 1],
        lost=names((last > 0) & ~(other > 0)),
        gained=names((other > 0) & ~(last > 0)),
        moved=float(np.abs(last - other).max()),
    )


def swapped_spec(spec: str, place: int) -> str:
    """Return the text of a pipeline with two neighbours in the other order."""
    return pipeline_view.written(swapped(pipeline_view.read(spec), place))


def question(reading: Reading, place: int) -> str:
    """Return which token is asked for: the one after the last of these words."""
    return t("sampling.inspector_question", text=quoted("".join(reading.tokens[max(0, place + 1 - LAST) : place + 1])))


def listed(tokens: Sequence[str]) -> str:
    """Return tokens for a sentence: the first of them quoted, the others counted."""
    shown = ", ".join(quoted(token) for token in tokens[:NAMED])
    more = len(tokens) - NAMED
    return f"{shown} {t('sampling.inspector_more', count=number(more))}" if more > 0 else shown


def swap_sentence(swap: Swap) -> str:
    """Return what the other order of two neighbours would change."""
    names = {"first": swap.first, "second": swap.second}
    if swap.lost and swap.gained:
        return t("sampling.swap_both", gained=listed(swap.gained), lost=listed(swap.lost), **names)
    if swap.gained:
        count = number(len(swap.gained))
        return t("sampling.swap_gains", tokens=listed(swap.gained), count=f"**{count}**", **names)
    if swap.lost:
        count = number(len(swap.lost))
        return t("sampling.swap_loses", tokens=listed(swap.lost), count=f"**{count}**", **names)
    if swap.is_different:
        return t("sampling.swap_moves", moved=percent(swap.moved), **names)
    return t("sampling.swap_same", **names)


def idle_sentences(found: Inspection) -> list[str]:
    """Return a sentence for each rule that changes nothing at this token although it can have an effect."""
    said = " ".join(found.notes)
    return [
        t("sampling.inspector_idle", name=name)
        for name, has_effect in zip(found.names[1:], found.has_effect, strict=True)
        if not has_effect and name not in said
    ]


def sentences(found: Inspection) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    first, last = found.rows[0], found.rows[-1]
    token, share = found.tokens[0], first.after[0]
    result = [t("sampling.inspector_see_model", token=quoted(token), share=f"**{probability(share)}**")]
    cuts = [
        (before.num_left - row.num_left, 1 - mass, name)
        for before, row, mass, name in zip(found.rows, found.rows[1:], found.mass_left, found.names[1:], strict=False)
        if row.num_left < before.num_left
    ]
    if cuts:
        cut, mass, name = max(cuts)
        words = {"cut": f"**{number(cut)}**", "mass": f"**{percent(mass)}**", "name": name}
        result.append(t("sampling.inspector_see_cut", **words))
    (best, chance), *_ = found.best
    if last.num_left == 1:
        result.append(t("sampling.inspector_see_one", token=quoted(best)))
    else:
        left = f"**{number(last.num_left)}**"
        result.append(
            t("sampling.inspector_see_left", left=left, token=quoted(best), share=f"**{probability(chance)}**")
        )
    return result


def figure_alt(found: Inspection) -> str:
    """Return a text alternative for the figure."""
    return plain(" ".join(sentences(found)))
