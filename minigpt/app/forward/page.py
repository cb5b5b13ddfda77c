"""Forward: the whole model with a text flowing through it, every step opened to its numbers and its lines."""

import streamlit as st

from minigpt.app.components.forward_map import MapBox, forward_map, message
from minigpt.app.forward import panel as forward_panel
from minigpt.app.forward import view as forward_view
from minigpt.app.forward import words as forward_words
from minigpt.app.forward.view import ForwardView
from minigpt.app.session import state
from minigpt.app.session.compute import Superseded
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef
from minigpt.app.session.steps import kept_steps
from minigpt.app.session.subject import NEWEST, Subject, choose, step_name
from minigpt.app.texts import has, number, t
from minigpt.app.ui import anatomy, controls
from minigpt.app.ui.controls import is_compact, keep_position, remember_compact
from minigpt.errors import MinigptError

MAP = "forward:map"
PROPOSED = 24  # characters of a text that we propose: short enough to be seen whole


def on_open() -> None:
    """Open the box that was pressed or walked to."""
    opened = st.session_state[MAP].opened
    set_state(layer=opened["layer"], box=opened["name"])


def on_place() -> None:
    """Follow the token that was pressed."""
    controls.move("forward:position", st.session_state[MAP].placed["position"])


def on_compact() -> None:
    """Follow the picture onto a phone, or back."""
    remember_compact(st.session_state[MAP].compact)


def set_state(**values) -> None:
    """Change what is shown."""
    for name, value in values.items():
        st.session_state[f"forward:{name}"] = value


def shown(name: str, default):
    """Return what is shown, for example which box is open."""
    return st.session_state.setdefault(f"forward:{name}", default)


def draw_map(view: ForwardView, box: forward_view.Box, position: int) -> None:
    """Draw the picture of the whole model."""
    config = view.config
    positions = f"forward.positions_note_{config.positions}"
    words = {
        name: t(f"forward.map_{name}")
        for name in (
            "back", "next", "see", "step", "block", "blocks", "of", "pick", "open_block", "stream", "earlier", "later",
            "follow",
        )
    }  # fmt: skip
    words |= {
        "alt": t(
            "forward.picture_alt",
            tokens=len(view.reading.tokens),
            d_model=config.d_model,
            layers=config.num_layers,
            vocab_size=view.vocab_size,
        ),
        "attention": t("forward.branch_attention"),
        "feedforward": t("forward.branch_feedforward"),
        "positions": t(positions) if has(positions) else "",
    }
    boxes = [
        MapBox(
            name=item.name,
            layer=item.layer,
            place=item.place,
            column=item.column,
            title=forward_words.title_of(view, item),
            say=forward_words.say_of(view, item),
            shape=forward_words.shape_of(item),
            stats=forward_words.statistics_line(item),
            colour=known.colour if (known := forward_view.KNOWN.get(item.name)) else "",
            values=None if item.name in forward_view.SCORES[:-1] else item.values,
            is_map=item.name == "attn_pattern",
        )
        for item in view.boxes
    ]
    data = message(
        boxes,
        streams=view.streams,
        layer=view.layer,
        opened=box.name,
        number=view.number_of(box),
        total=view.num_steps,
        tokens=view.reading.tokens,
        ids=view.reading.ids,
        position=position,
        candidates=forward_view.candidates(view, position),
        causal=getattr(config, "causal", True),
        tied=config.tie_embeddings,
        words=words,
        compact=is_compact(),
    )
    forward_map(data, key=MAP, on_open=on_open, on_place=on_place, on_compact=on_compact)


def experiments(subject: Subject, view: ForwardView):
    """Return what to try: a walk, the mask, the same text before any learning."""
    name = step_name(subject.run, "forward")
    offered = [
        (t("forward.try_start"), lambda: set_state(layer=0, box="ids")),
        (t("forward.try_mask", layer=view.layer + 1), lambda: set_state(box="attn_scores_masked")),
    ]
    steps = kept_steps(subject.run)[0]
    if subject.step is not None:
        offered.append((t("forward.try_trained"), lambda: controls.move(name, NEWEST)))
    elif steps:
        offered.append((t("forward.try_untrained", step=number(steps[0])), lambda: controls.move(name, steps[0])))
    return offered


@st.fragment
def look(run: RunRef) -> None:
    """Draw everything that follows the prompt; opening a box redraws only this."""
    subject = choose(run, "forward", length=PROPOSED)
    layer = shown("layer", 0)
    try:
        with st.spinner(t("forward.computing")):
            view = subject.ask(
                "forward",
                lambda loaded, cancelled: forward_view.view_of(loaded, subject.prompt, layer),
                subject.prompt,
                layer,
            )
    except Superseded:
        st.stop()
    except MinigptError as error:
        anatomy.explain_error(error)
        st.stop()
    anatomy.notes(prompt_notes(view.reading, subject.prompt))
    set_state(layer=view.layer)
    keep_position("forward:position", len(view.reading.tokens), len(view.reading.tokens) - 1)
    position = st.session_state["forward:position"]
    box = view.find(shown("box", forward_view.FIRST))
    picture, panel = st.columns([13, 8], gap="medium")
    with picture:
        draw_map(view, box, position)
        st.caption(forward_words.facts(view))
        forward_panel.draw_lines(box)
    with panel:
        forward_panel.draw(view, box, position)
    anatomy.what_you_see(forward_words.sentences(view, position))
    anatomy.try_this(experiments(subject, view), key="forward:try")
    forward_panel.draw_size(view)


def code() -> None:
    """Show the library's lines that carry a text through the model."""
    from minigpt.model.block import Block
    from minigpt.model.transformer import Transformer

    anatomy.show_code(Transformer.forward, Block.forward)


def draw() -> None:
    """Draw the page."""
    anatomy.header("forward")
    look(state.current_run())
    code()
