"""A custom component: a name, its HTML, and the script and style in the folder of that name."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minigpt.app.components.scripts import FOLDER, script

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer


@dataclass(frozen=True)
class Component:
    """A component; calling it draws it. It is registered with Streamlit when it is drawn for the first time.

    So a module with a component can be imported without Streamlit, for example to build its message.

    Attributes:
        name: Name of the folder with `script.js` and, optionally, `style.css`.
        html: Its HTML before the script runs; it never contains text of a visitor.
        isolate_styles: Whether it is in a shadow root, where the page's styles do not apply.
    """

    name: str
    html: str
    isolate_styles: bool = True

    def __call__(self, **arguments: Any) -> None:
        """Draw it.

        Args:
            arguments: As Streamlit's components take them: `key`, `data`, `height`, `on_<name>_change`.
        """
        _registered(self)(**arguments)


@functools.cache
def _registered(component: Component) -> ComponentRenderer:
    import streamlit as st

    style = FOLDER / component.name / "style.css"
    return st.components.v2.component(
        f"minigpt_{component.name}",
        html=component.html,
        css=style.read_text("utf-8") if style.is_file() else None,
        js=script(component.name),
        isolate_styles=component.isolate_styles,
    )
