"""A run's own text: read from its folder or generated again, and never replaced by another text."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt import resources
from minigpt.app.circuits.patching import one_changed
from minigpt.app.session import download, profile, run_text, runs, steps
from minigpt.app.texts import t
from minigpt.data.corpora import load_corpus
from minigpt.data.prepared import encode_corpus
from minigpt.errors import DownloadError
from minigpt.interpret.heads import emergence
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.text import rebuilt


@pytest.fixture(scope="module")
def tales():
    return runs.find_run("tales"), load_run("tales")


def test_the_tales_are_made_again_as_they_were_learned(tales):
    ref, run = tales
    ids = run_text.stream(ref, run)
    whole = encode_corpus(load_corpus("tales", num_chars=run_text.CORPUS_CHARS), run.tokenizer)
    assert np.array_equal(ids, whole)
    found = run_text.windows(ref, run, 32, 10)
    assert found.shape == (10, 32)
    assert np.array_equal(found[0], whole[:32])
    assert np.array_equal(found[-1], whole[-32:])
    assert run_text.windows(ref, run, len(whole) + 1, 10) is None


def test_a_corpus_that_must_be_downloaded_is_not_available():
    ref, run = runs.find_run("shakespeare"), load_run("shakespeare")
    assert run_text.stream(ref, run) is None
    passage = run_text.fixed_passage(ref, run, (5, 6))
    assert passage.origin == "shipped"
    assert passage.text.startswith("To be, or not to be")
    assert len(passage.ids) == min(run_text.PASSAGE_TOKENS, run.model.config.sequence_length)
    assert run.tokenizer.unk_id not in passage.ids


def test_only_the_corpus_that_was_learned_is_used(tmp_path, tales):
    shutil.copytree(resources.bundled_runs_path() / "tales", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert rebuilt(folder, 1000) is not None
    folder.write_meta({**folder.meta, "origin": "files: my own.txt"})
    assert rebuilt(folder, 1000) is None


def test_the_passage_of_an_own_run_is_what_it_never_learned_from(pages):
    ref = runs.find_run(pages.trained())
    run = load_run(ref.id)
    passage = run_text.fixed_passage(ref, run, (5, 6))
    assert passage.origin == "held_out"
    assert np.array_equal(passage.ids, np.fromfile(ref.path / "data" / "validation.bin", np.uint8)[:16])
    for path in (ref.path / "data").glob("*.bin"):
        path.unlink()
    for prompt in ((5, 6, 7), (5,), (run.tokenizer.bos_id,)):
        passage = run_text.fixed_passage(ref, run, prompt)
        assert passage.origin == "prompt"
        assert len(passage.ids) >= 2  # a single token has no next token


def test_the_changed_token_changes_the_answer(tales):
    _, run = tales
    import torch

    def answer(text):
        return int(run.model(torch.tensor([run.tokenizer.encode(text)]))[0, -1].argmax())

    first = "Her name was Lily, and "
    second = one_changed(run, first)
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1
    assert answer(first) != answer(second)


def test_emergence_is_between_the_last_step_below_and_the_first_above():
    induction = np.zeros((4, 1, 2))
    induction[:, 0, 1] = (0.0, 0.6, 0.2, 0.9)
    assert emergence([0, 8, 64, 512], induction) == (64, 512)
    assert emergence([0, 8, 64, 512], induction * 0.5) is None
    assert emergence([512], induction[-1:]) is None


def test_a_long_history_is_thinned_and_keeps_its_ends(pages, monkeypatch):
    ref = runs.find_run(pages.trained(training__history_per_octave=8))
    whole = steps.history(ref)
    assert len(whole) > 4
    assert whole[-1][1] is None  # None asks for the newest weights
    monkeypatch.setattr(steps, "MOST_STEPS", 4)
    few = steps.history(ref)
    assert len(few) == 4
    assert (few[0], few[-1]) == (whole[0], whole[-1])
    assert set(few) <= set(whole)


def test_a_run_in_training_offers_no_checkpoint_that_may_be_replaced(pages, monkeypatch):
    ref = runs.find_run(pages.trained(training__max_steps=11, training__history_per_octave=1))
    folder = RunFolder(ref.path)
    replaceable = set(folder.steps()) - set(folder.history_steps())
    assert replaceable
    finished, newest = steps.kept_steps(ref)
    assert replaceable <= {*finished, newest}
    monkeypatch.setattr(runs, "snapshot_of", lambda ref: SimpleNamespace(is_active=True, step=1000))
    training, newest = steps.kept_steps(ref)
    assert newest == 1000
    assert training == folder.history_steps()
    assert [step for step, _ in steps.history(ref)] == training


def test_a_missing_corpus_is_offered_if_the_server_may_download_it(pages, monkeypatch):
    at = pages.open("inside/circuits", run="shakespeare")
    at.segmented_control(key="circuits:view").set_value("neurons").run()
    assert t("circuits.no_corpus") in pages.words(at)
    asked = []

    def load_corpus(name):
        asked.append(name)
        raise DownloadError("Nobody answers.", mend="Try later.")

    monkeypatch.setattr(download, "load_corpus", load_corpus)
    at.button(key="circuits:fetch").click().run()
    assert asked == ["shakespeare"]
    assert "Nobody answers" in pages.words(at)
    forbidden = profile.limits().model_copy(update={"allow_download": False})
    monkeypatch.setattr(profile, "limits", lambda: forbidden)
    at.run()
    assert "circuits:fetch" not in [button.key for button in at.button]


def test_no_download_is_offered_for_an_available_text(pages):
    assert run_text.to_fetch(runs.find_run("tales")) is None
    assert run_text.to_fetch(runs.find_run(pages.trained())) is None
