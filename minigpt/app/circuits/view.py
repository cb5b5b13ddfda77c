"""Names that several views of the Circuits page use."""

from __future__ import annotations

from minigpt.app.texts import t


def place_names(count: int) -> list[str]:
    """Return the names of the places at which the stream is read: the embedding, and after each block.

    Args:
        count: P, one more than the model has blocks.
    """
    return [t("circuits.place_embed"), *(t("circuits.place_block", number=block) for block in range(1, count))]
