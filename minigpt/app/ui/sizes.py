"""The parameters and operations of each part of a model, in numbers and words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from minigpt.app.texts import compact, has, number, percent, t
from minigpt.model.size import size_map

if TYPE_CHECKING:
    from minigpt.config import TransformerConfig
    from minigpt.viz.forward import Piece

Measure = Literal["parameters", "flops"]
MEASURES: tuple[Measure, ...] = ("parameters", "flops")


def _part_name(part: str) -> str:
    """Return the name of a part of the model."""
    return t(f"forward.part_{part}") if has(f"forward.part_{part}") else part


def size_pieces(config: TransformerConfig, vocab_size: int, measure: Measure) -> list[Piece]:
    """Return the rectangles of the size map: a group for each block, and for each part outside the blocks."""
    from minigpt.viz.forward import Piece

    pieces = []
    for part in size_map(config, vocab_size):
        name = _part_name(part.part)
        if part.layer is not None:
            group = t("forward.group_block", number=part.layer + 1)
        else:
            group = name = t("forward.group_final_norm") if part.part == "norm" else name
        pieces.append(Piece(group, name, part.part, getattr(part, measure)))
    return pieces


def _sums(config: TransformerConfig, vocab_size: int, measure: Measure) -> dict[str, int]:
    """Return the size of each part in all blocks together, the largest first."""
    sums: dict[str, int] = {}
    for part in size_map(config, vocab_size):
        sums[part.part] = sums.get(part.part, 0) + getattr(part, measure)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def size_list(config: TransformerConfig, vocab_size: int, measure: Measure) -> str:
    """Return every part with its size, the largest first."""
    sums = _sums(config, vocab_size, measure)
    return " · ".join(f"{_part_name(part)} {number(size)}" for part, size in sums.items() if size)


def size_sentence(config: TransformerConfig, vocab_size: int) -> str:
    """Return a sentence on the parts with the most parameters and the most operations."""
    parameters, work = (_sums(config, vocab_size, measure) for measure in MEASURES)
    most, busiest = next(iter(parameters)), next(iter(work))  # the largest
    total_parameters, total_work = sum(parameters.values()), sum(work.values())
    return t(
        "forward.see_size",
        total=f"**{compact(total_parameters)}**",
        most=_part_name(most),
        share=f"**{percent(parameters[most] / total_parameters)}**",
        work=f"**{compact(total_work)}**",
        busiest=_part_name(busiest),
        busy=f"**{percent(work[busiest] / total_work)}**",
    )
