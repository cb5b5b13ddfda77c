"""The forward pass of a text as the Forward page shows it: every step outside the blocks and in the open block.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.forward.box_view import ATTENTION, FEEDFORWARD, INPUT, KNOWN, OUTPUT, STREAM, Box, short_number
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import has, percent, quoted, t

if TYPE_CHECKING:
    from minigpt.config import TransformerConfig
    from minigpt.interpret.forward import ForwardPass
    from minigpt.runs.loading import Run

FIRST = "embed"
"""The box that is open at first: the step in which tokens become vectors."""


@dataclass(frozen=True)
class ForwardView:
    """The forward pass of a prompt, with one block open.

    Attributes:
        reading: The prompt.
        config: The model's settings.
        step: Training step of the weights.
        layer: The block that is open, from 0.
        boxes: All steps outside the blocks and in the open block, in order of computation.
        streams: The first numbers of the stream as it leaves each block, (L, T, n).
        lengths: Mean length of a position's vector before the first and after each block, (L + 1,).
        vocabulary: The text of every token, V of them.
    """

    reading: Reading
    config: TransformerConfig
    step: int
    layer: int
    boxes: tuple[Box, ...]
    streams: np.ndarray
    lengths: np.ndarray
    vocabulary: tuple[str, ...]

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.vocabulary)

    @functools.cached_property
    def _counts(self) -> tuple[int, int]:
        """The number of boxes before the blocks, and in one block."""
        inside = sum(box.layer is not None for box in self.boxes)
        return sum(box.place == INPUT for box in self.boxes), inside

    @property
    def num_steps(self) -> int:
        """The number of steps of the whole model, with all blocks counted."""
        return len(self.boxes) + (self.config.num_layers - 1) * self._counts[1]

    def find(self, name: str) -> Box:
        """Return the box of that name; if there is none, the one that is open at first, else the first."""
        named = {box.name: box for box in self.boxes}
        return named.get(name) or named.get(FIRST) or self.boxes[0]

    def number_of(self, box: Box) -> int:
        """Return the number of a box among all steps of the model, from 1."""
        before, inside = self._counts
        index = self.boxes.index(box)
        if index >= before + inside:
            index += (self.config.num_layers - 1) * inside
        elif index >= before:
            index += self.layer * inside
        return index + 1


def view_of(run: Run, text: str, layer: int = 0) -> ForwardView:
    """Run the model on a prompt and return what the page shows.

    Args:
        run: The run at one step.
        text: The prompt.
        layer: The block to open, clipped to what the model has.

    Raises:
        TokenizerError: The prompt is empty and the tokenizer has no start token.
    """
    import torch

    from minigpt.interpret.forward import forward_pass

    config = run.model.config
    layer = max(0, min(layer, config.num_layers - 1))
    reading = read_prompt(run, text, config.sequence_length)
    passed = forward_pass(run.model, torch.tensor([reading.ids]), layer)
    return ForwardView(
        reading=reading,
        config=config,
        step=run.step,
        layer=layer,
        boxes=_boxes(run, passed),
        streams=passed.streams,
        lengths=passed.lengths,
        vocabulary=run.tokenizer.token_texts(),
    )


def _boxes(run: Run, passed: ForwardPass) -> tuple[Box, ...]:
    """Return every step of a pass as a box."""
    boxes = [_box(run, name, values, None, INPUT) for name, values in passed.before.items()]
    branch = ATTENTION
    for name, values in passed.inside.items():
        place = STREAM if name.startswith("resid_") else branch
        boxes.append(_box(run, name, values, passed.layer, place, passed.parts.get(name, "")))
        if name == "resid_mid":  # the stream between the two branches of a block
            branch = FEEDFORWARD
    for name, values in passed.after.items():
        boxes.append(_box(run, name, values, None, OUTPUT, name if name == "final_norm" else ""))
    return tuple(boxes)


def _box(run: Run, name: str, values: np.ndarray, layer: int | None, place: str, part: str = "") -> Box:
    from minigpt.interpret.source import lines_of_step

    known = KNOWN.get(name)
    column = known.column if known and known.column else name
    return Box(name, layer, place, column, part, values, lines_of_step(run, name, layer, part))


def candidates(view: ForwardView, position: int, count: int = 5) -> list[tuple[str, float]]:
    """Return the likeliest next tokens after a position and their probabilities."""
    row = np.nan_to_num(view.find("probabilities").values[position])
    order = np.argsort(-row, kind="stable")[:count]
    return [(view.vocabulary[token], float(row[token])) for token in order]


def facts(config: TransformerConfig) -> str:
    """Return a model's shape in one line; settings that models rarely change have their name from the settings file."""
    listed = [
        t("forward.fact_layers", count=config.num_layers),
        t("forward.fact_heads", count=config.num_heads),
        t("forward.fact_width", width=config.d_model, inner=config.ff_width)
        if config.has_feedforward
        else t("forward.fact_no_feedforward", width=config.d_model),
        *([_fact("norm", config.norm)] if config.norm_position != "none" else []),
        _fact("positions", config.positions),
        *([_fact("activation", config.activation)] if config.has_feedforward else []),
        t("forward.fact_tied") if config.tie_embeddings else t("forward.fact_untied"),
        t("forward.fact_context", count=f"{config.sequence_length:,}"),
    ]
    in_words = {
        "num_layers", "num_heads", "d_model", "d_ff", "norm", "positions", "activation", "tie_embeddings",
        "sequence_length",
    }  # fmt: skip
    only_in_training = {"dropout", "attention_dropout"}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name not in in_words | only_in_training and value != field.default:
            listed.append(f"`{name}: {str(value).lower()}`")
    return " · ".join(listed)


def _fact(field: str, value: str) -> str:
    key = f"forward.fact_{field}_{value}"
    return t(key) if has(key) else f"`{field}: {value}`"


def sentences(view: ForwardView, position: int) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    config, tokens = view.config, view.reading.tokens
    ((best, share),) = candidates(view, position, 1)
    return [
        t(
            "forward.see_numbers" if len(tokens) > 1 else "forward.see_number",
            count=f"**{len(tokens)}**",
            width=f"**{config.d_model}**",
            total=f"{len(tokens) * config.d_model:,}",
        ),
        t(
            "forward.see_tower" if config.num_layers > 1 else "forward.see_one_block",
            layers=f"**{config.num_layers}**",
            start=f"**{short_number(float(view.lengths[0]))}**",
            end=f"**{short_number(float(view.lengths[-1]))}**",
        ),
        t(
            "forward.see_next",
            position=position + 1,
            token=quoted(tokens[position]),
            best=quoted(best),
            share=f"**{percent(share)}**",
        ),
    ]
