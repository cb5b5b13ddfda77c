"""What the Forward page says: what steps are called, what they do, their shapes, and sentences with numbers in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigpt.app.forward.view import KNOWN, Box, ForwardView, candidates, statistics
from minigpt.app.texts import compact, has, number, percent, quoted, t

if TYPE_CHECKING:
    from minigpt.viz.forward import Piece


def letters_of(box: Box) -> str:
    """Return the letters of a box's shape, "" where they are not known.

    A variant may use a known name for another shape, so the number of letters has to fit.
    """
    known = KNOWN.get(box.name)
    fits = known is not None and len(known.letters.split()) == box.values.ndim
    return ", ".join(["B", *known.letters.split()]) if known and fits else ""


def shape_of(box: Box) -> str:
    """Return a shape as code writes it, in letters and numbers: `(B, T, D) = (1, 12, 128)`."""
    numbers = ", ".join(str(size) for size in (1, *box.values.shape))
    letters = letters_of(box)
    return f"({letters}) = ({numbers})" if letters else f"({numbers})"


def letter_meanings(box: Box) -> str:
    """Return what each letter of a box's shape stands for."""
    letters = letters_of(box)
    return " · ".join(t(f"forward.letter_{letter.lower()}") for letter in letters.split(", ")) if letters else ""


def _kind(view: ForwardView, box: Box) -> str:
    """Return which of several texts about a step fits this model: by kind of norm, activation and so on."""
    settings = {
        "norm": "norm", "ff_act": "activation", "q": "positions", "k": "positions", "logits": "tie_embeddings",
        "attn_scores_masked": "causal",
    }  # fmt: skip
    return str(getattr(view.config, settings.get(box.subject, ""), "")).lower()


def title_of(view: ForwardView, box: Box) -> str:
    """Return what a box is called; a step that nobody has named yet is called as in the code."""
    if box.name == "final_norm":
        return t("forward.box_final_norm")
    for key in (f"forward.box_{box.subject}_{_kind(view, box)}", f"forward.box_{box.subject}"):
        if has(key):
            return t(key)
    return box.name


def say_of(view: ForwardView, box: Box) -> str:
    """Return in one plain sentence what a step does."""
    config, kind = view.config, _kind(view, box)
    subject = box.name if box.name == "final_norm" else box.subject
    for key in (f"forward.say_{subject}_{kind}", f"forward.say_{subject}"):
        if has(key):
            return t(
                key,
                d_model=config.d_model,
                d_head=config.d_head,
                d_ff=config.ff_width,
                heads=config.num_heads,
                vocab_size=view.vocab_size,
                layers=config.num_layers,
            )
    return t("forward.say_unknown")


def where_of(view: ForwardView, box: Box) -> str:
    """Return where in the model a box stands."""
    if box.layer is not None:
        return t("forward.where_block", layer=box.layer + 1, layers=view.config.num_layers)
    return t(f"forward.where_{box.place}")


def short_number(value: float) -> str:
    """Write a number of any size with three significant digits.

    >>> [short_number(value) for value in (0.0, 12.345, -0.00123, 12345.6)]
    ['0', '12.3', '-0.00123', '12,346']
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def statistics_line(box: Box) -> str:
    """Return a box's statistics in one line, for the picture."""
    found = statistics(box.values)
    return t(
        "forward.statistics",
        low=short_number(found.low),
        high=short_number(found.high),
        mean=short_number(found.mean),
        std=short_number(found.std),
        norm=short_number(found.norm),
    )


def facts(view: ForwardView) -> str:
    """Return the model's shape in one line, as it is configured; unusual settings are named as in its file."""
    config = view.config
    said = [
        t("forward.fact_layers", count=config.num_layers),
        t("forward.fact_heads", count=config.num_heads),
        t("forward.fact_width", width=config.d_model, inner=config.ff_width),
        _fact("norm", config.norm),
        _fact("positions", config.positions),
        _fact("activation", config.activation),
        t("forward.fact_tied") if config.tie_embeddings else t("forward.fact_untied"),
        t("forward.fact_context", count=f"{config.sequence_length:,}"),
    ]
    told = {
        "num_layers", "num_heads", "d_model", "d_ff", "norm", "positions", "activation", "tie_embeddings",
        "sequence_length", "dropout", "attention_dropout",
    }  # fmt: skip
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name not in told and value != field.default:
            said.append(f"`{name}: {str(value).lower()}`")
    return " · ".join(said)


def _fact(field: str, value: Any) -> str:
    key = f"forward.fact_{field}_{value}"
    return t(key) if has(key) else f"`{field}: {value}`"


def sentences(view: ForwardView, position: int) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    config, tokens = view.config, view.reading.tokens
    (best, share), *_ = candidates(view, position, 1)
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


def part_name(part: str) -> str:
    """Return what a part of the size map is called."""
    return t(f"forward.part_{part}") if has(f"forward.part_{part}") else part


def size_pieces(view: ForwardView, what: str) -> list[Piece]:
    """Return the rectangles of the size map: a group for each block, and for each part outside the blocks.

    Args:
        view: What the page shows.
        what: parameters or flops.
    """
    from minigpt.model.size import size_map
    from minigpt.viz.forward import Piece

    pieces = []
    for part in size_map(view.config, view.vocab_size):
        name = part_name(part.part)
        if part.layer is not None:
            group = t("forward.group_block", number=part.layer + 1)
        else:
            group = name = t("forward.group_final_norm") if part.part == "norm" else name
        pieces.append(Piece(group, name, part.part, getattr(part, what)))
    return pieces


def _size_sums(view: ForwardView, what: str) -> dict[str, int]:
    """Return what each part takes in all blocks together, the largest first."""
    from minigpt.model.size import size_map

    sums: dict[str, int] = {}
    for part in size_map(view.config, view.vocab_size):
        sums[part.part] = sums.get(part.part, 0) + getattr(part, what)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def size_list(view: ForwardView, what: str) -> str:
    """Return every part with its size, the largest first; see `size_pieces`."""
    sums = _size_sums(view, what)
    return " · ".join(f"{part_name(part)} {number(size)}" for part, size in sums.items() if size)


def size_sentence(view: ForwardView) -> str:
    """Return where most of the parameters and most of the work sit."""
    parameters, work = _size_sums(view, "parameters"), _size_sums(view, "flops")
    (most, size), (busiest, flops) = next(iter(parameters.items())), next(iter(work.items()))
    return t(
        "forward.see_size",
        total=f"**{compact(sum(parameters.values()))}**",
        most=part_name(most),
        share=f"**{percent(size / sum(parameters.values()))}**",
        work=f"**{compact(sum(work.values()))}**",
        busiest=part_name(busiest),
        busy=f"**{percent(flops / sum(work.values()))}**",
    )
