"""Rules of one's own: a file's classes become rules, and whatever is wrong with the file is one sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from minigpt.config import GenerationConfig, TransformerConfig
from minigpt.errors import MinigptError, SamplingError
from minigpt.generation.generator import TextGenerator
from minigpt.generation.own_rules import load_rules
from minigpt.generation.settings import GenerationSettings, parse_sampler
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.character import CharacterTokenizer

TOKENIZER = CharacterTokenizer().train("the cat sat on the mat")
RUN = SimpleNamespace(
    tokenizer=TOKENIZER,
    model=Transformer(
        TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=16), TOKENIZER.vocab_size
    ),
)
HEAD = "from dataclasses import dataclass\nimport minigpt\n"
NO_LETTER = """
@dataclass
class NoLetter(minigpt.TextRule):
    letter: str = "e"
    def situation(self, text): return None
    def allows(self, situation, piece): return self.letter not in piece
    def describe(self): return f"without {self.letter}"
"""
PLAIN = """
class Strange(minigpt.Sampler):
    def process(self, logits, ids=None, state=None): {body}
    def describe(self): return "strange"
"""


def written(folder: Path, source: str) -> Path:
    path = folder / "my_rules.py"
    path.write_text(source, "utf-8")
    return path


def test_a_rule_of_a_file_works_in_a_chain(tmp_path: Path) -> None:
    own = load_rules(written(tmp_path, HEAD + NO_LETTER))
    assert list(own) == ["no_letter"]
    sampler = parse_sampler("temperature=0.9,no_letter=t,top_k=9", own)
    assert sampler.describe() == "temperature 0.9, without t, top-k 9"
    endless = parse_sampler(f"ban={TOKENIZER.eos_id},no_letter=t,no_letter", own)
    text = TextGenerator(RUN).generate("ca", sampler=endless, max_new_tokens=60).completion
    assert len(text) == 60
    assert not set("te") & set(text)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:\n", "is no Python: line 1"),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError"),
        ("x = 1\nraise ValueError('two\\nlines')\n", "line 2: ValueError: two lines"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("x = 1\n", "defines no rule"),
        (HEAD + "class Half(minigpt.TextRule):\n    pass\n", "Half lacks allows"),
        (HEAD + NO_LETTER.replace("NoLetter", "TopK"), "defines top_k"),
        (HEAD + NO_LETTER.replace("NoLetter", "Greedy"), "defines greedy"),
        ("\0", "is no Python"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(SamplingError) as raised:
        load_rules(written(tmp_path, source))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.py", tmp_path, tmp_path / "bytes.py", ""):
        with pytest.raises(MinigptError):
            load_rules(path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "failed in line 5: ZeroDivisionError"),
        ("return logits", "must return logits"),
        ("return logits[:, :2], state", "must return logits"),
        ("return logits * float('nan'), state", "no number"),
        ("return logits - float('inf'), state", "left no token"),
        ("return 3, state", "must return logits"),
    ],
)
def test_a_rule_that_fails_while_it_writes_is_said_in_a_sentence(tmp_path: Path, body: str, said: str) -> None:
    own = load_rules(written(tmp_path, HEAD + PLAIN.format(body=body)))
    with pytest.raises(SamplingError) as raised:
        TextGenerator(RUN).generate("ca", sampler=parse_sampler("strange", own), max_new_tokens=3)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_that_a_rule_does_not_take_are_refused(tmp_path: Path) -> None:
    own = load_rules(written(tmp_path, HEAD + NO_LETTER))
    with pytest.raises(SamplingError, match="takes other values"):
        parse_sampler("no_letter=a:b", own)


def test_settings_store_the_name_and_read_no_file(tmp_path: Path) -> None:
    config = GenerationConfig(sampler="temperature=0.9,no_letter=t")
    with pytest.raises(SamplingError, match="A rule of your own needs its Python file"):
        GenerationSettings.from_config(config)
    own = load_rules(written(tmp_path, HEAD + NO_LETTER))
    settings = GenerationSettings.from_config(config, own=own)
    assert settings.resolve().sampler.describe() == "temperature 0.9, without t"
    assert GenerationSettings.from_config(config, own=own, sampler=None).sampler is None
