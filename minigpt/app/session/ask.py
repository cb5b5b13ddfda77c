"""The one way from a page to the compute gate: one question about one run, answered by a worker thread.

torch is imported inside the work, so that opening a page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from minigpt.app.session import runs, state
from minigpt.app.session.compute import Superseded, Task, gate
from minigpt.app.session.runs import RunRef
from minigpt.app.ui import anatomy
from minigpt.errors import MinigptError

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

T = TypeVar("T")


def ask(
    run: RunRef,
    topic: str,
    work: Callable[[Run, Task], T],
    *request: object,
    step: int | None = None,
    weights: int | None = None,
    slot: str = "",
    watch: Callable[[Any], None] | None = None,
) -> T:
    """Return the answer to one question about a run.

    Equal questions have equal answers: the gate caches them by run, weights, topic and request.

    Args:
        run: The run.
        topic: The kind of question.
        work: Computes the answer from the loaded run. It should look at `task()` between pieces of its work, which says
            whether the answer is no longer wanted.
        *request: Everything else that the answer depends on.
        step: A kept step; None: the best weights, or the latest ones while the run trains.
        weights: The step that `step` stands for; None: the run's latest.
        slot: The place on the page that the answer is for; a newer question for the same place replaces this one.
            By default the topic.
        watch: Draws what is ready while the work goes on, see `ComputeGate.run`.

    Raises:
        Superseded: A newer question was asked for the same place.
        MinigptError: The run cannot be read, or the question cannot be answered.
    """

    def load_and_work(task: Task) -> T:
        from minigpt.app.session.models import loaded_run

        return work(loaded_run(run, step), task)

    key = (topic, run.id, runs.latest_step(run) if weights is None else weights, *request)
    return gate().run(key, load_and_work, session=state.session_id(), slot=slot or topic, watch=watch)


@contextmanager
def errors_explained() -> Iterator[None]:
    """Show an error raised inside on the page, and end the script.

    If a question was superseded, the script ends without a message: a newer script already draws the page.
    """
    try:
        yield
    except Superseded:
        st.stop()
    except MinigptError as error:
        anatomy.explain_error(error)
        st.stop()
