"""What the browser is sent: bytes behind a header, and the colours of both themes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigpt.viz.palette import colours


def pack(header: Mapping[str, Any], numbers: np.ndarray) -> bytes:
    """Put header and numbers into one message: length of the header, header as JSON, the numbers as they lie in memory.

    Args:
        header: What JSON can hold.
        numbers: Of any shape and width; the header or the component's script says which.
    """
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return struct.pack("<I", len(text)) + text + numbers.tobytes()


def both_themes(*names: str, **renamed: str) -> dict[str, dict[str, Any]]:
    """Return colours of the palette for the light and the dark theme; the browser knows which one it shows.

    >>> both_themes("brand", ground="surprise")["light"].keys()
    dict_keys(['brand', 'ground'])
    """
    wanted = {**{name: name for name in names}, **renamed}
    return {
        theme: {name: getattr(colours(theme), colour) for name, colour in wanted.items()} for theme in ("light", "dark")
    }
