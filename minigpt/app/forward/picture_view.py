"""The picture of the whole model: its boxes and its words."""

from __future__ import annotations

from minigpt.app.components.forward_map import MapBox
from minigpt.app.forward.box_view import KNOWN, SCORES, Box, meaning_of, shape_of, statistics_line, title_of
from minigpt.app.forward.view import ForwardView
from minigpt.app.texts import has, t

PATTERN = SCORES[-1]

WORDS = (
    "back", "next", "see", "step", "block", "blocks", "of", "pick", "open_block", "stream", "earlier", "later",
    "follow",
)  # fmt: skip


def map_boxes(view: ForwardView) -> list[MapBox]:
    """Return every step as a box of the picture; of the attention scores only the weights after softmax are painted."""
    return [_map_box(view, box) for box in view.boxes]


def _map_box(view: ForwardView, box: Box) -> MapBox:
    known = KNOWN.get(box.name)
    return MapBox(
        name=box.name,
        layer=box.layer,
        place=box.place,
        column=box.column,
        title=title_of(box, view.config),
        meaning=meaning_of(box, view.config, view.vocab_size),
        shape=shape_of(box),
        stats=statistics_line(box),
        colour=known.colour if known else "",
        values=box.values if box.name == PATTERN or box.name not in SCORES else None,
        is_map=box.name == PATTERN,
    )


def picture_words(view: ForwardView) -> dict[str, str]:
    """Return the texts on the picture, by the names that its component uses."""
    config = view.config
    positions = f"forward.positions_note_{config.positions}"
    ending = "" if config.residual else "_replaced"
    return {
        **{name: t(f"forward.map_{name}") for name in WORDS},
        "alt": t(
            "forward.picture_alt" if config.has_feedforward else "forward.picture_alt_attention",
            tokens=len(view.reading.tokens),
            d_model=config.d_model,
            layers=config.num_layers,
            vocab_size=view.vocab_size,
        ),
        "attention": t(f"forward.branch_attention{ending}"),
        "feedforward": t(f"forward.branch_feedforward{ending}"),
        "positions": t(positions) if has(positions) else "",
    }
