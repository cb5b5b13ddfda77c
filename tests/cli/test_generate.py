from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from minigpt.generation.generator import TextGenerator
from minigpt.generation.truncation import TopKSampler
from minigpt.model.weights import load_weights, save_weights
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.training.checkpoint import write_manifest


@pytest.fixture(scope="module")
def run(trained) -> Path:
    return trained[0]


def test_json_says_what_scripts_rely_on_and_what_the_library_says(call, run: Path) -> None:
    printed = json.loads(
        call(
            "generate", run, "--prompt", "the ", "--max-new-tokens", "9", "--temperature", "1", "--seed", "3", "--json"
        ).stdout
    )
    expected = TextGenerator(load_run(run)).generate("the ", max_new_tokens=9, temperature=1.0, seed=3)
    assert printed["prompt"] == "the "
    assert printed["completion"] == expected.completion
    assert printed["text"] == "the " + expected.completion
    assert printed["num_new_tokens"] == expected.num_new_tokens
    assert printed["seconds"] > 0
    assert printed["tokens_per_second"] == pytest.approx(printed["num_new_tokens"] / printed["seconds"])


def test_the_text_alone_is_on_standard_output(call, run: Path) -> None:
    result = call("generate", run, "--prompt", "the ", "--max-new-tokens", "9")
    assert result.stdout == TextGenerator(load_run(run)).generate("the ", max_new_tokens=9).text + "\n"
    assert "tokens per second" in result.stderr


def test_an_empty_prompt_starts_a_new_document(call, run: Path) -> None:
    assert call("generate", run, "--max-new-tokens", "4").stdout.endswith("\n")


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--top-k", "3"], {"top_k": 3}),
        (["--top-p", "0.5"], {"top_p": 0.5}),
        (["--min-p", "0.2", "--temperature", "2"], {"min_p": 0.2, "temperature": 2.0}),
        (["--sampler", "top_k=2"], {"sampler": TopKSampler(2)}),
        (["--sampler", "greedy"], {}),
    ],
)
def test_each_sampling_option_reaches_the_sampler(call, run: Path, options: list[str], settings) -> None:
    printed = json.loads(call("generate", run, "--max-new-tokens", "12", *options, "--json").stdout)
    assert printed["completion"] == TextGenerator(load_run(run)).generate("", max_new_tokens=12, **settings).completion


def test_the_runs_own_settings_count_unless_others_are_given(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "own"
    settings = ["--set=generation.temperature=1.5", "--set=generation.max_new_tokens=7"]
    call("train", *tiny, *settings, "--data", corpus_file, "--out", out)
    generator = TextGenerator(load_run(out))
    printed = json.loads(call("generate", out, "--json").stdout)
    assert printed["completion"] == generator.generate("", max_new_tokens=7, temperature=1.5).completion
    printed = json.loads(call("generate", out, "--temperature", "0", "--json").stdout)
    assert printed["completion"] == generator.generate("", max_new_tokens=7, temperature=0).completion


def test_several_samples_are_rows_of_the_same_seed(call, run: Path) -> None:
    lines = call("generate", run, "--temperature", "1", "--num-samples", "3", "--max-new-tokens", "8", "--json").stdout
    generator = TextGenerator(load_run(run))
    expected = [generator.generate("", max_new_tokens=8, temperature=1.0, row=row).completion for row in range(3)]
    assert [json.loads(line)["completion"] for line in lines.splitlines()] == expected
    assert len(set(expected)) == 3


def test_many_texts_are_printed_in_order(call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.cli.generate.BATCH", 2)  # two batches and a rest
    options = ("--prompt", "the ", "--temperature", "1", "--num-samples", "5", "--max-new-tokens", "8")
    result = call("generate", run, *options)
    generator = TextGenerator(load_run(run))
    each = [generator.generate("the ", max_new_tokens=8, temperature=1.0, row=row).text for row in range(5)]
    assert result.stdout == "\n\n---\n\n".join(each) + "\n"
    assert result.stderr.count("tokens per second") == 5


def test_a_file_has_one_prompt_per_line(call, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("the cat\r\n\r\nthe dög\n".encode())
    result = call("generate", run, "--prompt-file", path, "--max-new-tokens", "3", "--json")
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["prompt"] for one in objects] == ["the cat", "the dög"]
    assert "ö" in objects[1]["notes"][0]
    assert call("generate", run, "--prompt-file", path, "--max-new-tokens", "3").stdout.count("---") == 1


def test_stop_texts_end_it(call, run: Path) -> None:
    full = json.loads(call("generate", run, "--prompt", "the ", "--max-new-tokens", "30", "--json").stdout)[
        "completion"
    ]
    stop = full[3:5]
    printed = json.loads(
        call("generate", run, "--prompt", "the ", "--max-new-tokens", "30", "--stop", stop, "--json").stdout
    )
    assert printed["completion"] == full[: full.index(stop)]
    assert printed["stop_reason"] == "stop"


def test_a_long_prompt_and_unseen_characters_are_reported(call, run: Path) -> None:
    result = call("generate", run, "--prompt", "猫" + "the cat " * 9, "--max-new-tokens", "2")
    assert "猫" in result.stderr
    assert "newest 16" in result.stderr


def test_what_was_overridden_is_reported(call, run: Path) -> None:
    result = call("generate", run, "--sampler", "greedy", "--top-k", "5", "--max-new-tokens", "2")
    assert "top_k=5 has no effect" in result.stderr


def test_the_best_texts_of_a_search_are_printed(call, run: Path) -> None:
    options = ("--prompt", "the ", "--num-beams", "4", "--num-samples", "2", "--max-new-tokens", "9")
    found = TextGenerator(load_run(run)).search("the ", num_beams=4, num_results=2, max_new_tokens=9)
    result = call("generate", run, *options, "--temperature", "2")
    assert result.stdout == "\n\n---\n\n".join(text.text for text in found) + "\n"
    assert "--temperature has no effect" in result.stderr
    assert result.stderr.count("4 beams") == 2
    objects = [json.loads(line) for line in call("generate", run, *options, "--json").stdout.splitlines()]
    assert [one["completion"] for one in objects] == [text.completion for text in found]
    assert [one["score"] for one in objects] == pytest.approx([text.score for text in found])
    assert objects[0]["num_beams"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-beams", "0"], "num-beams"),
        (["--num-beams", "2", "--num-samples", "3"], "more than --num-beams 2"),
        (["--num-beams", "2", "--stop", "x"], "not both"),
        (["--temperature", "-1"], "temperature"),
        (["--top-k", "0"], "top_k"),
        (["--top-p", "1.5"], "top_p"),
        (["--sampler", "magic=3"], "magic"),
        (["--max-new-tokens", "-1"], "max_new_tokens"),
        (["--max-new-tokens", "99999999999999"], "1,000,000"),
        (["--num-samples", "0"], "num-samples"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**63)], "seed"),
        (["--stop", ""], "stop text"),
        (["--prompt", "a", "--prompt-file", __file__], "not both"),
        (["--prompt-file", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_impossible_options_are_explained(call, run: Path, options: list[str], message: str) -> None:
    result = call("generate", run, *options, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_an_empty_file_of_prompts_is_refused(call, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "blank.txt"
    path.write_text("\n\n")
    assert "blank.txt" in call("generate", run, "--prompt-file", path, code=2).stderr


def test_a_run_that_does_not_exist_is_named(call) -> None:
    assert "There is no run 'nowhere'" in call("generate", "nowhere", code=2).stderr


def test_a_file_that_is_no_run_is_named(call, tmp_path: Path) -> None:
    path = tmp_path / "fake.zip"
    path.write_bytes(b"not a zip")
    assert "fake.zip" in call("generate", path, code=2).stderr


def test_a_damaged_run_is_a_fault(call, run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "tokenizer.json").write_text("{")
    assert "tokenizer.json" in call("generate", copy, code=1).stderr


def test_a_prompt_is_read_as_the_training_text_was(call, run: Path) -> None:
    def written(prompt: str) -> dict[str, object]:
        values = json.loads(call("generate", run, "--prompt", prompt, "--max-new-tokens", "8", "--json").stdout)
        return {name: value for name, value in values.items() if "second" not in name}

    assert written("the cat\r\nsat\x07 on") == written("the cat\nsat on")
    assert "\r" not in call("generate", run, "--prompt", "the\r\ncat").stdout


def test_each_kept_step_can_be_chosen(call, run: Path) -> None:
    def written(*options: object) -> str:
        text: str = json.loads(call("generate", *options, "--max-new-tokens", "8", "--json").stdout)["text"]
        return text

    for step in RunFolder(run).checkpoints():
        checkpoint = RunFolder(run).checkpoint_path(step)
        assert written(run, "--step", step) == written(checkpoint)
    assert written(run) == written(run, "--step", "best")
    assert written(run, "--step", "0") != written(run, "--step", "last")


@pytest.mark.parametrize("step", ["-1", "1.5", "first", "", "0x1", "99", "9" * 30, "\u0661"])
def test_a_step_that_is_not_there_is_named(call, run: Path, step: str) -> None:
    assert "step" in call("generate", run, f"--step={step}", code=2).stderr


def test_weights_that_are_not_finite_end_with_a_message(call, run: Path, corpus_file: Path, tmp_path: Path) -> None:
    spoiled = RunFolder(shutil.copytree(run, tmp_path / "run"))
    step = spoiled.best_step or spoiled.checkpoints()[-1]
    path = spoiled.checkpoint_path(step)
    state, metadata = load_weights(path / "model.safetensors")
    next(iter(state.values())).fill_(float("nan"))
    save_weights(path / "model.safetensors", state, metadata=metadata)
    write_manifest(path)
    for command in (["generate", spoiled.path], ["evaluate", spoiled.path, "--data", corpus_file]):
        result = call(*command, "--json", code=1)
        assert result.stdout == ""
        advised = re.search(r"not finite.*instead: (--step \d+)", result.stderr)
        assert advised is not None
        call(*command, "--json", *advised[1].split())


def test_rules_of_a_file_are_used_by_their_names(call, run: Path, tmp_path: Path) -> None:
    rules = tmp_path / "my_rules.py"
    rules.write_text(
        "import minigpt\n\n\nclass Without(minigpt.BannedTokens):\n    def __init__(self, *ids):\n        super().__init__(ids)\n",
        "utf-8",
    )
    letter = load_run(run).tokenizer.encode("t")[0]
    written = call("generate", run, "--prompt", "a", "--sampler-file", rules, "--sampler", f"without={letter}").stdout
    assert len(written) > 20
    assert "t" not in written
    rules.write_text(
        rules.read_text("utf-8").replace("(self, *ids)", "(self)").replace("(ids)", f"([{letter}])"), "utf-8"
    )
    alone = call("generate", run, "--prompt", "a", "--sampler-file", rules).stdout
    assert "t" not in alone
    assert "'without' is no sampling rule" in call("generate", run, "--sampler", "without", code=2).stderr
    rules.write_text("1 / 0\n", "utf-8")
    refused = call("generate", run, "--sampler-file", rules, code=2)
    assert "The file my_rules.py failed in line 1: ZeroDivisionError" in refused.stderr


def test_a_run_stores_the_names_of_rules_and_none_of_their_files(call, run: Path, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run, tmp_path / "copy"))
    copy.write_config(copy.config.updated({"generation.sampler": "only_in_a_file,top_k=2"}))
    assert load_run(copy.path).config.generation.sampler == "only_in_a_file,top_k=2"
    refused = call("generate", copy.path, code=2)
    assert "A rule of your own needs its Python file" in refused.stderr
    assert call("generate", copy.path, "--sampler", "corpus_words", "--max-new-tokens", "9").stdout
