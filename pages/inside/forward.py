"""Forward: the whole model with a text flowing through it, every step opened to its numbers and its lines."""

import streamlit as st

from minigpt.app import anatomy, forms, forward_panel, forward_view, forward_words, state
from minigpt.app.attention_view import notes
from minigpt.app.circuits_subject import NEWEST, Subject, kept_steps
from minigpt.app.components.forward_map import MapBox, forward_map
from minigpt.app.compute import Superseded
from minigpt.app.forward_view import ForwardView
from minigpt.app.home_flow import written_samples
from minigpt.app.texts import has, number, t
from minigpt.errors import MinigptError

MAP = "forward:map"


def default_prompt(run: state.RunRef) -> str:
    """Return a text in the manner of what the run has learned, short enough to be seen whole."""
    if run.bundled and has(f"forward.prompt_{run.id}"):
        return t(f"forward.prompt_{run.id}")
    samples, snapshot = written_samples(run.path), state.look(run)
    length = min(24, snapshot.config.model.sequence_length) if snapshot else 24
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("forward.prompt_default")


def on_open() -> None:
    """Open the box that was pressed or walked to."""
    opened = st.session_state[MAP].opened
    set_state(layer=opened["layer"], box=opened["name"])


def on_place() -> None:
    """Follow the token that was pressed."""
    forms.move("forward:position", st.session_state[MAP].placed["position"])


def on_compact() -> None:
    """Remember that the page is shown on a phone."""
    st.session_state["forward:compact"] = bool(st.session_state[MAP].compact)


def set_state(**values) -> None:
    """Change what is shown."""
    for name, value in values.items():
        st.session_state[f"forward:{name}"] = value


def shown(name: str, default):
    """Return what is shown, for example which box is open."""
    return st.session_state.setdefault(f"forward:{name}", default)


def choose(run: state.RunRef) -> Subject:
    """Draw the row above the picture, text and weights, and return what they choose."""
    prompt_key, name = f"forward:prompt_{run.id}", f"forward:step_{run.id}"
    if prompt_key not in st.session_state:
        st.session_state[prompt_key] = default_prompt(run)
    steps, newest = kept_steps(run)
    left, right = st.columns([13, 8], gap="medium", vertical_alignment="bottom")
    prompt = left.text_input(
        t("forward.prompt"),
        key=prompt_key,
        max_chars=state.limits().max_prompt_chars,
        live="400ms",
        persist_state="session",
    )
    if not steps:
        return Subject(run, None, newest, prompt)
    options: list[int | str] = [*steps, NEWEST]
    if st.session_state.get(f"{name}:options") != options:  # a slider remembers places, and these now mean others
        st.session_state[f"{name}:options"] = options
        kept = st.session_state.get(name, NEWEST)
        forms.move(name, kept if kept in options else NEWEST)
    with right:
        step = forms.moved_slider(
            name,
            t("forward.weights"),
            options,
            format_func=lambda step: t("forward.weights_now", step=number(newest)) if step == NEWEST else number(step),
            help=t("forward.weights_help"),
        )
    return Subject(run, None, newest, prompt) if step == NEWEST else Subject(run, step, step, prompt)


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
    forward_map(
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
        compact=shown("compact", False),
        key=MAP,
        on_open=on_open,
        on_place=on_place,
        on_compact=on_compact,
    )


def experiments(subject: Subject, view: ForwardView):
    """Return what to try: a walk, the mask, the same text before any learning."""
    name = f"forward:step_{subject.run.id}"
    offered = [
        (t("forward.try_start"), lambda: set_state(layer=0, box="ids")),
        (t("forward.try_mask", layer=view.layer + 1), lambda: set_state(box="attn_scores_masked")),
    ]
    steps = kept_steps(subject.run)[0]
    if subject.step is not None:
        offered.append((t("forward.try_trained"), lambda: forms.move(name, NEWEST)))
    elif steps:
        offered.append((t("forward.try_untrained", step=number(steps[0])), lambda: forms.move(name, steps[0])))
    return offered


@st.fragment
def look(run: state.RunRef) -> None:
    """Draw everything that follows the prompt; opening a box redraws only this."""
    subject = choose(run)
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
    for note in notes(view, subject.prompt):
        st.info(note, icon=":material/info:")

    set_state(layer=view.layer)
    length = len(view.reading.tokens)
    if st.session_state.get("forward:length") != length:
        set_state(length=length)
        forms.move("forward:position", length - 1)
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


anatomy.header("forward")
look(state.current_run())
code()
