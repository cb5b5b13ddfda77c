"""Every profile loads, every limit refuses one more than it allows, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from minigpt import resources
from minigpt.config import RunConfig, TrainingConfig, TransformerConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import ConfigError, LimitError
from minigpt.runs.limits import Limits, load_limits

TEXT = "The cat sat on the mat. " * 40


def limits(**changes: object) -> Limits:
    return load_limits("classroom").model_copy(update=changes)


def test_every_shipped_profile_loads() -> None:
    assert resources.profile_names() == ["classroom", "hosted", "local"]
    for name in resources.profile_names():
        assert load_limits(name).profile == name


def test_profiles_become_stricter_from_local_to_hosted() -> None:
    local, classroom, hosted = (load_limits(name) for name in ("local", "classroom", "hosted"))
    for field in ("max_upload_bytes", "max_corpus_chars", "max_parameters", "max_steps", "max_new_tokens"):
        assert getattr(local, field) > getattr(classroom, field) > getattr(hosted, field)
    assert not local.owner_tokens
    assert classroom.owner_tokens
    assert hosted.owner_tokens


def test_the_environment_names_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_limits().profile == "local"
    monkeypatch.setenv("MINIGPT_PROFILE", "hosted")
    assert load_limits().profile == "hosted"
    assert load_limits("classroom").profile == "classroom"


def test_an_unknown_profile_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match="classroom, hosted, local"):
        load_limits("../../etc/passwd")


@pytest.mark.parametrize(
    ("text", "match"), [("max_steps: 0\n", "max_steps"), ("sun: 1\n", "is required|sun"), ("- a\n", "no settings")]
)
def test_a_damaged_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, match: str) -> None:
    (tmp_path / "configs" / "profiles").mkdir(parents=True)
    (tmp_path / "configs" / "profiles" / "mine.yaml").write_text(text, "utf-8")
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    with pytest.raises(ConfigError, match=match):
        load_limits("mine")


@pytest.mark.parametrize(
    ("check", "field", "fits", "too_much"),
    [
        (lambda limits, size: limits.check_upload("a.txt", size), "max_upload_bytes", 10, 11),
        (lambda limits, size: limits.check_prompt("x" * size), "max_prompt_chars", 10, 11),
        (lambda limits, size: limits.check_score_text("x" * size), "max_score_chars", 10, 11),
    ],
)
def test_the_limit_itself_is_allowed_and_one_more_is_not(check, field: str, fits: int, too_much: int) -> None:  # type: ignore[no-untyped-def]
    check(limits(**{field: 10}), fits)
    with pytest.raises(LimitError) as caught:
        check(limits(**{field: 10}), too_much)
    assert "11" in caught.value.problem
    assert "10" in caught.value.problem
    assert caught.value.mend


def small(**training: object) -> RunConfig:
    model = TransformerConfig(num_layers=1, num_heads=2, d_model=16, sequence_length=16)
    return RunConfig(model=model, training=TrainingConfig(warmup_steps=0, **training))  # type: ignore[arg-type]


def test_a_run_that_fits_passes() -> None:
    limits().check_run(small(max_steps=100), corpus_from_text(TEXT, name="cat"), 20)


@pytest.mark.parametrize(
    ("changes", "training", "match"),
    [
        ({"max_corpus_chars": 100}, {}, "corpus cat has .* characters"),
        ({"max_steps": 99}, {"max_steps": 100}, "training.max_steps"),
        ({"max_seconds": 10.0}, {"max_seconds": 11.0}, "training.max_seconds"),
        ({"max_parameters": 1000}, {}, "model.d_model"),
        ({"max_training_megabytes": 1}, {"batch_size": 4096}, "training.batch_size"),
    ],
)
def test_a_run_that_is_too_much_is_refused(changes: dict[str, object], training: dict[str, object], match: str) -> None:
    with pytest.raises(LimitError, match=match):
        limits(**changes).check_run(small(**training), corpus_from_text(TEXT, name="cat"), 20)


def test_without_a_number_the_machine_is_the_limit() -> None:
    with pytest.raises(LimitError, match="memory"):
        limits(max_training_megabytes=None).check_run(
            small(batch_size=1_048_576).updated({"model.sequence_length": 65_536}),
            corpus_from_text(TEXT, name="cat"),
            20,
        )
