"""Attention: who looks at whom, head by head and stage by stage; nobody looks ahead."""

import math

import pandas as pd
import streamlit as st

from minigpt.app import anatomy, attention_view, forms, state
from minigpt.app.attention_view import AttentionView
from minigpt.app.components.attention_grid import attention_grid
from minigpt.app.compute import Superseded, gate
from minigpt.app.home_flow import written_samples
from minigpt.app.texts import has, t
from minigpt.errors import MinigptError
from minigpt.viz.palette import colours, head_name, visible_token

GRID = "attention:grid"
STAGES = (0, 1, 2, 3)


def default_prompt(run: state.RunRef) -> str:
    """Return a text in the manner of what the run has learned."""
    if run.bundled and has(f"attention.prompt_{run.id}"):
        return t(f"attention.prompt_{run.id}")
    samples, snapshot = written_samples(run.path), state.look(run)
    length = min(36, snapshot.config.model.sequence_length) if snapshot else 36  # what we propose must fit the model
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("attention.prompt_default")


def compute(run: state.RunRef, prompt: str, head: tuple[int, int] | None) -> AttentionView:
    """Read the prompt with the run's model, through the gate."""

    def work(cancelled):
        from minigpt.app.models import loaded_run

        return attention_view.view_of(loaded_run(run), prompt, head)

    snapshot = state.look(run)
    step = snapshot.step if snapshot else None
    key = ("attention", run.id, step, prompt, head)
    return gate().run(key, work, session=state.session_id(), slot="attention")


def on_open() -> None:
    """Open the head that was pressed, and the row of the cell if a cell was."""
    opened = st.session_state[GRID].opened
    st.session_state["attention:head"] = (opened["layer"], opened["head"])
    if opened["query"] is not None:
        forms.move("attention:query", opened["query"])


def on_compact() -> None:
    """Remember that the page is shown on a phone."""
    st.session_state["attention:compact"] = bool(st.session_state[GRID].compact)


def draw_grid(view: AttentionView) -> None:
    """Draw all heads; pressing one opens it."""
    attention_grid(
        view.weights,
        view.reading.tokens,
        captions=attention_view.captions(view.habits),
        descriptions=attention_view.descriptions(view.habits),
        selected=(view.layer, view.head),
        words={
            "layer": t("attention.layer"),
            "head": t("attention.head"),
            "blocked": t("attention.blocked"),
            "hint": t("attention.grid_hint"),
        },
        compact=st.session_state.get("attention:compact", False),
        key=GRID,
        on_open=on_open,
        on_compact=on_compact,
    )


def draw_head(view: AttentionView, query: int, sentences: list[str]) -> None:
    """Draw one head's map at the chosen stage."""
    from minigpt.viz.attention import attention_map
    from minigpt.viz.token_axes import PLOT_CONFIG

    stage = st.segmented_control(
        t("attention.stage"),
        STAGES,
        format_func=lambda stage: t(f"attention.stage_{stage}"),
        default=STAGES[-1],
        required=True,
        key="attention:stage",
        label_visibility="collapsed",
        persist_state="session",
    )
    st.caption(
        t(f"attention.stage_{stage}_meaning", d_head=view.d_head, root=f"{math.sqrt(view.d_head):.3g}"),
    )
    figure = attention_map(
        view.stages.at(stage),
        view.reading.tokens,
        stage=stage,
        palette=colours(state.theme()),
        query=query,
        words=figure_words(),
        compact=st.session_state.get("attention:compact", False),
    )
    alt = t(
        "attention.map_alt",
        head=head_name(view.layer, view.head),
        stage=t(f"attention.stage_{stage}"),
        count=len(view.reading.tokens),
        finding=sentences[0].replace("*", ""),
    )
    st.plotly_chart(figure, theme=None, key="attention:map", config=PLOT_CONFIG, alt=alt)


def draw_row(view: AttentionView) -> None:
    """Draw the numbers of one query: bars at the chosen stage, and all stages as a table."""
    from minigpt.viz.attention import attention_row
    from minigpt.viz.token_axes import PLOT_CONFIG

    tokens = view.reading.tokens
    query, stage = st.session_state["attention:query"], st.session_state["attention:stage"]
    if len(tokens) > 1:
        query = forms.moved_slider(
            "attention:query",
            t("attention.query"),
            range(len(tokens)),
            format_func=lambda index: f"{index + 1} · {visible_token(tokens[index])}",
        )
    figure = attention_row(
        view.stages.at(stage)[query],
        tokens,
        stage=stage,
        query=query,
        palette=colours(state.theme()),
        words=figure_words(),
        compact=st.session_state.get("attention:compact", False),
    )
    alt = t(
        "attention.row_alt",
        position=query + 1,
        head=head_name(view.layer, view.head),
        stage=t(f"attention.stage_{stage}"),
    )
    st.plotly_chart(figure, theme=None, key="attention:row", config={**PLOT_CONFIG, "displayModeBar": False}, alt=alt)
    with st.expander(t("attention.row_numbers"), icon=":material/table_rows:"):
        rows = {
            t("attention.column_position"): range(1, len(tokens) + 1),
            t("attention.column_token"): [visible_token(token) for token in tokens],
            **{t(f"attention.column_{stage}"): view.stages.at(stage)[query] for stage in STAGES},
        }
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=300)


def figure_words():
    """Return the words on the figures from the catalogue."""
    from minigpt.viz.token_axes import Words

    return Words(**{name: t(f"attention.{name}") for name in ("query_axis", "key_axis", "weight", "score", "blocked")})


def set_state(**values) -> None:
    """Change what is shown; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"attention:{name}"] = value


@st.fragment
def look(run: state.RunRef) -> None:
    """Draw everything that follows the prompt; moving a control redraws only this."""
    prompt_key = f"attention:prompt_{run.id}"
    if prompt_key not in st.session_state:
        st.session_state[prompt_key] = default_prompt(run)
    prompt = st.text_input(
        t("attention.prompt"),
        key=prompt_key,
        max_chars=state.limits().max_prompt_chars,
        live="400ms",
        persist_state="session",
    )
    try:
        with st.spinner(t("attention.computing")):
            view = compute(run, prompt, st.session_state.get("attention:head"))
    except Superseded:
        st.stop()
    except MinigptError as error:
        anatomy.explain_error(error)
        st.stop()
    for note in attention_view.notes(view, prompt):
        st.info(note, icon=":material/info:")

    length = len(view.reading.tokens)
    if st.session_state.get("attention:length") != length:
        set_state(length=length)
        forms.move("attention:query", length - 1)
    query = st.session_state["attention:query"]
    sentences = attention_view.sentences(view, query)
    left, right = st.columns([9, 11], gap="medium")
    with left:
        st.subheader(t("attention.grid_title"), anchor=False)
        draw_grid(view)
    with right:
        st.subheader(t("attention.head_title", head=head_name(view.layer, view.head)), anchor=False)
        draw_head(view, query, sentences)
    draw_row(view)
    anatomy.what_you_see(sentences)
    stage = st.session_state["attention:stage"]
    unmasked = stage < 2
    anatomy.try_this(
        [
            (
                t("attention.try_mask" if unmasked else "attention.try_unmask"),
                lambda: set_state(stage=2 if unmasked else 1),
            ),
            (t("attention.try_previous"), lambda: set_state(head=view.habits.find("previous"))),
            (
                t("attention.try_repeat"),
                lambda: st.session_state.update({prompt_key: attention_view.repeated(prompt)}),
            ),
        ],
        key="attention:try",
    )


def code() -> None:
    """Show the library's lines behind the picture."""
    from minigpt.model.attention import causal_mask, explicit_attention

    anatomy.show_code(explicit_attention, causal_mask)


anatomy.header("attention")
look(state.current_run())
code()
