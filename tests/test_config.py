import json
import re
import types

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from minigpt import resources
from minigpt.config import (
    SECTIONS,
    DataConfig,
    RunConfig,
    TrainingConfig,
    TransformerConfig,
    allowed_values,
    dotted_fields,
    dump_yaml,
    environment_values,
    field_bounds,
    field_info,
    fields,
    load_config,
    parse_assignments,
    reading,
    sections,
)
from minigpt.errors import ConfigError
from minigpt.model.size import count_parameters

SECONDS = "seconds on (?:two cores|one H100)"
PRESETS = ["nano", "repeat", "shakespeare", "shakespeare-gpu", "shakespeare-large", "small", "sprint", "tales"]


@pytest.fixture
def write(tmp_path):
    """Write a settings file and return its path."""

    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


# --- the fields' own descriptions


def test_every_field_is_described():
    for dotted in dotted_fields():
        description = field_info(dotted).description
        assert description, dotted
        assert description[0].isupper(), dotted
        assert description.endswith("."), dotted
        assert "\n" not in description, dotted


def test_every_field_has_one_dotted_name():
    assert len(set(dotted_fields())) == len(dotted_fields())
    assert len(dotted_fields()) == 3 + sum(len(section.model_fields) for section in SECTIONS.values())


def test_bounds_come_from_the_field():
    assert field_bounds("model.num_layers") == (1, 96)
    assert field_bounds("training.learning_rate") == (0, 10)
    assert field_bounds("model.d_ff") == (0, 65536)
    assert field_bounds("training.sample_prompt") == (None, None)


@pytest.mark.parametrize("dotted", ["model.n_layer", "nothing", "preset.seed", "seed.x"])
def test_a_field_that_is_not_there_is_an_error(dotted):
    with pytest.raises(ConfigError, match="there is no setting"):
        field_info(dotted)


def test_derived_values_are_not_stored():
    model = TransformerConfig(d_model=48, num_heads=6, num_kv_heads=2)
    assert (model.d_head, model.kv_heads, model.ff_width) == (8, 2, 192)
    assert TransformerConfig(d_ff=10).ff_width == 10
    assert not {"d_head", "kv_heads", "ff_width", "warmup"} & set(str(RunConfig().model_dump()).split("'"))


@pytest.mark.parametrize(
    ("max_steps", "warmup_steps", "warmup"),
    [(2000, None, 100), (1000, None, 100), (50, None, 5), (5, None, 0), (50, 50, 50)],
)
def test_the_warm_up_follows_the_length_of_training_unless_it_is_given(max_steps, warmup_steps, warmup):
    assert TrainingConfig(max_steps=max_steps, warmup_steps=warmup_steps).warmup == warmup


def test_settings_never_change():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().model.num_layers = 3


def test_paths_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert DataConfig(paths="~/a.txt").paths == (tmp_path / "a.txt",)
    assert DataConfig(paths=["x/../b.txt", tmp_path / "c"]).paths == (tmp_path / "b.txt", tmp_path / "c")


# --- errors: what was given, what is allowed, how to fix it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu'; it must be auto, cpu, cuda, cuda:0 (or another number) or mps. Correct it or leave it out; the default is auto."),
        ({"device": "cuda:"}, "device is 'cuda:'; it must be auto"),
        ({"device": "cpu\n"}, "device is 'cpu␊'; it must be auto"),
        ({"device": None}, "device is empty; it must be text"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0 and at most 9223372036854775807."),
        ({"training.max_steps": 0}, "training.max_steps is 0; it must be a whole number, at least 1 and at most 100000000. Correct it or leave it out; the default is 1000."),
        ({"training.max_steps": 1.5}, "training.max_steps is 1.5; it must be a whole number"),
        ({"training.max_steps": "many"}, "training.max_steps is 'many'; it must be a whole number"),
        ({"training.max_steps": True}, "training.max_steps is True; it must be a number"),
        ({"training.learning_rate": 0}, "training.learning_rate is 0; it must be a number, more than 0 and at most 10."),
        ({"training.learning_rate": float("nan")}, "training.learning_rate is nan; it must be a number"),
        ({"training.learning_rate": "fast"}, "training.learning_rate is 'fast'; it must be a number"),
        ({"model.dropout": 1}, "model.dropout is 1; it must be a number, at least 0 and less than 1."),
        ({"model.dropout": False}, "model.dropout is False; it must be a number"),
        ({"model.norm": "batch"}, "model.norm is 'batch'; it must be 'rmsnorm' or 'layernorm'. Correct it or leave it out; the default is rmsnorm."),
        ({"model.bias": "maybe"}, "model.bias is 'maybe'; it must be true or false."),
        ({"model.num_layers": [4]}, "model.num_layers is [4]; it must be a whole number"),
        ({"model.num_layers": list(range(99))}, "..."),
        ({"training.sample_prompt": 5}, "training.sample_prompt is 5; it must be text, in quotes if need be."),
        ({"data.paths": 3}, "data.paths is 3; it must be a list of paths."),
        ({"data.paths": ["a\0b"]}, "data.paths is ['a␀b']; it must be a path, or a list of paths, that this machine can have."),
        ({"data.paths": "~nobody-of-that-name/x"}, "that this machine can have."),
        ({"generation.stop": [""]}, "generation.stop is ''; it must be a list of texts, none of them empty."),
        ({"generation.top_p": 0}, "generation.top_p is 0; it must be a number, more than 0 and at most 1. Correct it or leave it out."),
        ({"tokenizer.kind": "word"}, "tokenizer.kind is 'word'; it must be 'character', 'byte' or 'bpe'."),
        ({"model.num_heads": 3}, "d_model 128 is not divisible by num_heads 3; with this width num_heads can be 1, 2 or 4. Change one of them in section model."),
        ({"model.num_kv_heads": 3}, "num_heads 4 is not divisible by num_kv_heads 3; num_kv_heads can be 1, 2 or 4. Change"),
        ({"model.d_model": 6, "model.num_heads": 2}, "each head is 3 wide, which is odd (d_model 6 / num_heads 2); num_heads can be 1 or 3, or positions can be learned, sinusoidal, alibi or none."),
        ({"model.d_model": 5, "model.num_heads": 5}, "which is odd (d_model 5 / num_heads 5); d_model can be even, or positions can be learned, sinusoidal, alibi or none."),
        ({"training.warmup_steps": 2000}, "training.warmup_steps 2000 is more than training.max_steps 1000, so the learning rate would never reach its peak. Change one of them."),
        ({"training.accumulation_steps": 17}, "training.accumulation_steps 17 is more than training.batch_size 16, so some micro-batches would be empty."),
        ({"training.max_steps": 0, "seed": -1}, "(1 more after it.)"),
        ({"model.n_embd": 3}, "there is no setting model.n_embd. Did you mean model.d_model?"),
        ({"block_size": 3}, "there is no setting block_size. Did you mean model.sequence_length?"),
        ({"training.max_step": 3}, "there is no setting training.max_step. Did you mean training.max_steps?"),
        ({"modle": {"d_model": 8}}, "there is no setting modle. Did you mean model?"),
        ({"modle.d_model": 8}, "there is no setting modle.d_model. Did you mean model.d_model?"),
        ({"zzz": 3}, "there is no setting zzz. `minigpt config` lists all settings."),
        ({"model": 3}, "model is 3; it must be a section of settings. Write model: on a line of its own"),
    ],
    ids=str,
)  # fmt: skip
def test_messages(changes, message):
    with pytest.raises(ConfigError) as caught:
        RunConfig().updated(changes, source="--set")
    text = str(caught.value)
    assert text.startswith("--set: ")
    assert message in text
    assert "pydantic" not in text
    assert "Input should" not in text
    assert caught.value.mend.strip()
    assert len(text) < 400


def test_the_default_is_not_named_where_a_preset_gives_the_value():
    with pytest.raises(ConfigError) as caught:
        load_config("nano", overrides={"training.max_steps": 0})
    assert caught.value.mend == "Correct it or leave it out."  # left out, it would be the preset's 400


def test_what_the_messages_offer_is_allowed():
    for changes in ({"model.num_heads": 3}, {"model.num_kv_heads": 3}, {"model.d_model": 6, "model.num_heads": 2}):
        with pytest.raises(ConfigError) as caught:
            RunConfig().updated(changes)
        name, offers = re.search(r"(num_\w+) can be ([\d, or]+)", caught.value.problem).groups()
        for offer in re.findall(r"\d+", offers):
            RunConfig().updated({**changes, f"model.{name}": int(offer)})


def test_friendly_forms_are_taken():
    settings = RunConfig().updated({"generation.stop": "\n", "device": "cuda:1", "training.max_steps": 1e3})
    assert (settings.generation.stop, settings.device, settings.training.max_steps) == (("\n",), "cuda:1", 1000)
    assert (
        RunConfig().updated({"model.positions": "learned", "model.d_model": 5, "model.num_heads": 5}).model.d_head == 1
    )


def test_with_a_time_budget_the_warm_up_is_settled_later():
    RunConfig(training={"max_seconds": 5, "max_steps": 10, "warmup_steps": 100})


# --- files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "is not valid YAML at line 1"),
        ("model:\n  d_model: 8\n bad: : 1", "is not valid YAML at line 3"),
        ("a: !!timestamp 2024-99-99", "is not valid YAML"),
        ("[" * 100_000, "there are more than 8 levels of nesting at line 1"),
        ("- 1\n- 2", "holds no settings"),
        ("just words", "holds no settings"),
        ("d_model: 3", "settings.yaml: model.d_model is 3"),
        ("kinds: 3", "there is no setting kinds. Did you mean tokenizer.kind?"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(write, text, message):
    path = write(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_config(path, environment={})
    assert "settings.yaml" in caught.value.problem


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        load_config(tmp_path / "latin.yaml", environment={})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, environment={})
    with pytest.raises(ConfigError, match=r"no settings file and no preset.*Presets are nano, repeat, shakespeare"):
        load_config(tmp_path / "none.yaml", environment={})
    with pytest.raises(ConfigError, match="no preset 'huge'"):
        load_config("huge", environment={})


@pytest.mark.parametrize("text", ["", "# nothing", "model:\ntraining:\n", "\ufeffseed: 0"])
def test_an_empty_file_is_the_defaults(write, text):
    assert load_config(write(text), environment={}) == RunConfig()


def test_flat_and_sectioned_files_are_one(write):
    flat = load_config(write("d_model: 32\nmax_steps: 5\nseed: 3"), environment={})
    assert flat == load_config(write("seed: 3\nmodel: {d_model: 32}\ntraining: {max_steps: 5}"), environment={})
    assert flat == load_config(write("model.d_model: 32\ntraining.max_steps: 5\nseed: 3"), environment={})


def test_a_flat_key_that_could_mean_two_is_refused(write, monkeypatch):
    monkeypatch.setitem(SECTIONS, "tokenizer", TransformerConfig)
    with pytest.raises(ConfigError, match=r"d_model could be model\.d_model or tokenizer\.d_model"):
        load_config(write("d_model: 8"), environment={})


@pytest.mark.parametrize("number", ["3e-4", "3E-4", "3.0e-4", "0.0003", "+3e-4"])
def test_numbers_are_read_as_people_write_them(write, number):
    assert load_config(write(f"learning_rate: {number}"), environment={}).training.learning_rate == 3e-4


def test_text_that_looks_like_a_number_stays_text(write):
    assert load_config(write('sample_prompt: "1e5"'), environment={}).training.sample_prompt == "1e5"


printable = st.text(st.characters(codec="utf-8"), max_size=30)


@given(
    printable,
    st.lists(printable.filter(bool), max_size=3),
    st.floats(1e-9, 10),
    st.integers(0, 2**63 - 1),
    st.booleans(),
)
def test_dumped_settings_can_be_loaded_again(prompt, stop, rate, seed, comments):
    changes = {"training.sample_prompt": prompt, "generation.stop": stop, "training.learning_rate": rate, "seed": seed,
               "data.paths": ["a: b", "ü"], "model.num_kv_heads": 2, "training.max_seconds": 0.5}  # fmt: skip
    settings = RunConfig().updated(changes)
    text = dump_yaml(settings, comments=comments)
    assert RunConfig.model_validate(reading._load_yaml(text)) == settings
    assert yaml.safe_load(text)["training"]["sample_prompt"] == prompt, "every YAML reader understands it"


def test_the_dump_explains_every_field(write):
    text = dump_yaml(RunConfig())
    for dotted in dotted_fields():
        assert f"# {field_info(dotted).description}\n" in text
    assert load_config(write(text), environment={}) == RunConfig()
    assert "#" not in dump_yaml(RunConfig(), comments=False)


# --- precedence


def test_the_stronger_source_wins(write):
    path = write("preset: nano\ntraining:\n  max_steps: 20\n  batch_size: 20\n  learning_rate: 0.02")
    environment = {"MINIGPT__TRAINING__BATCH_SIZE": "30", "MINIGPT__TRAINING__LEARNING_RATE": "0.03", "HOME": "/x"}
    settings = load_config(path, environment=environment, overrides={"training.learning_rate": 0.04})
    assert settings.training.eval_batches == 20  # default
    assert settings.model.d_model == 32  # preset
    assert settings.training.max_steps == 20  # file
    assert settings.training.batch_size == 30  # environment
    assert settings.training.learning_rate == 0.04  # --set
    assert settings.preset == "nano"


def test_the_environment_can_name_the_preset():
    settings = load_config(environment={"MINIGPT__PRESET": "nano"})
    assert (settings.preset, settings.model.d_model) == ("nano", 32)
    with pytest.raises(ConfigError, match=r"no preset 'huge'.*Presets are"):
        load_config(environment={"MINIGPT__PRESET": "huge"})


def test_the_process_environment_is_read(monkeypatch):
    monkeypatch.setenv("MINIGPT__MODEL__NUM_LAYERS", "7")
    assert load_config().model.num_layers == 7


@pytest.mark.parametrize("name", ["MINIGPT__MODEL__N_LAYER", "MINIGPT__NOTHING"])
def test_a_wrong_variable_is_an_error(name):
    with pytest.raises(ConfigError, match="the environment: there is no setting"):
        load_config(environment={name: "1"})


def test_set_can_name_the_preset():
    settings = load_config(overrides={"preset": "nano", "training.max_steps": 20}, environment={})
    assert (settings.preset, settings.model.d_model, settings.training.max_steps) == ("nano", 32, 20)


def test_own_paths_replace_the_presets_corpus(write, tmp_path):
    mine = tmp_path / "mine.txt"
    path = write(f"preset: nano\ndata:\n  paths: [{json.dumps(str(mine))}]")
    for settings in (
        load_config(path, environment={}),
        load_config("nano", environment={"MINIGPT__DATA__PATHS": json.dumps([str(mine)])}),
        load_config("nano", environment={}, overrides={"data.paths": [str(mine)]}),
    ):
        assert (settings.data.paths, settings.data.corpus, settings.data.num_chars) == ((mine,), None, None)
    cut = load_config("nano", environment={}, overrides={"data.paths": [str(mine)], "data.num_chars": 9})
    assert cut.data.num_chars == 9
    assert load_config("nano", environment={}).data.num_chars == 200_000


def test_a_local_file_wins_over_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").write_text("seed: 8")
    assert load_config("nano", environment={}).seed == 8


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("training.max_steps=50", 50),
        ("training.learning_rate=3e-4", 3e-4),
        ("model.bias=true", True),
        ("model.d_ff=", None),
        ("generation.stop=[a, b]", ["a", "b"]),
        ("training.sample_prompt=Once upon: a #time ", "Once upon: a #time "),
        ("training.sample_prompt=1e5", "1e5"),
        ("training.sample_prompt=yes", "yes"),
        ('training.sample_prompt="a\\nb"', "a\nb"),
        ("training.sample_prompt=", ""),
        ("data.corpus=", None),
        ("data.corpus=tales", "tales"),
        ("seed=a=b", "a=b"),
    ],
)
def test_assignments(assignment, value):
    (parsed,) = parse_assignments([assignment]).values()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("text", "message"), [("seed", "has no value"), ("seed=[", "cannot be read as a value")])
def test_an_invalid_assignment(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_assignments([text])


def test_the_environment_names_the_variable_in_its_errors():
    with pytest.raises(ConfigError, match=r"MINIGPT__SEED: '\[' cannot be read"):
        environment_values({"MINIGPT__SEED": "["})


# --- presets


def test_the_presets_are_these():
    assert resources.preset_names() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_loads_and_says_what_it_costs(name):
    settings = load_config(name, environment={})
    assert settings.preset == name
    header = resources.preset_path(name).read_text("utf-8").split("\n\n")[0]
    assert header.startswith(f"# {name}: ")
    assert all(line.startswith("# ") for line in header.splitlines())
    parameters, vocab_size = re.search(r"^# parameters: ([\d,]+) \(with its (\d+) tokens\)$", header, re.M).groups()
    assert count_parameters(settings.model, int(vocab_size)).total == int(parameters.replace(",", ""))
    assert re.search(r"^# corpus: \S", header, re.M)
    assert all(re.search(rf"^# {line}: \d", header, re.M) for line in (SECONDS, "expected loss"))
    if "seconds on one H100" in header:  # not yet repeated
        assert "one H100, torch 2.11, measured\n# once" in header


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["nano", "repeat", "small", "tales"])
def test_the_vocabulary_that_a_preset_names_is_that_of_its_corpus(name):
    from minigpt.data import read_corpus
    from minigpt.tokenizers import CharacterTokenizer

    corpus = read_corpus(load_config(name, environment={}).data)
    tokenizer = CharacterTokenizer().train(corpus.documents)
    assert f"(with its {tokenizer.vocab_size} tokens)" in resources.preset_path(name).read_text("utf-8")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_cut_short_with_one_setting(name):
    assert load_config(name, environment={}, overrides={"training.max_steps": 3}).training.warmup == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_a_built_in_corpus_and_keep_attention_on_its_fast_path(name):
    settings = load_config(name, environment={})
    assert settings.data.corpus == {"repeat": "repeat", "shakespeare": "shakespeare", "sprint": "shakespeare"}.get(
        name.partition("-")[0], "tales"
    )
    assert settings.model.attention_dropout == 0


def test_every_public_function_is_documented():
    for module in (fields, sections, reading):
        for name, value in vars(module).items():
            if isinstance(value, types.FunctionType) and not name.startswith("_"):
                assert value.__doc__, name


@pytest.mark.parametrize(
    ("make", "problem", "mend"),
    [
        (lambda: TransformerConfig(n_embd=3), "no setting model.n_embd", "Did you mean model.d_model"),
        (lambda: TransformerConfig(d_model="wide"), "model.d_model is 'wide'; it must be a whole number", "Correct it"),
        (lambda: TransformerConfig(d_model=10, num_heads=4), "not divisible", "in section model"),
        (lambda: RunConfig(seed=-1), "RunConfig: seed is -1; it must be a whole number, at least 0", "default is 0"),
        (lambda: RunConfig(seed=2**70), "seed is 1180591620717411303424", "Correct it"),
        (lambda: RunConfig(seed=True), "seed is True", "Correct it"),
        (lambda: RunConfig(sead=1), "no setting sead", "Did you mean seed"),
        (lambda: RunConfig(model={"n_embd": 3}), "no setting model.n_embd", "Did you mean model.d_model"),
        (lambda: RunConfig(model={"d_model": 1}), "RunConfig: model.d_model is 1", "default is 128"),
        (lambda: RunConfig(model=5), "model is '5'; it must be a section", "TransformerConfig"),
        (lambda: TrainingConfig(optimizer="adam"), "training.optimizer is 'adam'; it must be 'adamw'", "adamw"),
    ],
)
def test_sections_built_in_code_refuse_in_the_same_words(make, problem, mend):
    with pytest.raises(ConfigError) as caught:
        make()
    assert problem in caught.value.problem
    assert mend in caught.value.mend


@pytest.mark.parametrize("source", ["a" * 5000, "~nobody-of-this-name/x", "a\0b"])
def test_names_that_no_file_can_have_are_refused_in_words(source):
    with pytest.raises(ConfigError, match="no settings file and no preset") as caught:
        load_config(source)
    assert len(caught.value.problem) < 200


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("seed: 1\nseed: 2\n", "seed", 2),
        ("model:\n  d_model: 8\n  num_heads: 2\n  d_model: 16\n", "d_model", 4),
        ("model:\n  d_model: 8\ntraining:\n  max_steps: 3\nmodel:\n  num_heads: 2\n", "model", 5),
    ],
)
def test_a_duplicate_key_is_named(write, text, key, line):
    with pytest.raises(ConfigError, match=rf"{key} is given twice.*line {line}"):
        load_config(write(text))


def test_what_is_allowed_can_be_read_for_every_setting():
    assert allowed_values("data.validation_fraction") == "a number, at least 0 and less than 1"
    assert allowed_values("training.schedule") == "cosine, linear, constant or wsd"
    assert allowed_values("model.bias") == "true or false"
    assert all(allowed_values(dotted) for dotted in dotted_fields())
