"""`minigpt chat` as a command: lines from a pipe, and a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from minigpt.cli.chat.session import Session
from minigpt.cli.root import cli
from minigpt.runs.loading import load_run

Trained = tuple[Path, dict[str, Any]]


def chat(run: Path | str, *lines: str | bytes, code: int = 0, options: tuple[str, ...] = ()) -> Result:
    """Give lines to `minigpt chat` as through a pipe."""
    given = b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines)
    result = CliRunner().invoke(cli, ["chat", str(run), *options], input=given, prog_name="minigpt")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output, "no colours in a pipe"
    return result


def test_a_pipe_gets_plain_lines_and_the_same_text_as_generate(call, trained: Trained, tmp_path: Path) -> None:
    run, _ = trained
    saved = tmp_path / "texts.jsonl"
    lines = ["the cat", "/set temperature=0.8 max_new_tokens=5 seed=4", "the cat", f"/save {saved}", "/why 1"]
    printed = chat(run, *lines).stdout.splitlines()
    expected = call(
        "generate", run, "--prompt", "the cat", "--temperature=0.8", "--max-new-tokens=5", "--seed=4", "--json"
    )
    text = json.loads(expected.stdout)["text"]
    texts = [json.loads(line)["text"] for line in saved.read_text("utf-8").splitlines()]
    assert len(texts) == 2
    assert texts[1] == text
    assert text in "\n".join(printed)

    assert printed[-2] == "token\tchance\tmodel\tdice\tmost likely otherwise"


def test_rules_of_a_file_can_be_set_compared_shown_and_kept_for_another_run(trained: Trained, tmp_path: Path) -> None:
    run, _ = trained
    rules = tmp_path / "rules.py"
    rules.write_text(
        "import minigpt\n\n\nclass Without(minigpt.TextRule):\n"
        "    def __init__(self, letter='t'):\n        self.letter = letter\n\n"
        "    def situation(self, text):\n        return None\n\n"
        "    def allows(self, situation, piece):\n        return self.letter not in piece\n\n"
        "    def describe(self):\n        return f'without {self.letter}'\n",
        "utf-8",
    )
    saved, options = tmp_path / "texts.jsonl", ("--sampler-file", str(rules))
    lines = ["/set sampler=temperature=3,without", "a", "/compare sampler=without=a | temperature=3", f"/load {run}"]
    result = chat(run, *lines, "/set sampler=without", "a", "/show sampler", f"/save {saved}", options=options)
    assert "Rules of your own: without." in result.stderr
    assert "sampler is without t." in result.stdout
    first, compared, _, last = [json.loads(line)["text"][1:] for line in saved.read_text("utf-8").splitlines()]
    assert "t" not in first + last
    assert "a" not in compared
    assert "without is a rule of the sampler" in chat(run, "/set without=t", options=options, code=2).stderr
    assert "'without' is no sampling rule" in chat(run, "/set sampler=without", code=2).stderr


def test_every_command_works_on_a_run(trained: Trained) -> None:
    run, _ = trained
    result = chat(
        run, "/set max_new_tokens=4 temperature=1", '"""the\ncat"""', "/probs", "/again", "/probs off", "/more", "",
        "/compare temperature=0.1 | sampler=greedy | temperature=3", "/ppl the cat sat", "/ppl", "/show", "/help", "/history",
        f"/load {run}", "the", "/quit", "never reached",
    )  # fmt: skip
    out = result.stdout
    assert "never reached" not in out
    assert len(re.findall(r"^ *[\d.]+%  [#.]{10}  ", out, re.M)) == 4
    assert re.search(r"^1\. temperature 0\.1, 4 tokens, seed 0, row 1$", out, re.M)
    assert re.search(r"^2\. greedy, .* \(it differs from 1 from the first token on\)$", out, re.M)
    assert re.search(r"^perplexity [\d.]+ over \d+ tokens", out, re.M)


def test_wrong_lines_are_sentences_and_the_text_goes_on(trained: Trained, tmp_path: Path) -> None:
    run, _ = trained
    taken = tmp_path / "taken"
    taken.write_text("mine")
    wrong = ["/nix", "/set top_k=x", "/load nowhere", f"/save {taken}", "/save /no/such/folder/x", "!9"]
    only = "/set sampler=only=999"  # no such token, which shows when it is used
    result = chat(
        run, "/set max_new_tokens=1", "a", *wrong, only, "b", "/reset", b"\xff\xfe the\r\n", "/show seed", code=2
    )
    assert result.stderr.count("Error: ") == len(wrong) + 1
    assert taken.read_text() == "mine"
    assert "seed is 0" in result.stdout


def test_a_disk_that_refuses_the_history_costs_one_note(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    session = Session(load_run(trained[0]), "cats", history_file=tmp_path / "file" / "h")
    for line in ("/show seed", "/show row", "/history clear"):
        assert session.answer(line)
    assert capsys.readouterr().err.count("The history is not kept from here on.") == 1


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="pexpect needs a POSIX terminal")
def test_a_conversation_in_a_terminal(trained: Trained, tmp_path: Path) -> None:
    """Ctrl+C stops the text and not the program; open brackets go on; SIGTERM ends with 143 and keeps the history."""
    import pexpect

    environment = {**os.environ, "TERM": "xterm", "MINIGPT_STATE": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"}
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "minigpt", "chat", str(trained[0])],
        env=environment,
        timeout=30,
        encoding="utf-8",
        dimensions=(40, 100),
    )
    try:
        terminal.expect("Ctrl\\+D ends")
        terminal.expect("cats>")
        terminal.send("/set max_new_tokens=1000000\r")
        terminal.expect("1,000,000 tokens, seed 0")
        terminal.send("the (cat\r")
        terminal.expect("…")  # the line goes on
        terminal.send("\r")
        terminal.expect("t{20}")  # what this model writes, and nobody typed
        terminal.sendintr()
        terminal.expect("tokens per second, stopped")
        terminal.expect("cats>")
        terminal.sendintr()  # at the prompt it only drops the line
        terminal.expect("Ctrl\\+D ends the program")
        terminal.expect("cats>")
        terminal.send("/sho")
        terminal.expect("Show the run")  # the menu of completions
        terminal.send("\tseed\r")
        terminal.expect("seed is 0")
        terminal.kill(signal.SIGTERM)
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 143
    kept = (tmp_path / "chat_history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == ["/set max_new_tokens=1000000", "the (cat", "/show seed"]
