"""A prompt and a scored text are read as the training text was, on every way into the library, the pages and the CLI."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minigpt.app.circuits.patching_view import one_changed
from minigpt.app.perplexity.view import score
from minigpt.app.sampling.side_rules import Rule
from minigpt.app.sampling.side_texts import choices_at, write
from minigpt.app.session.compute import Task
from minigpt.app.session.reading import read_few, read_prompt
from minigpt.config import RunConfig
from minigpt.data.readers import clean_text
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.generation.inference import cleaned_for
from minigpt.generation.settings import GenerationSettings
from minigpt.interpret.flow import record_flow
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "le café noir\nune île ÅÅ\tà Łódź, 한글 naïve. " * 4
CONFIG = RunConfig().updated(
    {"model.num_layers": 1, "model.num_heads": 2, "model.d_model": 16, "model.sequence_length": 32}
)

SPELLINGS = {
    "decomposed": unicodedata.normalize("NFD", "café île 한글"),
    "Windows line ends": "noir\r\nune\r\n",
    "old Mac line ends": "noir\rune",
    "line separators": "noir\u2028une\x85à\x0bna\x0cve",
    "control characters": "ca\x07fé\x00 noir\x1b",
    "a sign of its own": "\u212b",  # the ångström sign, which is Å
    "lone surrogates": "caf\ud800é",
    "all at once": "cafe\u0301\r\n\x07\u212b\u2029",
}


def run_of(clean: bool = True, text: str = TEXT) -> Any:
    tokenizer = CharacterTokenizer().train(text)
    model = Transformer(CONFIG.model, tokenizer.vocab_size, seed=1).eval()
    return SimpleNamespace(
        model=model, tokenizer=tokenizer, config=CONFIG.updated({"data.clean": clean, "generation.temperature": 1.0})
    )


RUN = run_of()


def go_on() -> bool:
    return False


WAYS = {
    "generate": lambda text: TextGenerator(RUN).generate(text, max_new_tokens=5, seed=3, temperature=1.0).text,
    "stream": lambda text: [token.token_id for token in TextGenerator(RUN).stream(text, max_new_tokens=5)],
    "stop": lambda text: TextGenerator(RUN).generate("le ", max_new_tokens=9, seed=1, top_k=3, stop=text).text,
    "evaluate": lambda text: ModelEvaluator(RUN).evaluate(text, return_predictions=True),
    "the page Perplexity": lambda text: score(RUN, Path("nowhere"), text, None, go_on, with_tokens=True).evaluation,
    "the page Sampling": lambda text: [
        write(RUN, [Rule("greedy")], text, 4, 0, Task())[0].prompt,
        choices_at(RUN, [Rule("greedy")], text, 2, 0, go_on),
    ],
    "the pages under Look inside": lambda text: [read_few(RUN, text), read_prompt(RUN, text, 8)],
    "the page Circuits": lambda text: one_changed(RUN, text),
    "the picture on Home": lambda text: record_flow(RUN, text, num_tokens=2),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("way", WAYS)
def test_a_text_is_read_as_the_training_text_was(way: str, spelling: str) -> None:
    given = SPELLINGS[spelling]
    assert clean_text(given) != given
    assert repr(WAYS[way](given)) == repr(WAYS[way](clean_text(given)))


def test_the_cleaned_text_is_known_to_the_model() -> None:
    result = TextGenerator(RUN).generate(SPELLINGS["decomposed"], max_new_tokens=1)
    assert result.notes == ()
    assert result.prompt == "café île 한글"


def test_a_run_trained_on_raw_text_reads_raw_text() -> None:
    raw = run_of(clean=False, text=TEXT.replace("\n", "\r\n") + unicodedata.normalize("NFD", TEXT))
    for text in (SPELLINGS["decomposed"], SPELLINGS["Windows line ends"]):
        assert TextGenerator(raw).generate(text, max_new_tokens=1).prompt == text == cleaned_for(raw, text)
        assert ModelEvaluator(raw).evaluate(text).num_chars == len(text)


def test_a_stop_text_of_control_characters_alone_never_stops() -> None:
    assert TextGenerator(RUN).generate("le", max_new_tokens=4, temperature=0, stop="\x07").stop_reason == "length"


def test_settings_keep_the_stop_texts_as_they_were_given() -> None:
    assert GenerationSettings(stop=SPELLINGS["decomposed"]).stop_texts == (SPELLINGS["decomposed"],)
