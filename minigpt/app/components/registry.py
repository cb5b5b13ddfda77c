"""Where components are registered: a name, its markup, and the script and style in the folder of that name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent


def script(name: str) -> str:
    """Return a component's script, after what all of them share."""
    return "\n".join((FOLDER / part).read_text("utf-8") for part in ("shared.js", f"{name}/script.js"))


def register(name: str, html: str, *, isolate_styles: bool = True) -> Any:
    """Register a component of ours and return what draws it; called once for each, when its module is imported.

    Args:
        name: Of the folder with `script.js` and, where there is one, `style.css`.
        html: What it begins with; no text of a visitor is ever part of it.
        isolate_styles: Whether it lives in a shadow root, out of reach of the page's styles.
    """
    style = FOLDER / name / "style.css"
    return st.components.v2.component(
        f"minigpt_{name}",
        html=html,
        css=style.read_text("utf-8") if style.is_file() else None,
        js=script(name),
        isolate_styles=isolate_styles,
    )
