"""Which settings there are, which values each of them allows, and the error for a wrong one.

Every section of the configuration derives from `Section`, which adds it to `SECTIONS`. Names, bounds and descriptions
of the settings are read from these classes and are written nowhere else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from minigpt.errors import ConfigError
from minigpt.wording import quoted, visible

SECTIONS: dict[str, type[Section]] = {}
"""Section name to class, in the order of a settings file."""

OTHER_NAMES = {
    "n_layer": "num_layers", "n_layers": "num_layers", "n_head": "num_heads", "n_heads": "num_heads",
    "n_kv_head": "num_kv_heads", "n_kv_heads": "num_kv_heads", "n_embd": "d_model", "dim": "d_model",
    "hidden_size": "d_model", "d_mlp": "d_ff", "intermediate_size": "d_ff", "block_size": "sequence_length",
    "n_ctx": "sequence_length", "context_length": "sequence_length", "max_iters": "max_steps", "lr": "learning_rate",
    "eval_interval": "eval_steps", "gradient_accumulation_steps": "accumulation_steps", "warmup_iters": "warmup_steps",
    "min_lr": "min_learning_rate_ratio", "max_length": "max_new_tokens", "epochs": "max_steps",
}  # fmt: skip
"""Names that other code bases use for our fields; a wrong key is answered with a suggestion."""

OWN = "own:"
"""How the name of a position scheme or a block of one's own begins, see `minigpt.model.registry`."""
OWN_FIELDS = {"model.positions": "a position scheme", "model.block": "a block"}
"""Settings whose value can be such a name, and what it names."""

DEVICES = "auto, cpu, cuda, cuda:0 (or another number) or mps"
"""Allowed values of `device`, for messages."""
TRACKERS = "wandb, tensorboard, a list of them, or an empty list"
"""Allowed values of `training.track`, for messages."""


class Section(BaseModel):
    """A group of settings: frozen and checked; unknown keys are refused."""

    section: ClassVar[str] = ""
    """Name of the section; empty for the class that joins them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Build a section in code; a wrong value is a ConfigError, as it is in a settings file."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise explain_error(error, type(self).__name__, self.section) from None

    # With this mark of pydantic's, a section that is validated as part of a whole configuration skips this __init__,
    # so that the error keeps the whole path of the field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if vars(cls).get("section"):
            SECTIONS[cls.section] = cls

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for numbers; Python would read them as 1 and 0."""
        if isinstance(value, bool) and plain_types(cls.model_fields[str(info.field_name)].annotation) & {int, float}:
            raise ValueError("a number")
        return value


def plain_types(annotation: Any) -> set[Any]:
    """Return the types in a field's annotation: {int, NoneType} for `int | None`."""
    return set(get_args(annotation)) or {annotation}


def named_values(dotted: str) -> tuple[str, ...]:
    """Return the values that a setting can have by name; none if it has no such values.

    >>> named_values("model.norm"), named_values("model.block"), named_values("seed")
    (('rmsnorm', 'layernorm'), ('usual',), ())
    """
    annotation = field_info(dotted).annotation
    kind = get_args(annotation)[0] if dotted in OWN_FIELDS else annotation
    return get_args(kind) if get_origin(kind) is Literal else ()


def check_part(dotted: str, value: object) -> object:
    """Return the value of a setting that is one of ours or `own:NAME`, unchanged.

    Raises:
        ValueError: It is neither; the message is what is allowed.
    """
    if isinstance(value, str) and (
        value in named_values(dotted) or re.fullmatch(f"{OWN}[a-z][a-z0-9_]{{0,63}}", value)
    ):
        return value
    raise ValueError(f"{join_or(map(repr, named_values(dotted)))}, or own:NAME for {OWN_FIELDS[dotted]} of your own")


def join_or(values: Iterable[object]) -> str:
    """Join alternatives in words.

    >>> join_or([1, 2, 4])
    '1, 2 or 4'
    """
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


def _root() -> type[Section]:
    """Return the class that joins the sections."""
    return next(cls for cls in Section.__subclasses__() if not cls.section)


def field_names() -> dict[str, list[str]]:
    """Map each plain field name to every dotted name it stands for."""
    names: dict[str, list[str]] = {name: [name] for name in _root().model_fields if name not in SECTIONS}
    for section, cls in SECTIONS.items():
        for field in cls.model_fields:
            names.setdefault(field, []).append(f"{section}.{field}")
    return names


def dotted_fields() -> list[str]:
    """Return the dotted name of every field, in the order of the sections.

    >>> dotted_fields()[:4]
    ['preset', 'seed', 'device', 'model.num_layers']
    """
    return [dotted for names in field_names().values() for dotted in names]


def field_info(dotted: str) -> Any:
    """Return pydantic's description of a field: `.description`, `.default`, `.metadata` (bounds), `.annotation`.

    Args:
        dotted: For example `training.max_steps`.

    Raises:
        ConfigError: There is no such field.
    """
    section, _, field = dotted.rpartition(".")
    fields = (SECTIONS[section] if section in SECTIONS else _root()).model_fields
    if field not in fields or (section and section not in SECTIONS):
        raise unknown_setting(dotted, "the code")
    return fields[field]


def field_bounds(dotted: str) -> tuple[float | None, float | None]:
    """Return the smallest and the largest allowed value of a numeric field; None means no bound.

    An exclusive bound is returned like an inclusive one; a widget has to start one step inside it.

    >>> field_bounds("data.validation_fraction")
    (0, 1)
    """
    low: float | None = None
    high: float | None = None
    for bound in field_info(dotted).metadata:
        low = getattr(bound, "ge", getattr(bound, "gt", low))
        high = getattr(bound, "le", getattr(bound, "lt", high))
    return low, high


def unknown_setting(key: str, source: str) -> ConfigError:
    """Return the error for a key that is no setting, with the most similar setting as a suggestion."""
    names = field_names() | {section: [section] for section in SECTIONS}
    plain = key.rpartition(".")[2]
    guess = OTHER_NAMES.get(plain) or plain
    if guess not in names:
        close = difflib.get_close_matches(plain, list(names), n=1, cutoff=0.6)
        guess = close[0] if close else ""
    hint = f"did you mean {' or '.join(names[guess])}?" if guess in names else "`minigpt config` lists all settings."
    return ConfigError(f"{source}: there is no setting {visible(key[:80])}.", mend=hint[0].upper() + hint[1:])


def nest(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Sort settings with sectioned, dotted or flat keys into their sections.

    Args:
        values: For example `{"model": {"d_model": 64}}`, `{"model.d_model": 64}` or `{"d_model": 64}`.
        source: Where the values come from, for messages.

    Raises:
        ConfigError: A setting is unknown or given twice, or a flat key fits more than one section.
    """
    names = field_names()
    result: dict[str, Any] = {}

    def put(section: str, field: str, value: Any) -> None:
        place = result.setdefault(section, {}) if section else result
        if field in place:
            dotted = f"{section}.{field}" if section else field
            raise ConfigError(f"{source}: {dotted} is given twice, in two spellings.", mend="Keep the one you mean.")
        place[field] = value

    for key, value in values.items():
        if key in SECTIONS:
            if value is None:  # a section whose lines are all commented out
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{source}: {key} is {quoted(value)[:80]}; it must be a section of settings.",
                    mend=f"Write {key}: on a line of its own and its settings below it, indented.",
                )
            for field, inner in value.items():
                if field not in SECTIONS[key].model_fields:
                    raise unknown_setting(f"{key}.{field}", source)
                put(key, field, inner)
            continue
        section, _, field = key.rpartition(".")
        if section:
            if section not in SECTIONS or field not in SECTIONS[section].model_fields:
                raise unknown_setting(key, source)
            put(section, field, value)
            continue
        dotted = names.get(key)
        if dotted is None:
            raise unknown_setting(key, source)
        if len(dotted) > 1:
            raise ConfigError(f"{source}: {key} could be {' or '.join(dotted)}.", mend="Write the one you mean.")
        section, _, field = dotted[0].rpartition(".")
        put(section, field, value)
    return result


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above` in place of its own, section by section."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in below.items()}
    for key, value in above.items():
        if isinstance(value, Mapping) and key in SECTIONS:
            result[key] = {**result.get(key, {}), **value}
        else:
            result[key] = value
    return result


def explain_error(error: ValidationError, source: str, section: str = "", *, has_preset: bool = False) -> ConfigError:
    """Turn pydantic's first complaint into our error; the message counts the others.

    Args:
        error: From validating a section, or the whole configuration.
        source: Where the values come from, for messages.
        section: Name of the section that was validated; empty for the whole configuration.
        has_preset: Whether a preset gives the value of a setting that is left out; then the default is not named.
    """
    detail = error.errors()[0]
    dotted = ".".join(str(part) for part in (section, *detail["loc"]) if part != "" and not isinstance(part, int))
    if detail["type"] == "extra_forbidden":
        return unknown_setting(dotted, source)
    if dotted in SECTIONS and "error" not in detail.get("ctx", {}):
        return ConfigError(
            f"{source}: {dotted} is {quoted(str(detail['input'])[:80])}; it must be a section of settings.",
            mend=f"Give a {SECTIONS[dotted].__name__} or a mapping from its settings to values.",
        )
    more = f" ({len(error.errors()) - 1} more after it.)" if len(error.errors()) > 1 else ""
    if dotted not in dotted_fields():  # a contradiction between two settings
        mend = f"Change one of them{f' in section {dotted}' if dotted else ''}.{more}"
        return ConfigError(f"{source}: {detail['ctx']['error']}.", mend=mend, on_page=f"Change one of them.{more}")
    given = "empty" if detail["input"] is None else quoted(detail["input"])
    given = given if len(given) <= 80 else given[:77] + "..."
    default = field_info(dotted).default
    usual = "" if has_preset or default in (None, (), "") else f"; the default is {default}"
    problem = f"{source}: {dotted} is {given}; it must be {_allowed(dotted, dict(detail))}."
    return ConfigError(problem, mend=f"Correct it or leave it out{usual}.{more}", on_page=f"Correct it{usual}.{more}")


def explain_fields(error: ValidationError) -> dict[str, str]:
    """Return every field that pydantic complains about, with the values that it allows.

    Args:
        error: From validating a whole configuration.
    """
    complaints = {".".join(str(part) for part in detail["loc"][:2]): dict(detail) for detail in error.errors()}
    return {dotted: _allowed(dotted, detail) for dotted, detail in complaints.items() if dotted in dotted_fields()}


def allowed_values(dotted: str) -> str:
    """Describe the allowed values of a field in words.

    Raises:
        ConfigError: There is no such field.

    >>> allowed_values("training.batch_size")
    'a whole number, at least 1 and at most 1048576'
    >>> allowed_values("model.norm")
    'rmsnorm or layernorm'
    """
    if names := named_values(dotted):
        return join_or(names) + (f", or own:NAME for {OWN_FIELDS[dotted]} of your own" if dotted in OWN_FIELDS else "")
    described = {"device": DEVICES, "training.track": TRACKERS}
    return described.get(dotted) or _allowed(dotted, {"type": ""})


def _allowed(dotted: str, detail: Mapping[str, Any]) -> str:
    """Describe the allowed values of a field: its type, and its bounds if it has any.

    Args:
        dotted: The field.
        detail: Pydantic's description of an error in it; a `type` of "" if there is no error.
    """
    if detail["type"] == "value_error":  # raised by one of our validators, whose message is the description
        allowed = str(detail["ctx"]["error"])
    elif detail["type"] == "literal_error":
        allowed = str(detail["ctx"]["expected"])
    else:
        kinds = plain_types(field_info(dotted).annotation)
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text, in quotes if need be"}
        allowed = next((name for kind, name in names.items() if kind in kinds), "a list of texts, none of them empty")
        allowed = {"data.paths": "a list of paths", "tokenizer.path": "a path, or empty"}.get(dotted, allowed)
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [
        f"{word} {getattr(bound, name)}"
        for bound in field_info(dotted).metadata
        for name, word in words.items()
        if hasattr(bound, name)
    ]
    return f"{allowed}, {' and '.join(bounds)}" if bounds else allowed
