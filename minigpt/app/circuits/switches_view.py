"""What a model does with some of its parts off, in numbers and words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from minigpt.app.components.switchboard import Part, part_name
from minigpt.app.session.reading import Reading, read_few
from minigpt.app.session.run_text import Passage, fixed_passage
from minigpt.app.texts import percent, quoted, t
from minigpt.interpret.places import largest

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.runs.loading import Run
    from minigpt.viz.circuits import Change

Kind = Literal["zero", "mean"]
"""The output that replaces a part that is off: zeros, or its mean."""
KINDS: tuple[Kind, ...] = ("zero", "mean")

NUM_CANDIDATES = 8
SAMPLE_TOKENS = 90
SAMPLE_TEMPERATURE = 0.7
MOST_NAMED = 6
"""A sentence lists so many parts by name and counts the others."""


@dataclass(frozen=True)
class Outcome:
    """What a model does with some parts off.

    Attributes:
        reading: The prompt.
        probabilities: Of every next token after the prompt, (V,).
        bits: Bits per character on the fixed passage.
        sample: Its continuation of the prompt, always with the same random numbers.
        passage: The fixed text.
        shape: (L, H).
        has_feedforward: Whether the model has feed-forward blocks.
        texts: The text of every token of the vocabulary, V of them.
    """

    reading: Reading
    probabilities: np.ndarray
    bits: float
    sample: str
    passage: Passage
    shape: tuple[int, int]
    has_feedforward: bool
    texts: tuple[str, ...]


def outcome(
    run: Run, ref: RunRef, prompt: str, off: frozenset[Part], kind: Kind, cancelled: Callable[[], bool]
) -> Outcome:
    """Run a model with some parts off.

    Args:
        run: The run at one step.
        ref: Reference to the same run.
        prompt: The visitor's text.
        off: What is off.
        kind: What replaces it.
        cancelled: Called between tokens of the sample; the work stops when it returns True.
    """
    import torch

    from minigpt.generation.generator import TextGenerator
    from minigpt.interpret.ablation import Ablation, ablated_logits, ablation_probe, mean_activations, text_nats

    heads = run.model.config.num_heads
    ablation = Ablation(
        heads=frozenset(part for part in off if part[1] < heads),
        feedforwards=frozenset(layer for layer, column in off if column == heads),
        kind=kind,
    )
    reading = read_few(run, prompt)
    passage = fixed_passage(ref, run, reading.ids)
    scored = torch.from_numpy(passage.ids)[None]
    means = mean_activations(run.model, scored) if kind == "mean" and off else None
    probe = ablation_probe(ablation, means) if off else None
    logits = ablated_logits(run.model, torch.tensor([reading.ids]), ablation, means)[0, -1]
    nats = text_nats(run.model, scored, probe)
    sample = TextGenerator(run).generate(
        prompt, max_new_tokens=SAMPLE_TOKENS, temperature=SAMPLE_TEMPERATURE, probe=probe, cancelled=cancelled
    )
    return Outcome(
        reading=reading,
        probabilities=logits.softmax(dim=-1).numpy(),
        bits=_bits_per_char(float(nats.sum()), run, passage),
        sample=sample.completion,
        passage=passage,
        shape=(run.model.config.num_layers, heads),
        has_feedforward=run.model.config.has_feedforward,
        texts=run.tokenizer.token_texts(),
    )


def importance(run: Run, ref: RunRef, prompt: str, kind: Kind, cancelled: Callable[[], bool]) -> np.ndarray:
    """Return the increase in bits per character on the fixed passage when each part is off, (L, H + 1).

    The feed-forward blocks stand in the last column, which a model without them does not have; the arguments are those
    of `outcome`.
    """
    import torch

    from minigpt.interpret.ablation import importance as measure

    passage = fixed_passage(ref, run, read_few(run, prompt).ids)
    measured = measure(run.model, torch.from_numpy(passage.ids)[None], kind=kind, cancelled=cancelled)
    parts = [measured.heads, measured.feedforwards] if len(measured.feedforwards) else [measured.heads]
    nats = np.column_stack(parts) * (len(passage.ids) - 1)
    return nats * _bits_per_char(1.0, run, passage)


def _bits_per_char(nats: float, run: Run, passage: Passage) -> float:
    """Convert the loss on a passage from nats to bits per predicted character; the first token is not predicted."""
    guessed = len(run.tokenizer.decode(passage.ids[1:].tolist()))
    return nats / math.log(2) / max(1, guessed)


def experiments(shape: tuple[int, int], *, feedforward: bool = True) -> dict[str, frozenset[Part]]:
    """Return the experiments: text name to the parts that it turns off.

    Args:
        shape: (L, H).
        feedforward: Whether the model has feed-forward blocks.
    """
    layers, heads = shape
    found = {
        "try_feedforwards": frozenset((layer, heads) for layer in range(layers)),
        "try_first_heads": frozenset((0, head) for head in range(heads)),
        "try_all_on": frozenset(),
    }
    if not feedforward:
        del found["try_feedforwards"]
    return found


def changes(before: Outcome, after: Outcome) -> list[Change]:
    """Return the next tokens that are likely before or after, the likeliest before first."""
    from minigpt.viz.circuits import Change

    then, now = before.probabilities, after.probabilities
    likely = np.argsort(-np.maximum(then, now), kind="stable")[:NUM_CANDIDATES]
    order = sorted(likely.tolist(), key=lambda token: -float(then[token]))
    return [Change(before.texts[token], float(then[token]), float(now[token])) for token in order]


def change_alt(shown: list[Change]) -> str:
    """Return a text alternative for the figure of candidates."""
    top = max(shown, key=lambda change: change.after)
    return t("circuits.next_alt", token=quoted(top.text), before=percent(top.before), after=percent(top.after))


def switches_sentences(before: Outcome, after: Outcome, off: frozenset[Part], measured: np.ndarray | None) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen.

    Args:
        before: With everything on.
        after: As switched.
        off: What is off.
        measured: The importance of each part, (L, H + 1); None: not measured.
    """
    heads = before.shape[1]
    top = int(before.probabilities.argmax())
    token, share = quoted(before.texts[top]), f"**{percent(float(before.probabilities[top]))}**"
    if not off:
        sentences = [t("circuits.see_all_on", bits=f"**{before.bits:.2f}**", token=token, share=share)]
    else:
        now = int(after.probabilities.argmax())
        parts, share_now = _listed(off, heads), f"**{percent(float(after.probabilities[top]))}**"
        sentences = [
            t("circuits.see_off", parts=parts, before=f"**{before.bits:.2f}**", after=f"**{after.bits:.2f}**"),
            t("circuits.see_token", token=token, before=share, after=share_now),
        ]
        if now != top:
            other_share = f"**{percent(float(after.probabilities[now]))}**"
            sentences.append(t("circuits.see_other", token=quoted(before.texts[now]), share=other_share))
    if measured is not None:
        part = largest(measured)
        bits = f"**{measured[part]:.2f}**"
        sentences.append(t("circuits.see_importance", part=f"**{part_name(part, heads)}**", bits=bits))
    return sentences


def _listed(off: frozenset[Part], heads: int) -> str:
    """Return the names of parts as a list in a sentence."""
    names = [part_name(part, heads) for part in sorted(off)]
    listed = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{listed} {t('circuits.and_more', count=more)}" if more > 0 else listed
