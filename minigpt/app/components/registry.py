"""Where components are registered: a name, its markup, and the script and style of that name in assets/components."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt import resources


def script(name: str) -> str:
    """Return a component's script, after what all of them share."""
    return "\n".join(resources.asset_path("components", f"{part}.js").read_text("utf-8") for part in ("shared", name))


def register(name: str, html: str, *, isolate_styles: bool = True) -> Any:
    """Register a component of ours and return what draws it; called once for each, when its module is imported.

    Args:
        name: Of `<name>.js` and, where there is one, `<name>.css`.
        html: What it begins with; no text of a visitor is ever part of it.
        isolate_styles: Whether it lives in a shadow root, out of reach of the page's styles.
    """
    style = resources.asset_path("components", f"{name}.css")
    return st.components.v2.component(
        f"minigpt_{name}",
        html=html,
        css=style.read_text("utf-8") if style.is_file() else None,
        js=script(name),
        isolate_styles=isolate_styles,
    )
