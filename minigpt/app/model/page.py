"""Model: where the parameters of the next run's network sit, what a step costs, and why each part is in it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt import config as settings
from minigpt import resources
from minigpt.app.components.live_chart import live_chart
from minigpt.app.model import view, why
from minigpt.app.session import corpora, draft, state
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.compute import gate
from minigpt.app.texts import number, plain, size, t
from minigpt.app.ui import anatomy, sizes, theme
from minigpt.app.ui.controls import is_compact
from minigpt.app.ui.forms import explain, refused, written
from minigpt.app.ui.navigation import page_path
from minigpt.config import RunConfig
from minigpt.errors import ConfigError

PRESET, VALID = "model:preset", "model:valid"
PICTURE_HEIGHT = 640


def draw() -> None:
    """Draw the page below its title."""
    fields, picture = st.columns([10, 9], gap="large")
    with fields:
        config, error = _draw_fields()
    if error is None:
        st.session_state[VALID] = config
    shown: RunConfig = st.session_state.get(VALID, config)
    vocab_size = corpora.vocab_size(shown.tokenizer)
    with picture:
        _draw_picture(shown, vocab_size, is_current=error is None)
    with fields:
        with st.container(key="model_cost"):
            _draw_cost(shown, vocab_size)
        _draw_sizes(shown, vocab_size)
        st.page_link(page_path("train"), label=t("model.go_train"), icon=":material/model_training:")
    anatomy.what_you_see(
        [
            sizes.size_sentence(shown.model, vocab_size),
            view.size_sentence(shown, vocab_size),
            view.stream_sentence(shown.model),
        ]
    )
    _draw_presets(vocab_size)
    why.draw()
    _draw_table(shown, vocab_size)
    _draw_code(shown)


def _draw_fields() -> tuple[RunConfig, ConfigError | None]:
    """Draw the preset and all fields; return the settings, and what is wrong with them.

    With an error the settings returned are those of the preset.
    """
    names = resources.preset_names()
    with st.container(horizontal=True, vertical_alignment="bottom", key="model_row"):
        with st.container(width=190):
            preset = st.selectbox(
                t("model.preset"),
                names,
                index=names.index(draft.current_preset()) if draft.current_preset() in names else 0,
                filter_mode=None,
                help=t("model.about_preset"),
                key=PRESET,
            )
        place_of_reset = st.container(width="content")
    base = settings.load_config(preset)
    kept = draft.current_changes() if preset == draft.current_preset() else {}
    changes: dict[str, Any] = {name: value for name, value in kept.items() if not name.startswith("model.")}
    tabs = st.tabs([t(f"model.group_{group}") for group in view.GROUPS], key="model_groups")
    for tab, fields in zip(tabs, view.GROUPS.values(), strict=True):
        for start in range(0, len(fields), 2):  # row by row: a phone shows one column
            row = tab.columns(2, vertical_alignment="bottom")
            values = {}
            for place, name in zip(row, fields[start : start + 2], strict=False):
                dotted = f"model.{name}"
                with place:
                    values[dotted] = draft.setting(
                        dotted, key=_key(preset, name), standard=getattr(base.model, name), kept=kept, changes=changes
                    )
            for sentence in refused(values).values():
                explain(tab.container(), sentence)
    draft.keep(preset, changes)
    if any(name.startswith("model.") for name in changes):
        place_of_reset.button(
            t("model.reset"), key="model:reset", type="tertiary", icon=":material/restart_alt:", on_click=_reset,
            args=(preset, base),
        )  # fmt: skip
    wrong = refused(changes)
    try:
        if wrong:
            raise ConfigError(next(iter(wrong.values())), mend=t("model.picture_stays"))
        return base.updated(changes, source=t("model.settings")), None
    except ConfigError as error:
        anatomy.explain_error(error)
        return base, error


def _key(preset: str, name: str) -> str:
    """Return the key of a field's widget; each preset has widgets of its own."""
    return f"model:{preset}:{name}"


def _reset(preset: str, base: RunConfig) -> None:
    """Give every field of the architecture the preset's value again."""
    draft.keep(preset, {name: v for name, v in draft.current_changes().items() if not name.startswith("model.")})
    for name in type(base.model).model_fields:
        if _key(preset, name) in st.session_state:
            st.session_state[_key(preset, name)] = written(getattr(base.model, name))


def _take(preset: str) -> None:
    """Start from another preset."""
    draft.keep(preset, {})
    st.session_state[PRESET] = preset
    for key in [key for key in st.session_state if str(key).startswith(f"model:{preset}:")]:
        del st.session_state[key]


def _draw_picture(config: RunConfig, vocab_size: int, *, is_current: bool) -> None:
    from minigpt.viz.architecture import ArchitectureWords, architecture_figure

    figure = architecture_figure(
        view.architecture_parts(config.model, vocab_size),
        palette=theme.palette(),
        words=ArchitectureWords(
            start=t("model.picture_start"),
            end=t("model.picture_end", count=number(vocab_size)),
            repeated=t("model.picture_repeated", count=config.model.num_layers),
        ),
        height=PICTURE_HEIGHT,
    )
    alt = view.architecture_alt(config.model, vocab_size)
    live_chart(figure, key="model:picture", alt=alt, config={"displayModeBar": False})
    if not is_current:
        st.caption(t("model.picture_old"))


@st.fragment
def _draw_cost(config: RunConfig, vocab_size: int) -> None:
    """Write the seconds of an update; the constants of the machine are measured once, each shape once."""
    from minigpt.runs.step_cost import measure_constants

    place = st.empty()
    place.caption(t("model.measuring"))
    with errors_explained():
        session = state.session_id()
        constants = gate().run(("step-constants",), measure_constants, session=session, slot="model-constants")
        shape = (config.model, config.training.batch_size, config.training.accumulation_steps,
                 config.training.optimizer, config.training.precision, vocab_size)  # fmt: skip
        cost = gate().run(
            ("step-cost", *shape),
            lambda cancelled: view.step_cost(config, vocab_size, constants, cancelled),
            session=session,
            slot="model-step",
        )
    place.markdown(view.step_sentence(cost, config))


def _draw_sizes(config: RunConfig, vocab_size: int) -> None:
    from minigpt.viz.forward import SizeWords, size_tree

    unit = t("forward.size_parameters").lower()
    pieces = sizes.size_pieces(config.model, vocab_size, "parameters")
    figure = size_tree(pieces, palette=theme.palette(), words=SizeWords(unit), compact=is_compact())
    finding = plain(sizes.size_sentence(config.model, vocab_size))
    live_chart(figure, key="model:tree", alt=t("forward.size_alt", what=unit, finding=finding))
    st.caption(sizes.size_list(config.model, vocab_size, "parameters"))


def _draw_presets(vocab_size: int) -> None:
    """Draw the models of all presets side by side, with a button that takes the chosen one."""
    st.header(t("model.presets_title"), anchor=False)
    rows = view.preset_rows(vocab_size)
    columns = ("preset", "parameters", "layers", "heads", "width", "context", "batch", "memory")
    shown = [{**row, "parameters": number(row["parameters"]), "memory": size(1e6 * row["memory"])} for row in rows]
    table = [{t(f"model.presets_{name}"): row[name] for name in columns} for row in shown]
    st.dataframe(table, hide_index=True, key="model:presets_table")
    with st.container(horizontal=True, vertical_alignment="bottom", key="model_presets"):
        with st.container(width=220):
            chosen = st.selectbox(
                t("model.presets_choose"), [str(row["preset"]) for row in rows], filter_mode=None, key="model:take"
            )
        st.button(
            t("model.presets_take"), key="model:take_it", icon=":material/check:", on_click=_take, args=(chosen,),
            disabled=chosen == draft.current_preset() and not draft.current_changes(),
        )  # fmt: skip


def _draw_table(config: RunConfig, vocab_size: int) -> None:
    """Draw every field with its meaning, what it allows, and its effect."""
    shown = st.expander(t("model.fields_title"), icon=":material/table_rows:", on_change="rerun", key="model:fields")
    with shown:
        if shown.open:
            st.table(view.field_rows(config.model, vocab_size))


def _draw_code(config: RunConfig) -> None:
    """Draw the configuration as a script and as a command."""
    shown = st.expander(t("frame.show_code"), icon=":material/code:", on_change="rerun", key="model:code")
    with shown:
        if shown.open:
            preset, corpus = draft.current_preset(), corpora.current_corpus().name
            st.caption(t("model.code_script"))
            st.code(view.script(preset, config, corpus), language="python")
            st.caption(t("model.code_command"))
            st.code(view.command(preset, config, corpus), language="bash")
