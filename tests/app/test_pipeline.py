"""The editor of a pipeline: its text and its stages say the same, and what is no pipeline is refused in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.app.sampling import pipeline_view
from minigpt.app.sampling.pipeline_view import LARGEST, NAMED, SETTINGS, fault, read, refusal, usable, written
from minigpt.generation.settings import parse_sampler
from minigpt.tokenizers.character import CharacterTokenizer

NUMBERS = {
    kind: st.tuples(*(st.floats(span.low, span.high).map(lambda value: f"{value:.3g}") for span in spans))
    for kind, spans in SETTINGS.items()
}
WORDS = {"alliteration": ["s"], "rhyme": ["day"]}
WHOLE = {
    *(("syllables", place) for place in range(3)),
    ("top_k", 0),
    ("repetition_penalty", 1),
    ("frequency_penalty", 1),
    ("presence_penalty", 1),
    ("dry", 2),
}


@st.composite
def stages(draw):
    """Any stage whose numbers lie within its sliders."""
    kind = draw(st.sampled_from(list(SETTINGS)))
    ids = draw(st.lists(st.integers(0, 40).map(str), min_size=1, max_size=1 if kind == "bias" else 5)) * (kind in NAMED)
    numbers = [
        str(round(float(text))) if (kind, place) in WHOLE else text for place, text in enumerate(draw(NUMBERS[kind]))
    ]
    values = [*ids, *WORDS.get(kind, []), *numbers]
    return f"{kind}={':'.join(values)}" if values else kind


@given(st.lists(stages(), min_size=1, max_size=8))
def test_every_pipeline_of_the_sliders_is_one_that_the_library_reads_in_the_same_order(parts):
    spec = ",".join(parts)
    assert written(read(spec)) == usable(spec) == spec
    if len(spec) <= pipeline_view.MOST_CHARS:
        assert fault(spec) is None
    for stage in read(spec):
        for place, span in stage.settings():
            assert float(stage.values[place]) in span
            assert stage.moved(place, float(stage.values[place])) is stage
    assert parse_sampler(spec).describe()


@given(st.sampled_from(list(SETTINGS)))
def test_a_new_stage_is_usable_once_it_names_its_tokens(kind):
    stage = pipeline_view.new_stage(kind)
    assert stage.is_complete == (kind not in NAMED)
    full = stage.with_ids([3]) if kind in NAMED else stage
    assert refusal(written([full])) is None
    assert usable(written([stage, full])) == written([full] if kind in NAMED else [full, full])


@pytest.mark.parametrize(
    "spec",
    ["x", "top_k", "top_k=", "top_k=nan", "top_k=inf", "top_k=1e9", f"ban={LARGEST + 1}", "ban=-1", "ban=1.5", "ban=٣",
     "temperature=abc", "greedy,top_k=3", "greedy=1", "**b**", "\u202e", "top_k=3;top_p=1", ",".join(["top_k=3"] * 9),
     "top_k=-5", "top_p=0", "top_p=2", "temperature=-1", "top_k=2.5", "mirostat=0", "mirostat=2:3", "dry=1:0.5",
     "top_k=3:4", "repetition_penalty=1:2:3", "typical=1.01", "bias=7", "repetition_penalty=1.2:0",
     "alliteration=st", "alliteration=5", "rhyme", "rhyme=a b", "rhyme=a:b", "syllables=0", "no_repeated_letter=1"],
)  # fmt: skip
def test_what_is_no_pipeline_is_refused_in_one_sentence(spec):
    sentence = refusal(spec)
    assert sentence is not None
    assert "\n" not in sentence
    assert len(sentence) < 300


@given(st.text(max_size=40))
def test_any_text_is_read_and_judged(text):
    assert isinstance(written(read(text)), str)
    if fault(text) is None:
        assert len(read(text)) <= pipeline_view.MOST_STAGES
        for stage in read(text):
            stage.settings()
            assert stage.name()


def test_tokens_are_named_by_the_characters_of_a_text():
    tokenizer = CharacterTokenizer().train("the cat")
    ids, unknown = pipeline_view.ids_of(tokenizer, "tteé")
    assert (ids, unknown) == (tokenizer.encode("te"), "é")
    assert pipeline_view.text_of(tokenizer, [*ids, 10**6]) == "te"
    assert pipeline_view.ids_of(tokenizer, "é") == ([], "é")
