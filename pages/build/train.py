"""Train: start a run, watch it learn, pause it, stop it."""

import streamlit as st

from minigpt.app import anatomy, state, train_form, train_panel
from minigpt.app.texts import t
from minigpt.training.losses import cross_entropy
from minigpt.training.trainer import Trainer

MEMORISED_CHARS, MEMORISED_STEPS = 3_000, 2_000

anatomy.header("train")
ref = state.current_run()
snapshot = state.look(ref)

above, live, below = st.container(), st.container(), st.container()
if snapshot is not None and snapshot.is_active:  # what trains comes first, a further run after it
    above = below = st.expander(t("train.another"), icon=":material/add:")
train_form.draw(above, below)
with live:
    if snapshot is None:
        st.info(t("train.nothing_yet"), icon=":material/play_arrow:")
    else:
        train_panel.live_panel(ref, snapshot)

if snapshot is not None:
    train_panel.live_explanation(ref, snapshot)
anatomy.try_this(
    [
        (
            t("train.try_fast"),
            lambda: train_form.start(t("train.name_fast"), training__learning_rate=0.2, training__schedule="constant"),
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
anatomy.show_code(Trainer.work, cross_entropy)
