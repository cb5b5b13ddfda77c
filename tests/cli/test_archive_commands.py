from __future__ import annotations

import json
from pathlib import Path

from minigpt.runs.folder import RunFolder


def test_a_run_leaves_as_one_file_and_comes_back(call, trained, tmp_path: Path) -> None:
    out, archive = trained[0], tmp_path / "cats.zip"
    printed = json.loads(call("export", out, "--out", archive, "--json").stdout)
    assert printed["bytes"] == archive.stat().st_size
    assert "again.zip" in call("export", out, "--out", tmp_path / "again.zip", "--include-data").stdout
    assert (tmp_path / "again.zip").stat().st_size > archive.stat().st_size
    call("import", archive, "--out", tmp_path / "back")
    assert RunFolder(tmp_path / "back").config.training == RunFolder(out).config.training
    text = call("generate", out, "--max-new-tokens", "9", "--json").stdout
    for run in (archive, tmp_path / "back"):
        assert (
            json.loads(call("generate", run, "--max-new-tokens", "9", "--json").stdout)["text"]
            == json.loads(text)["text"]
        )


def test_without_out_it_goes_home(call, trained, tmp_path: Path, own_home: Path) -> None:
    call("export", trained[0], "--out", tmp_path / "cats.zip")
    assert Path(json.loads(call("import", tmp_path / "cats.zip", "--json").stdout)["run"]).parent == own_home


def test_nothing_is_written_over(call, trained, tmp_path: Path) -> None:
    path = tmp_path / "mine.zip"
    path.write_text("mine")
    assert "already" in call("export", trained[0], "--out", path, code=2).stderr
    assert path.read_text() == "mine"
    assert "no folder" in call("export", trained[0], "--out", tmp_path / "no" / "cats.zip", code=2).stderr
    call("export", trained[0], "--out", tmp_path / "cats.zip")
    assert "already" in call("import", tmp_path / "cats.zip", "--out", trained[0], code=2).stderr


def test_a_file_that_is_no_run_is_refused(call, tmp_path: Path) -> None:
    path = tmp_path / "fake.zip"
    path.write_bytes(b"PK\x03\x04 nothing")
    call("import", path, code=2)
    assert not (tmp_path / "back").exists()


# -- models of Hugging Face


def test_a_run_leaves_as_a_model_of_hugging_face_and_comes_back(call, trained, tmp_path: Path, own_home: Path) -> None:
    out = tmp_path / "model"
    printed = json.loads(call("export", trained[0], "--format", "huggingface", "--out", out, "--json").stdout)
    assert printed["format"] == "huggingface"
    assert printed["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    assert "already" in call("export", trained[0], "--format", "huggingface", "--out", trained[0], code=2).stderr
    back = json.loads(call("import", out, "--json").stdout)["run"]
    assert Path(back).parent == own_home
    text = call("generate", trained[0], "--max-new-tokens", "9", "--json").stdout
    again = call("generate", back, "--max-new-tokens", "9", "--json").stdout
    assert json.loads(again)["text"] == json.loads(text)["text"]
    assert (
        "--format huggingface" in call("export", trained[0], "--step", "last", "--out", tmp_path / "x", code=2).stderr
    )


def test_a_model_that_cannot_be_imported_is_named_and_leaves_nothing(
    call, tmp_path: Path, own_home: Path, monkeypatch
) -> None:
    def unreachable(name: str) -> None:
        raise OSError("no route")

    monkeypatch.setattr("minigpt.interop.hub._listed", unreachable)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    said = {
        "pickled": "names no architecture",
        ".": "has no config.json",
        "someone/model": "cannot be fetched from huggingface.co",
        "gpt2": "owner/name, such as openai-community/gpt2",
        "./no/such": "There is no file",
    }
    for source, message in said.items():
        assert message in " ".join(call("import", source, code=2).stderr.split())
    assert not own_home.exists() or not list(own_home.iterdir())
