"""What Home shows, read from files alone: recorded forward passes, and samples that a run wrote during training.

Nothing here imports torch: Home must appear within seconds of the server's start. The recording is made by
`tools/make_home_flow.py` from the bundled model, and a test repeats it and compares.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minigpt import resources
from minigpt.app.texts import equally_likely, t
from minigpt.runs.folder import RunFolder
from minigpt.runs.metrics import WrittenSample

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

BUNDLED = "tales"
"""The run that Home shows."""
SENTENCES = ("say_read", "say_layer", "say_odds", "say_fallen", "say_again", "say_next")
"""What is said below the picture, in this order."""
MOST_TOKENS = 30
"""Tokens of prompt and continuation together that the picture has room for."""
MOST_PROMPT = 20
"""Characters of the visitor's prompt."""


@functools.cache
def load_flow() -> dict[str, Any] | None:
    """Return the recording, None if the file is missing; see `minigpt.interpret.flow.Flow` for its fields."""
    try:
        recording: dict[str, Any] = json.loads(resources.asset_path("home_flow.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return recording


def flow_of(run: Run, prompt: str) -> dict[str, Any]:
    """Let a model continue a prompt, and return what it computed, as `load_flow` returns the recording."""
    from minigpt.interpret.flow import record_flow

    room = min(MOST_TOKENS, run.model.config.sequence_length)
    return record_flow(run, prompt, num_tokens=room - len(run.tokenizer.encode(prompt))).to_dict()


def flow_words(recording: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts on the picture of the recording."""
    facts = {name: recording[name] for name in ("d_model", "vocab_size")}
    facts |= {"layers": recording["num_layers"], "heads": recording["num_heads"]}
    names = ("text", "layer", "next", "play", "pause", "step", *SENTENCES)
    words = {name: t(f"home.flow_{name}", **facts) for name in names}
    words["numbers"] = t("home.flow_numbers", shown=24, **facts)
    words["alt"] = t("home.flow_alt", prompt=prompt_of(recording), **facts)
    return words


def prompt_of(recording: Mapping[str, Any]) -> str:
    """Return the text that the model continues."""
    return "".join(recording["tokens"][: recording["num_prompt"]])


def samples() -> list[WrittenSample]:
    """Return the samples that the bundled run wrote during training."""
    return RunFolder(resources.bundled_runs_path() / BUNDLED).samples()


def loss_sentence(sample: WrittenSample) -> str:
    """Return a sentence on the loss when a sample was written; "" if nothing had been measured by then."""
    if sample.step == 0:
        return t("home.history_start")
    if sample.val_loss is None:
        return ""
    return t("home.history_loss", loss=f"{sample.val_loss:.2f}", choices=equally_likely(sample.val_loss))


def milestones(samples: list[WrittenSample], count: int = 5) -> list[WrittenSample]:
    """Pick samples that show how noise turned into words: the first, the last, and steps between them.

    Learning is fast at first and slow later, so the steps are spaced by ratio and not by difference.

    >>> [sample.step for sample in milestones([WrittenSample(s, "", None) for s in range(0, 1001, 50)], 4)]
    [0, 50, 200, 1000]
    """
    if len(samples) <= count:
        return samples
    chosen = [samples[0]]
    start = max(1, samples[1].step)
    ratio = (samples[-1].step / start) ** (1 / max(1, count - 2))
    for index in range(count - 2):
        later = [sample for sample in samples[1:-1] if sample.step > chosen[-1].step]
        if later:
            chosen.append(min(later, key=lambda sample: abs(sample.step - start * ratio**index)))
    return [*chosen, samples[-1]]
