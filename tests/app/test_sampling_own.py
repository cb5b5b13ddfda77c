"""Rules of one's own on the Sampling page: from the file that the server was started with, in the profile `local` only."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from minigpt.app.sampling import pipeline_view, side_rules, side_texts, side_view
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.session import models, profile
from minigpt.app.session.compute import Task
from minigpt.app.texts import markdown, t
from minigpt.cli.app import streamlit_command
from minigpt.errors import LimitError, SamplingError
from minigpt.generation.own_rules import load_rules
from minigpt.runs.visitors import VisitorStore
from tests.app.conftest import BROWSER

PAGE = "use/sampling"
EDITOR = "sampling:pipeline_0"
SPEC = "temperature=0.9,no_letter=t"
OWN = t("sampling.stage_own", name="no_letter")
RULE = """
import os
import minigpt
os.environ["TIMES_RUN"] += "x"
class NoLetter(minigpt.TextRule):
    def __init__(self, letter): self.letter = str(letter)
    def situation(self, text): return None
    def allows(self, situation, piece): return self.letter not in piece
    def describe(self): return f"without {self.letter}"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the server was started with; it counts how often it is run."""
    models.reset()
    path = tmp_path / "my rules.py"
    path.write_text(RULE, "utf-8")
    monkeypatch.setenv("MINIGPT_SAMPLER_FILE", str(path))
    monkeypatch.setenv("TIMES_RUN", "")
    return path


def opened(pages, spec: str = SPEC):
    """Open the page with a pipeline in the first column that an earlier session has kept."""
    controls = {"sampling:rule_0": side_rules.PIPELINE, EDITOR: spec, "sampling:columns": 2}
    VisitorStore(profile.limits()).write(BROWSER, "sampling", controls)
    return pages.open(PAGE, run=pages.trained())


def rules_to_add(at):
    return next(box for box in at.selectbox if str(box.key).startswith(f"{EDITOR}:add")).options


def test_a_rule_of_the_file_writes_and_a_changed_or_broken_file_is_seen_at_once(pages, file):
    at = opened(pages)
    assert not at.error
    assert OWN in rules_to_add(at)
    next(field for field in at.text_input if str(field.key).endswith(":values")).set_value("a").run()
    assert at.text_input(key=f"{EDITOR}:text").value == "temperature=0.9,no_letter=a"
    assert os.environ["TIMES_RUN"] == "x"  # once for one content, however often the page is drawn
    file.write_text(RULE.replace("self.letter not in piece", "1 / 0"), "utf-8")
    at.run()
    assert not at.exception
    assert [error.value.count("ZeroDivisionError") for error in at.error] == [1]  # no answer of the old file
    file.write_text("def f(:\n", "utf-8")
    at.run()
    assert not at.exception
    assert "line 1" in at.error[0].value
    assert OWN not in rules_to_add(at)
    at.button(key=f"{EDITOR}:remove_1").click().run()  # the editor can still be used
    assert at.text_input(key=f"{EDITOR}:text").value == "temperature=0.9"
    assert len(at.error) == 1
    assert "bits of surprise" in pages.words(at)


def test_a_rule_without_its_values_says_so_where_it_is_and_the_texts_go_on_without_it(pages, file):
    at = opened(pages, "temperature=0.9")
    next(box for box in at.selectbox if str(box.key).startswith(f"{EDITOR}:add")).set_value("no_letter").run()

    def said():
        return [caption.value for caption in at.caption if t("sampling.own_values_wanted") in caption.value]

    for values, is_right in (("", False), ("a:b", False), ("a", True), ("a:b:c", False), ("", False)):
        next(field for field in at.text_input if str(field.key).endswith(":values")).set_value(values).run()
        assert not at.error
        assert "bits of surprise" in pages.words(at)
        assert len(said()) == (0 if is_right else 1)
        assert all("no\\_letter" in sentence for sentence in said())
        name = pipeline_view.name("temperature=0.9,no_letter=a" if is_right else "temperature=0.9")
        assert f"**{markdown(name)}**" in [element.value for element in at.markdown]


def test_a_kept_pipeline_whose_rule_is_gone_is_explained_beside_the_editor(pages):
    models.reset()
    at = opened(pages)
    assert [error.value.count("no\\_letter") for error in at.error] == [1]
    at.button(key=f"{EDITOR}:remove_1").click().run()
    assert not at.error
    assert "bits of surprise" in pages.words(at)


@pytest.mark.parametrize("name", ["classroom", "hosted"])
def test_every_other_profile_refuses_the_file_and_never_runs_it(pages, file, monkeypatch, name):
    monkeypatch.setenv("MINIGPT_PROFILE", name)
    profile.limits.cache_clear()
    at = opened(pages, "temperature=0.9")
    assert [error.value.count("only for the profile local") for error in at.error] == [1]
    assert OWN not in rules_to_add(at)
    assert os.environ["TIMES_RUN"] == ""
    with pytest.raises(LimitError, match="only for the profile local"):
        streamlit_command(name, sampler_file=file)
    assert streamlit_command("local", sampler_file=file)[1]["MINIGPT_SAMPLER_FILE"] == str(file)


def test_a_column_is_answered_anew_for_a_changed_file_and_exported_with_it(untrained, file):
    run, old = untrained(), RuleFile(str(file), "1", load_rules(file))
    rule = side_rules.Rule(SPEC, old.used_by(SPEC))
    assert rule == side_rules.Rule(SPEC, RuleFile(str(file), "1"))
    assert rule != side_rules.Rule(SPEC, RuleFile(str(file), "2", old.rules))
    assert old.used_by("top_k=3") == NO_FILE
    (column,) = side_texts.write(run, [rule], "a ", 30, 4, Task())
    assert "t" not in side_texts.written_text(column)
    assert rule.name() == "temperature 0.9, no letter t"
    words = shlex.split(side_view.command_line("tales", rule, "a ", 30, 4))
    assert f"--sampler-file={file}" in words
    lines = side_view.python_lines("tales", rule, "a ", 30, 4)
    compile(lines, "lines", "exec")
    assert f"load_rules({str(file)!r})" in lines
    assert "load_rules" not in side_view.python_lines("tales", side_rules.Rule("top_k=3"), "a ", 30, 4)


def test_a_pipeline_with_a_rule_of_the_file_is_read_only_with_the_file(file):
    rules = load_rules(file)
    assert pipeline_view.refusal(SPEC, rules) is None
    assert "no_letter" in (pipeline_view.refusal(SPEC) or "")
    assert "other values" in (pipeline_view.refusal("no_letter", rules) or "")
    with pytest.raises(SamplingError, match="not here"):
        pipeline_view.sampler(SPEC, {})
