"""Texts of the health check: its findings, the buttons that mend them, and what was mended."""

from __future__ import annotations

from typing import Any

from minigpt.app.session.mend_step import Step
from minigpt.app.texts import escape, has, markdown, number, t
from minigpt.app.ui.messages import label_of, message_words
from minigpt.data.health import Finding


def sentence(finding: Finding) -> str:
    """Return a finding as Markdown; what can be done is said if there is no button for it."""
    found = markdown(message_words(finding.sentence))
    advice = finding.advice if button(finding) is None else ""
    return f"{found} {markdown(message_words(advice))}".strip()


def button(finding: Finding) -> str | None:
    """Return the label of the button that mends a finding, None if none can."""
    if finding.mend:
        return t(f"corpus.mend_{finding.mend}")
    if not finding.changes:
        return None
    dotted, value = next(iter(finding.changes.items()))
    return t(f"corpus.mend_{dotted.replace('.', '_')}", value=_value(dotted, value))


def step_words(step: Step) -> str:
    """Return what a mend has changed, as Markdown, with the numbers before and after."""
    if step.mend:
        counts = [
            t(f"corpus.changed_{name}", before=number(before), after=number(after))
            for name, (before, after) in step.counts.items()
            if before != after and has(f"corpus.changed_{name}")
        ]
        return t("corpus.mended", what=t(f"corpus.mended_{step.mend}"), counts=", ".join(counts))
    changes = (
        t(
            "corpus.changed_setting",
            label=label_of(dotted),
            before=_value(dotted, step.before[dotted]) if dotted in step.before else t("corpus.preset_value"),
            after=_value(dotted, value),
        )
        for dotted, value in step.changes.items()
    )
    return t("corpus.mended", what=t("corpus.mended_settings"), counts=", ".join(changes))


def _value(dotted: str, value: Any) -> str:
    """Return the value of a setting for a sentence."""
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    if isinstance(value, float):
        return f"{value:g}"
    key = f"corpus.value_{dotted.replace('.', '_')}_{value}"
    return t(key) if has(key) else escape(str(value))
