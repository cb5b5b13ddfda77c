"""Train: start a run, watch it learn, pause or stop it."""

import streamlit as st

from minigpt.app.components.scroll_up import scroll_up
from minigpt.app.session import runs, state
from minigpt.app.texts import escape, t
from minigpt.app.train import form as train_form
from minigpt.app.train import panel as train_panel
from minigpt.app.ui import anatomy

MEMORISED_CHARS, MEMORISED_STEPS = 3_000, 2_000


def draw() -> None:
    """Draw the page below its title."""
    ref = state.current_run()
    snapshot = runs.snapshot_of(ref)

    is_active = snapshot is not None and snapshot.is_active
    with st.expander(t("train.another"), icon=":material/add:") if is_active else st.container():
        train_form.draw()
    if snapshot is None:
        st.info(t("train.nothing_yet"), icon=":material/play_arrow:")
    elif snapshot.is_from_elsewhere:
        st.info(t("train.from_elsewhere", name=escape(snapshot.name)), icon=":material/input:")
    else:
        train_panel.live_panel(ref, snapshot)
        train_panel.live_explanation(ref, snapshot)
    anatomy.try_this(
        [
            (
                t("train.try_fast"),
                lambda: train_form.start(
                    t("train.name_fast"), training__learning_rate=0.2, training__schedule="constant"
                ),
            ),
            (
                t("train.try_one_head"),
                lambda: train_form.start(t("train.name_one_head"), model__num_layers=1, model__num_heads=1),
            ),
            (
                t("train.try_memorise"),
                lambda: train_form.start_on_part(
                    t("train.name_memorise"), MEMORISED_CHARS, training__max_steps=MEMORISED_STEPS
                ),
            ),
        ],
        key="train:try",
    )
    code()
    if new_run_id := state.place().new_run_id:
        scroll_up(new_run_id)
    state.place().is_shown = True


def code() -> None:
    """Show the library code that trains."""
    from minigpt.training.losses import cross_entropy
    from minigpt.training.schedules import schedule_at
    from minigpt.training.trainer import Trainer

    anatomy.show_code(Trainer.work, schedule_at, cross_entropy)
