"""The pipeline inspector: what it draws is what the rules do, live, and every rule without effect is named."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from minigpt.app.sampling import inspector_view, pipeline_view
from minigpt.app.sampling.inspector_view import EXAMPLES, START, Outlook
from minigpt.app.session import models
from minigpt.app.texts import t
from minigpt.generation.settings import parse_sampler

PAGE = "use/sampling"
SPECS = [
    START, *EXAMPLES.values(), "greedy", "top_k=3,top_k=5", "typical=0.5,temperature=0.5", "mirostat=1:0.1",
    "dry=1:2:1,frequency_penalty=0.4:8,min_p=0.2", "ban=5:6,top_n_sigma=1,repetition_penalty=1.3:4", "bias=7:4,only=7:9",
]  # fmt: skip


@pytest.fixture
def hand(untrained):
    """A run, and what its model would have said: 1/2, 1/4, 1/8 and 1/8 for the four lowest tokens that are no specials."""
    run = untrained()
    logits = np.full(run.tokenizer.vocab_size, -math.inf)
    logits[run.tokenizer.text_ids[:4]] = np.log([0.5, 0.25, 0.125, 0.125])
    return run, Outlook((run.tokenizer.text_ids[3],), logits)


@pytest.mark.parametrize("spec", SPECS)
def test_the_last_row_is_what_the_sampler_leaves_and_each_token_is_cut_once(untrained, spec):
    run = untrained()
    text = inspector_view.places(run, "the cat sat on the mat")
    seen = inspector_view.outlook(run, text.reading, text.hesitates)
    found = inspector_view.inspect(run, seen, spec)
    logits, _ = parse_sampler(spec).process(torch.from_numpy(seen.logits).unsqueeze(0), torch.tensor([seen.ids]))
    wanted = torch.softmax(logits[0], -1)
    texts = run.tokenizer.token_texts()
    assert found.rows[-1].after[:-1] == pytest.approx([float(wanted[texts.index(token)]) for token in found.tokens])
    assert found.rows[-1].num_left == int((wanted > 0).sum())
    for before, row in zip(found.rows, found.rows[1:], strict=False):
        assert row.before == before.after
        assert sum(row.after) == pytest.approx(1)
        assert row.num_before == before.num_left >= row.num_left
    assert len(found.rows) == len(pipeline_view.read(spec)) + 1
    cuts = np.array([row.cut for row in found.rows])
    left = np.array(found.rows[-1].after[:-1]) > 0
    assert (cuts.sum(axis=0) == ~left).all()
    assert inspector_view.sentences(found)


def test_the_order_of_temperature_and_top_p_by_hand(hand):
    """At temperature 2 the chances are 0.37, 0.26, 0.18 and 0.18: two of them make 0.63, three 0.82; before, two 0.75."""
    run, seen = hand
    names = [run.tokenizer.token_text(i) for i in run.tokenizer.text_ids]
    hot = inspector_view.inspect(run, seen, "temperature=2,top_p=0.7")
    assert hot.rows[1].after[:4] == pytest.approx([0.3694, 0.2612, 0.1847, 0.1847], abs=1e-4)
    assert [row.num_left for row in hot.rows] == [4, 4, 3]
    assert (hot.swaps[0].lost, hot.swaps[0].gained) == ((names[2],), ())
    assert "**1** fewer token stays" in inspector_view.swap_sentence(hot.swaps[0])
    cold = inspector_view.inspect(run, seen, inspector_view.swapped_spec("temperature=2,top_p=0.7", 0))
    assert [row.num_left for row in cold.rows] == [4, 2, 2]
    assert cold.rows[-1].cut == (False, False, False, False)
    assert cold.rows[1].cut == (False, False, True, True)
    assert cold.mass_left[0] == pytest.approx(0.75)
    assert (cold.swaps[0].lost, cold.swaps[0].gained) == ((), (names[2],))
    same = inspector_view.inspect(run, seen, "temperature=2,top_k=3").swaps[0]
    assert not same.is_different
    moved = inspector_view.inspect(run, seen, "presence_penalty=0.5:9,temperature=2").swaps[0]
    assert moved.is_different
    assert not moved.lost + moved.gained


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("temperature=1,top_k=2", ["temperature 1 has no effect"]),
        ("top_k=1,top_p=0.5,min_p=0.1", ["top-p 0.5 has no effect: top-k 1", "min-p 0.1 has no effect: top-k 1"]),
        ("top_k=40", [t("sampling.inspector_idle", name="top-k 40")]),
        ("top_k=2,top_k=3", [t("sampling.inspector_idle", name="top-k 3")]),
        ("greedy", []),
        ("presence_penalty=0:9,top_p=1", ["presence penalty 0 has no effect", "top-p 1 has no effect"]),
    ],
)
def test_a_rule_without_effect_is_named_once(hand, spec, said):
    found = inspector_view.inspect(*hand, spec)
    notes = [*found.notes, *inspector_view.idle_sentences(found)]
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_a_rule_that_reads_the_text_is_inspected_like_any_other(untrained):
    run = untrained()
    text = inspector_view.places(run, "the cat sat on the mat")
    found = inspector_view.inspect(run, inspector_view.outlook(run, text.reading, 0), "alliteration=s,top_k=5")
    assert len(found.rows) == 3


# --- on the page


@pytest.fixture
def inspector(pages):
    """The page with the inspector on a tiny run."""
    models.reset()
    at = pages.open(PAGE, run=pages.trained())
    at.segmented_control(key="sampling:view").set_value("inspector").run()
    assert not at.exception
    return at


def drawn(at):
    """Return the figure on the page."""
    (chart,) = at.get("plotly_chart")
    return json.loads(chart.proto.spec)


def slider(at, label):
    return next(one for one in at.slider if one.label == label)


def test_a_moved_slider_changes_the_bars_without_another_pass_of_the_model(pages, inspector, monkeypatch):
    at, passes = inspector, []
    plain = inspector_view.next_logits
    monkeypatch.setattr(inspector_view, "next_logits", lambda *given: passes.append(1) or plain(*given))
    before = drawn(at)
    for value in (0.4, 1.9):
        slider(at, t("sampling.setting_temperature_0")).set_value(value).run()
        assert not at.exception
        assert f"temperature {value}" in pages.words(at)
    slider(at, t("sampling.setting_top_p_0")).set_value(0.2).run()
    assert drawn(at)["data"] != before["data"]
    assert passes == []
    place = next(one for one in at.select_slider if one.label == t("sampling.inspector_place"))
    place.set_value(3).run()
    assert passes == [1]


def test_swap_changes_the_order_and_a_pipeline_that_bans_everything_is_explained_beside_the_editor(pages, inspector):
    at = inspector
    at.button(key="sampling:swap_1").click().run()
    assert at.session_state["sampling:inspected"] == "presence_penalty=0.5:64,top_p=0.7,temperature=1.5"
    at.button(key="sampling:try_inspector_0").click().run()
    assert "has no effect" in "".join(info.value for info in at.info)
    text = at.text_input(key="sampling:inspected:text")
    text.set_value("only=5,ban=5").run()
    assert not at.exception
    assert len(at.error) == 1
    at.text_input(key="sampling:inspected:text").set_value("top_k=2").run()
    assert not at.error
    assert len(at.get("plotly_chart")) == 1


def test_any_prompt_is_inspected(inspector):
    for prompt, note in (("", "no text yet"), ("t", ""), ("the 😀 cät", "vocabulary"), ("a" * 90, "16")):
        field = next(one for one in inspector.text_input if str(one.key).startswith("sampling:prompt"))
        field.set_value(prompt).run()
        assert not inspector.exception
        assert not inspector.error
        assert note in "".join(info.value for info in inspector.info)
