"""The settings of the next run, kept across pages, reloads and restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from pydantic import TypeAdapter, ValidationError

from minigpt import resources
from minigpt.app.session import kept, own_tokenizer, profile
from minigpt.app.ui.forms import config_widget, own_choices, refused, written
from minigpt.config import RunConfig, dotted_fields, field_info, load_config
from minigpt.config.fields import OWN_FIELDS, named_values, plain_types
from minigpt.errors import ConfigError

DEFAULT_PRESET = "nano"


@dataclass(frozen=True)
class Draft:
    """What the next run starts from: a preset, and changes from it, dotted field to value."""

    preset: str = DEFAULT_PRESET
    changes: Mapping[str, Any] = field(default_factory=dict)


def current_config() -> RunConfig:
    """Return the settings chosen on Train so far; without the changes while they are invalid."""
    base, changes = load_config(current_preset()), current_changes()
    try:
        return base if refused(changes) else base.updated(changes)
    except ConfigError:  # the Train page shows what is wrong with them
        return base


def current_preset() -> str:
    """Return the preset that the next run starts from."""
    return _current().preset


def current_changes() -> dict[str, Any]:
    """Return the changes from the preset: dotted field to value."""
    return dict(_current().changes)


def keep(preset: str, changes: Mapping[str, Any]) -> None:
    """Keep the settings of the next run across pages, reloads and restarts."""
    draft = st.session_state["app:draft"] = Draft(preset, dict(changes))
    kept.put("settings", None if draft == Draft() else {"preset": preset, "changes": draft.changes})


def setting_key(preset: str, dotted: str) -> str:
    """Return the key of a setting's widget on Train; each preset has widgets of its own."""
    return f"train:{preset}:{dotted}"


def change(values: Mapping[str, Any]) -> None:
    """Change settings of the next run from another page than Train; for callbacks.

    Args:
        values: Dotted field to value; None gives a setting the preset's value again.
    """
    preset, base = current_preset(), load_config(current_preset())
    standard = {name: getattr(getattr(base, name.split(".")[0]), name.split(".")[1]) for name in values}
    wanted = {name: standard[name] if value is None else value for name, value in values.items()}
    kept_changes = {name: value for name, value in current_changes().items() if name not in wanted}
    keep(preset, kept_changes | {name: value for name, value in wanted.items() if value != standard[name]})
    for name, value in wanted.items():
        if (key := setting_key(preset, name)) in st.session_state:
            st.session_state[key] = written(value)


def setting(dotted: str, *, key: str, standard: Any, kept: Mapping[str, Any], changes: dict[str, Any]) -> Any:
    """Draw one setting and return its value; if it differs from the preset's, add it to `changes`.

    A value that is not allowed is the text that was typed. It is kept among the changes too, so that the page can say
    what is wrong with it and nothing that was typed is lost.

    Args:
        dotted: Its name.
        key: Key of its widget.
        standard: The preset's value.
        kept: Earlier changes: dotted field to value.
        changes: Receives the change.
    """
    most = profile.limits().max_prompt_chars
    value = config_widget(dotted, key=key, value=kept.get(dotted, standard), most_chars=most)
    if value != standard:
        changes[dotted] = value
    return value


def _current() -> Draft:
    if "app:draft" not in st.session_state:
        if not kept.is_known():
            return Draft()
        st.session_state["app:draft"] = _restored(kept.get("settings"))
    draft: Draft = st.session_state["app:draft"]
    return draft


def _restored(value: Any) -> Draft:
    """Return what a file holds, without what no field can show, such as settings of another version."""
    if not isinstance(value, dict) or value.get("preset") not in resources.preset_names():
        return Draft()
    given, known = value.get("changes"), set(dotted_fields())
    pairs = given.items() if isinstance(given, dict) else ()
    return Draft(value["preset"], {name: change for name, change in pairs if name in known and _fits(name, change)})


def _fits(name: str, value: Any) -> bool:
    """Return whether a field can show a value; whether it is allowed is checked where the settings are shown.

    The field of a number also shows any text that was typed. The only file that a draft may name is the visitor's own
    tokenizer.
    """
    if name == "tokenizer.path":
        own = own_tokenizer.current()
        return own is not None and value == str(own.path)
    if name in OWN_FIELDS and value not in (*named_values(name), *own_choices(name)):
        return False  # a part of one's own that this server has not loaded
    annotation = field_info(name).annotation
    if isinstance(value, str) and plain_types(annotation) & {int, float}:
        return True
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
