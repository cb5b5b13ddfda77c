"""Messages to the browser: a header followed by numbers, and the colours of both themes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigpt.viz.palette import colours


def pack(header: Mapping[str, Any], numbers: np.ndarray) -> bytes:
    """Put header and numbers into one message; `unpack` in shared.js splits it again.

    Format: the length of the header (4 bytes, little endian), the header as JSON, the numbers as they are in memory.

    Args:
        header: Values that JSON can hold.
        numbers: An array of any shape and dtype; the component's script must know both.
    """
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return struct.pack("<I", len(text)) + text + numbers.tobytes()


def both_themes(*names: str, **renamed: str) -> dict[str, dict[str, Any]]:
    """Return colours of the palette for the light and the dark theme; the browser picks one of them.

    Args:
        names: Colours that keep their name.
        renamed: New name to the palette's name.

    >>> both_themes("brand", ground="surprise")["light"].keys()
    dict_keys(['brand', 'ground'])
    """
    wanted = {**{name: name for name in names}, **renamed}
    return {
        theme: {name: getattr(colours(theme), colour) for name, colour in wanted.items()} for theme in ("light", "dark")
    }
