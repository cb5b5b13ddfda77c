"""The settings of a run: checked when they are given, never changed afterwards, readable as YAML.

One frozen section an owner (`model`, `tokenizer`, `data`, `training`, `generation`), joined in `RunConfig`. Each
field's docstring is its only description: it becomes the comment in YAML, the line in `--help` and the help of the
widget, and its bounds become the widget's bounds. Derived values are properties and are never stored.

Precedence, strongest first: `--set section.key=value` > environment `MINIGPT__SECTION__KEY` > YAML file > preset >
default. `load_config` is the one place that knows it. A resumed run has its own `config.yaml` and asks no other.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from minigpt import resources
from minigpt.errors import ConfigError

ENVIRONMENT_PREFIX = "MINIGPT__"

ELSEWHERE = {
    "n_layer": "num_layers", "n_layers": "num_layers", "n_head": "num_heads", "n_heads": "num_heads",
    "n_kv_head": "num_kv_heads", "n_kv_heads": "num_kv_heads", "n_embd": "d_model", "dim": "d_model",
    "hidden_size": "d_model", "d_mlp": "d_ff", "intermediate_size": "d_ff", "block_size": "sequence_length",
    "n_ctx": "sequence_length", "context_length": "sequence_length", "max_iters": "max_steps", "lr": "learning_rate",
    "eval_interval": "eval_steps", "gradient_accumulation_steps": "accumulation_steps", "warmup_iters": "warmup_steps",
    "min_lr": "min_learning_rate_ratio", "max_length": "max_new_tokens", "epochs": "max_steps",
}  # fmt: skip
"""What other code bases call our fields, so that a wrong key is answered with the right one."""


DEVICES = "auto, cpu, cuda, cuda:0 (or another number) or mps"
"""What `device` may be."""
TRACKERS = "wandb, tensorboard, a list of them, or an empty list"
"""What `training.track` may be."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Build a section in code; a wrong value is a ConfigError, as it is in a settings file."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            section = next((name for name, cls in SECTIONS.items() if cls is type(self)), "")
            raise _explained(error, type(self).__name__, section) from None

    # Pydantic's own name for an __init__ that adds nothing to validation: inside RunConfig, and where `_build` asks, a
    # section is validated without it, so that a complaint keeps its whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for numbers; Python would read them as 1 and 0."""
        if isinstance(value, bool) and _kinds(cls.model_fields[str(info.field_name)].annotation) & {int, float}:
            raise ValueError("a number")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """Return the plain types that a field may hold: {int, NoneType} for `int | None`."""
    return set(get_args(annotation)) or {annotation}


class TransformerConfig(_Section):
    """The shape of the model. `vocab_size` is not here: it comes from the tokenizer."""

    num_layers: Annotated[int, Field(ge=1, le=96)] = 4
    """Blocks, one above the other."""
    num_heads: Annotated[int, Field(ge=1, le=128)] = 4
    """Attention heads in each block; d_model must be divisible by it."""
    num_kv_heads: Annotated[int | None, Field(ge=1, le=128)] = None
    """Key/value heads, each shared by num_heads / num_kv_heads query heads; empty: as many as num_heads."""
    d_model: Annotated[int, Field(ge=4, le=16384)] = 128
    """Width of the residual stream: how many numbers describe one position."""
    d_ff: Annotated[int | None, Field(ge=1, le=65536)] = None
    """Width of the feed-forward layer; empty: four times d_model."""
    sequence_length: Annotated[int, Field(ge=2, le=1_048_576)] = 64
    """Context: how many tokens the model sees at once."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of embeddings and of block outputs that training sets to zero."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of attention weights that training sets to zero; leaves the fast attention path, so it costs time."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """Normalisation: by the root mean square alone, or by mean and variance."""
    norm_gain: bool = True
    """Whether norms have learned weights, one a coordinate; LayerNorm always has."""
    qk_norm: bool = False
    """Whether each query and each key is brought to a common length before they are compared."""
    convolution: Annotated[int, Field(ge=0, le=16)] = 0
    """Positions that each layer's input is blended over, itself and those just before it; 0 or 1: itself alone."""
    positions: Literal["learned", "rotary"] = "rotary"
    """How the model knows where a token stands: a learned vector a position, or rotation of queries and keys."""
    activation: Literal["gelu", "relu", "relu2", "swiglu", "none"] = "gelu"
    """Non-linearity of the feed-forward layer; swiglu has a third matrix, none makes the layer linear."""
    initialization: Literal["gpt2", "identity"] = "gpt2"
    """How weights start: all small, or so that each block at first adds nothing and the rest keeps lengths."""
    causal: bool = True
    """Whether a position sees only itself and what came before; false lets it see what it is to predict."""
    bias: bool = False
    """Whether linear layers and LayerNorm carry a bias."""
    tie_embeddings: bool = True
    """Whether reading a token in and writing it out share one matrix."""

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Key/value heads, resolved."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def ff_width(self) -> int:
        """Width of the feed-forward layer, resolved."""
        return 4 * self.d_model if self.d_ff is None else self.d_ff

    @model_validator(mode="after")
    def _check(self) -> TransformerConfig:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}; with this width num_heads can "
                f"be {self._head_counts()}"
            )
        if self.norm == "layernorm" and not self.norm_gain:
            raise ValueError("norm is layernorm, which always has learned weights, but norm_gain is false")
        if self.num_heads % self.kv_heads:
            fits = [n for n in range(1, self.num_heads + 1) if self.num_heads % n == 0]
            raise ValueError(
                f"num_heads {self.num_heads} is not divisible by num_kv_heads {self.num_kv_heads}; num_kv_heads can be "
                f"{_listed(fits)}"
            )
        if self.positions == "rotary" and self.d_head % 2:
            mend = f"num_heads can be {self._head_counts()}" if self.d_model % 2 == 0 else "d_model can be even"
            raise ValueError(
                f"rotary positions turn pairs of numbers, but each head is {self.d_head} wide, which is odd (d_model "
                f"{self.d_model} / num_heads {self.num_heads}); {mend}, or positions can be learned"
            )
        return self

    def _head_counts(self) -> str:
        """Name the numbers of heads that go with the width, those nearest to the one given."""
        pair = 2 if self.positions == "rotary" and self.d_model % 2 == 0 else 1
        fits = [n for n in range(1, min(self.d_model, 128) + 1) if self.d_model % (n * pair) == 0]
        return _listed(sorted(sorted(fits, key=lambda n: abs(n - self.num_heads))[:3]))


def _listed(values: Iterable[object]) -> str:
    """Write alternatives in words.

    >>> _listed([1, 2, 4])
    '1, 2 or 4'
    """
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


class TokenizerConfig(_Section):
    """How text is cut into tokens."""

    kind: Literal["character"] = "character"
    """One token a character."""


class DataConfig(_Section):
    """What is read and how it is cut into windows."""

    paths: tuple[Path, ...] = ()
    """Text files to learn from, one document each; empty where the corpus was given otherwise."""
    corpus: str | None = None
    """Name of a built-in corpus, for example tales; used when no paths are given."""
    num_chars: Annotated[int | None, Field(ge=1)] = None
    """Characters to use, from the start of the corpus; empty: all, of the endless tales 500,000."""
    clean: bool = True
    """Whether line ends, control characters and Unicode forms are made uniform first."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the tokens, at the end of the corpus, that is never trained on."""
    max_validation_tokens: Annotated[int | None, Field(ge=1)] = 2_000_000
    """Most tokens that go there, of however long a corpus, since all of them are measured; empty: no bound."""
    stride: Annotated[int | None, Field(ge=1)] = None
    """Tokens between the starts of two training windows; empty: 1, every window."""
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that gather batches; 0 gathers them in the training thread, which was the fastest."""

    @field_validator("paths", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        """Make paths absolute; one path may stand for a list of one."""
        if isinstance(value, str | Path):
            value = (value,)
        if not isinstance(value, list | tuple):
            return value
        try:
            return tuple(Path(item).expanduser().resolve() if isinstance(item, str | Path) else item for item in value)
        except (OSError, RuntimeError, ValueError):  # no such home folder, a NUL, a loop of links
            raise ValueError("a path, or a list of paths, that this machine can have") from None

    @field_serializer("paths")
    def _as_text(self, value: tuple[Path, ...]) -> list[str]:
        return [str(path) for path in value]


class TrainingConfig(_Section):
    """How the weights are learned."""

    max_steps: Annotated[int, Field(ge=1, le=100_000_000)] = 1000
    """Weight updates in all."""
    max_seconds: Annotated[float | None, Field(gt=0)] = None
    """Training time; measured during the first steps and then written down as max_steps."""
    batch_size: Annotated[int, Field(ge=1, le=1_048_576)] = 16
    """Windows in one update, over all micro-batches and processes."""
    accumulation_steps: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Micro-batches that one update is computed in; saves memory, changes nothing else."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Highest learning rate."""
    min_learning_rate_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Where the schedule ends, as a share of the highest learning rate."""
    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"
    """How gradients become updates; muon takes the blocks' matrices and leaves the rest to AdamW."""
    muon_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Muon: highest learning rate of the matrices; learning_rate is then that of the rest."""
    muon_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Muon: how slowly the mean of the gradients forgets."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW: how slowly the mean of the gradients forgets; SGD: the same for its momentum."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """AdamW: how slowly the mean of their squares forgets."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Pull of weight matrices towards zero; biases and norms are left alone."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape of the learning rate after the warm-up; wsd holds it and brings it down at the end alone."""
    cooldown_steps: Annotated[int | None, Field(ge=0)] = None
    """Steps at the end over which wsd brings the learning rate down; empty: a fifth of max_steps."""
    warmup_steps: Annotated[int | None, Field(ge=0)] = None
    """Steps over which the learning rate rises from zero; empty: a tenth of max_steps, at most 100."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Longest gradient let through, longer ones are shortened; 0 lets every one through."""
    eval_steps: Annotated[int, Field(ge=0)] = 100
    """Steps between two measurements on the validation part; 0 measures only at the end."""
    eval_batches: Annotated[int, Field(ge=1)] = 20
    """Batches in one such measurement; the last one is over the whole validation part."""
    checkpoint_steps: Annotated[int, Field(ge=0)] = 200
    """Steps between two checkpoints; 0 saves only at the end."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Rolling checkpoints kept beside the best one."""
    history_per_octave: Annotated[int, Field(ge=0, le=64)] = 4
    """Half-precision weights kept for each doubling of the step, to look back at; 0 keeps none."""
    history_megabytes: Annotated[float, Field(ge=0)] = 64.0
    """Disk that this history may take."""
    sample_steps: Annotated[int, Field(ge=0)] = 100
    """Steps between two samples of text; 0 writes none."""
    sample_prompt: str = ""
    """What those samples begin with."""
    sample_tokens: Annotated[int, Field(ge=1, le=4096)] = 160
    """Length of those samples."""
    loss_ema: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """How slowly the smoothed loss forgets."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "auto"] = "float32"
    """Numbers in matrix products; tf32: rounded to 10 bits; auto: bfloat16 if fast; tf32, float16: NVIDIA GPUs only."""
    compile: bool = False
    """Whether the model is compiled first, which takes up to a minute and pays on long runs; needs a compiler."""
    weights_ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How slowly a running mean of the weights forgets, which is measured and used in their place; 0 keeps none."""
    early_stopping: Annotated[int, Field(ge=0)] = 0
    """Measurements in a row without a new best one after which the training ends; 0 goes on to the last step."""
    norm_steps: Annotated[int | None, Field(ge=0)] = None
    """Steps between two looks at each layer's gradient and update; 0 takes none; empty: with each measurement."""
    track: tuple[Literal["wandb", "tensorboard"], ...] = ()
    """Where measurements go besides the run's own files: wandb sends them to Weights & Biases; empty: nowhere."""
    num_threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Processor threads; part of the numbers, so it is settled once and stored; empty: settled by the program."""

    @field_validator("track", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """Let one name, or names with commas between them, stand for a list; each once."""
        names = [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or any(name not in ("wandb", "tensorboard") for name in names):
            raise ValueError(TRACKERS)
        return tuple(dict.fromkeys(names))

    @property
    def warmup(self) -> int:
        """Steps over which the learning rate rises, resolved."""
        return min(100, self.max_steps // 10) if self.warmup_steps is None else self.warmup_steps

    @property
    def cooldown(self) -> int:
        """Steps over which wsd brings the learning rate down, resolved."""
        return self.max_steps // 5 if self.cooldown_steps is None else self.cooldown_steps


class GenerationConfig(_Section):
    """How text is written; nothing given is greedy."""

    max_new_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """Tokens to write at most."""
    temperature: Annotated[float | None, Field(ge=0, le=100)] = None
    """Below 1 bolder, above 1 wilder; 0 always takes the likeliest token."""
    top_k: Annotated[int | None, Field(ge=1)] = None
    """Keep the k likeliest tokens."""
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    """Keep the fewest tokens that together have this probability."""
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Keep tokens at least this share as likely as the likeliest."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the writing; they are not part of the result."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """Let one text stand for a list of one."""
        return (value,) if isinstance(value, str) else value


SECTIONS: dict[str, type[_Section]] = {
    "model": TransformerConfig,
    "tokenizer": TokenizerConfig,
    "data": DataConfig,
    "training": TrainingConfig,
    "generation": GenerationConfig,
}


class RunConfig(_Section):
    """Everything that decides a run, but for the corpus itself."""

    preset: str | None = None
    """Preset that these settings started from."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Where all chance comes from; the same seed gives the same run."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:0 (or another number) or mps."""
    model: TransformerConfig = TransformerConfig()
    """The shape of the model."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """How text is cut into tokens."""
    data: DataConfig = DataConfig()
    """What is read and how it is cut into windows."""
    training: TrainingConfig = TrainingConfig()
    """How the weights are learned."""
    generation: GenerationConfig = GenerationConfig()
    """How text is written."""

    @field_validator("device")
    @classmethod
    def _is_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?|mps", value):
            raise ValueError(DEVICES)
        return value

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        training = self.training
        if training.accumulation_steps > training.batch_size:
            raise ValueError(
                f"training.accumulation_steps {training.accumulation_steps} is more than training.batch_size "
                f"{training.batch_size}, so some micro-batches would be empty"
            )
        if training.max_seconds is None and training.warmup > training.max_steps:
            raise ValueError(
                f"training.warmup_steps {training.warmup} is more than training.max_steps {training.max_steps}, "
                "so the learning rate would never reach its height"
            )
        if training.early_stopping and not training.eval_steps:
            raise ValueError(
                f"training.early_stopping {training.early_stopping} counts measurements, but training.eval_steps 0 "
                "makes none before the end"
            )
        return self

    def updated(self, changes: Mapping[str, Any], *, source: str = "the changes") -> RunConfig:
        """Return a copy with some dotted fields changed, checked anew.

        Args:
            changes: Dotted field to value, for example `{"training.max_steps": 50, "seed": 3}`.
            source: Where the changes come from, for messages.

        Raises:
            ConfigError: A field is unknown or a value is not allowed.
        """
        return _build(_merge(self.model_dump(), _nest(dict(changes), source)), source)


def _field_names() -> dict[str, list[str]]:
    """Map each plain field name to every dotted name it stands for."""
    names: dict[str, list[str]] = {name: [name] for name in RunConfig.model_fields if name not in SECTIONS}
    for section, cls in SECTIONS.items():
        for field in cls.model_fields:
            names.setdefault(field, []).append(f"{section}.{field}")
    return names


def dotted_fields() -> list[str]:
    """Return the dotted name of every field, in the order of the sections.

    >>> dotted_fields()[:4]
    ['preset', 'seed', 'device', 'model.num_layers']
    """
    return [dotted for names in _field_names().values() for dotted in names]


def field_info(dotted: str) -> Any:
    """Return pydantic's description of a field: `.description`, `.default`, `.metadata` (bounds), `.annotation`.

    Args:
        dotted: For example `training.max_steps`.

    Raises:
        ConfigError: There is no such field.
    """
    section, _, field = dotted.rpartition(".")
    fields = SECTIONS.get(section, RunConfig).model_fields
    if field not in fields or (section and section not in SECTIONS):
        raise _unknown(dotted, "the code")
    return fields[field]


def field_bounds(dotted: str) -> tuple[float | None, float | None]:
    """Return the smallest and the largest allowed value of a numeric field, None where there is no bound.

    Exclusive bounds come back as they are written; a widget has to step inside them.

    >>> field_bounds("data.validation_fraction")
    (0, 1)
    """
    low: float | None = None
    high: float | None = None
    for bound in field_info(dotted).metadata:
        low = getattr(bound, "ge", getattr(bound, "gt", low))
        high = getattr(bound, "le", getattr(bound, "lt", high))
    return low, high


def _unknown(key: str, source: str) -> ConfigError:
    names = _field_names() | {section: [section] for section in SECTIONS}
    plain = key.rpartition(".")[2]
    guess = ELSEWHERE.get(plain) or plain
    if guess not in names:
        close = difflib.get_close_matches(plain, list(names), n=1, cutoff=0.6)
        guess = close[0] if close else ""
    hint = f"did you mean {' or '.join(names[guess])}?" if guess in names else "`minigpt config` lists all settings."
    return ConfigError(f"{source}: there is no setting {key}.", mend=hint[0].upper() + hint[1:])


def _nest(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Turn sectioned, flat or dotted keys into sections; a flat key must name one field only."""
    names = _field_names()
    nested: dict[str, Any] = {}
    for key, value in values.items():
        if key in SECTIONS:
            if value is None:  # a section whose lines are all commented out
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{source}: {key} is {value!r}; it must be a section of settings.",
                    mend=f"Write {key}: on a line of its own and its settings below it, indented.",
                )
            for field, inner in value.items():
                if field not in SECTIONS[key].model_fields:
                    raise _unknown(f"{key}.{field}", source)
                nested.setdefault(key, {})[field] = inner
            continue
        section, _, field = key.rpartition(".")
        if section:
            if section not in SECTIONS or field not in SECTIONS[section].model_fields:
                raise _unknown(key, source)
            nested.setdefault(section, {})[field] = value
            continue
        dotted = names.get(key)
        if dotted is None:
            raise _unknown(key, source)
        if len(dotted) > 1:
            raise ConfigError(f"{source}: {key} could be {' or '.join(dotted)}.", mend="Write the one you mean.")
        section, _, field = dotted[0].rpartition(".")
        if section:
            nested.setdefault(section, {})[field] = value
        else:
            nested[field] = value
    return nested


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `above` over `below`, section by section."""
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in below.items()}
    for key, value in above.items():
        if isinstance(value, Mapping):
            merged[key] = {**merged.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def _build(values: Mapping[str, Any], source: str) -> RunConfig:
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise _explained(error, source) from None


def _explained(error: ValidationError, source: str, section: str = "") -> ConfigError:
    """Say pydantic's first complaint in our words; the others follow once it is mended."""
    detail = error.errors()[0]
    dotted = ".".join(str(part) for part in (section, *detail["loc"]) if part != "" and not isinstance(part, int))
    if detail["type"] == "extra_forbidden":
        return _unknown(dotted, source)
    if dotted in SECTIONS and "error" not in detail.get("ctx", {}):
        return ConfigError(
            f"{source}: {dotted} is {str(detail['input'])[:80]!r}; it must be a section of settings.",
            mend=f"Give a {SECTIONS[dotted].__name__} or a mapping from its settings to values.",
        )
    more = f" ({len(error.errors()) - 1} more to mend after it.)" if len(error.errors()) > 1 else ""
    if dotted not in dotted_fields():  # two settings at odds
        mend = f"Change one of them{f' in section {dotted}' if dotted else ''}.{more}"
        return ConfigError(f"{source}: {detail['ctx']['error']}.", mend=mend)
    given = "empty" if detail["input"] is None else repr(detail["input"])
    given = given if len(given) <= 80 else given[:77] + "..."
    default = field_info(dotted).default
    usual = "" if default in (None, (), "") else f"; the default is {default}"
    problem = f"{source}: {dotted} is {given}; it must be {_allowed(dotted, dict(detail))}."
    return ConfigError(problem, mend=f"Correct it or leave it out{usual}.{more}")


def allowed_values(dotted: str) -> str:
    """Say what a field may hold, for people to read.

    Raises:
        ConfigError: There is no such field.

    >>> allowed_values("training.batch_size")
    'a whole number, at least 1 and at most 1048576'
    >>> allowed_values("model.norm")
    'rmsnorm or layernorm'
    """
    annotation = field_info(dotted).annotation
    if get_origin(annotation) is Literal:
        return _listed(get_args(annotation))
    said = {"device": DEVICES, "training.track": TRACKERS}
    return said.get(dotted) or _allowed(dotted, {"type": ""})


def _allowed(dotted: str, detail: Mapping[str, Any]) -> str:
    """Say what a field may hold: its type, and its bounds where it has any."""
    if detail["type"] == "value_error":  # from a validator of ours, whose message says what is allowed
        allowed = str(detail["ctx"]["error"])
    elif detail["type"] == "literal_error":
        allowed = str(detail["ctx"]["expected"])
    else:
        kinds = _kinds(field_info(dotted).annotation)
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text, in quotes if need be"}
        allowed = next((name for kind, name in names.items() if kind in kinds), "a list of texts, none of them empty")
        allowed = "a list of paths" if dotted == "data.paths" else allowed
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [
        f"{word} {getattr(bound, name)}"
        for bound in field_info(dotted).metadata
        for name, word in words.items()
        if hasattr(bound, name)
    ]
    return f"{allowed}, {' and '.join(bounds)}" if bounds else allowed


class _Repeated(yaml.YAMLError):
    """A key stands twice in one mapping."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"{key} stands twice, again at line {line}")
        self.key, self.line = key, line


class _Loader(yaml.SafeLoader):
    """Reads 3e-4 as a number; YAML 1.1 wants a dot in it and people do not write one. Refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _Repeated(key.value, key.start_mark.line + 1)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _load_yaml(text: str) -> Any:
    """Read YAML; whatever is wrong with it is a YAMLError."""
    try:
        return _Loader(text).get_single_data()
    except (ValueError, RecursionError) as error:  # a date such as 2024-99-99, brackets without end
        raise yaml.YAMLError(str(error)) from None


def _parse_scalar(text: str, dotted: str, source: str) -> Any:
    """Read one value as YAML does; but a setting that holds text takes it as it is, unless it is in quotes."""
    names = _field_names().get(dotted.rpartition(".")[2], [])
    kinds = _kinds(field_info(names[0]).annotation) if names else set()
    if str in kinds and not text.startswith(('"', "'")):
        return text or (None if type(None) in kinds else "")
    try:
        return _load_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"{source}: {text!r} cannot be read as a value.", mend="Put it in quotes.") from None


def parse_assignments(assignments: Iterable[str], *, source: str = "--set") -> dict[str, Any]:
    """Read `section.key=value` texts into a mapping from dotted field to value.

    Raises:
        ConfigError: A text has no `=`.

    >>> parse_assignments(["training.learning_rate=3e-4"])
    {'training.learning_rate': 0.0003}
    """
    values: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"{source}: {text!r} has no value.", mend="Write it as section.key=value.")
        values[key.strip()] = _parse_scalar(value, key.strip(), f"{source} {key.strip()}")
    return values


def environment_values(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read `MINIGPT__SECTION__KEY` variables into a mapping from dotted field to value.

    >>> environment_values({"MINIGPT__TRAINING__MAX_STEPS": "50", "MINIGPT__SEED": "7"})
    {'training.max_steps': 50, 'seed': 7}
    """
    values: dict[str, Any] = {}
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            dotted = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            values[dotted] = _parse_scalar(value, dotted, name)
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file, sectioned or flat, into sections; nothing is checked against bounds yet.

    Raises:
        ConfigError: The file cannot be read, is no YAML, or names an unknown setting.
    """
    try:
        values = _load_yaml(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", mend="Check the path.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8.", mend="Save it as UTF-8.") from None
    except _Repeated as error:
        raise ConfigError(
            f"{path}: {error.key} stands twice in one section, again at line {error.line}.",
            mend="Keep the one you mean.",
        ) from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"{path} is not valid YAML{line}.", mend="Write lines such as max_steps: 100.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings.", mend="Write lines such as max_steps: 100.")
    return _nest({str(key): value for key, value in values.items()}, str(path))


def load_config(
    source: Path | str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> RunConfig:
    """Join every source of settings into one checked `RunConfig`.

    Args:
        source: A YAML file, the name of a preset, or None for the defaults.
        overrides: Dotted field to value, strongest of all (`--set`, `--seed`, `--device`).
        environment: Variables to read instead of the process's own.

    Raises:
        ConfigError: Something is unknown, out of range, or at odds with something else.
    """
    values: dict[str, Any] = {}
    above = _nest(overrides or {}, "--set")
    origin = "the settings"
    if source is not None:
        path, exists = Path(source), False
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a name no file can have, no such home folder
            path = path.expanduser()
            exists = path.exists()
        is_preset = str(source) in resources.preset_names() and not path.is_file()
        if not is_preset and not exists:
            shown = str(source) if len(str(source)) <= 80 else str(source)[:77] + "..."
            raise ConfigError(
                f"There is no settings file and no preset {shown!r}.",
                mend=f"Presets are {', '.join(resources.preset_names())}.",
            )
        origin = f"preset {source}" if is_preset else str(path)
        values = read_yaml(resources.preset_path(str(source)) if is_preset else path)
        if is_preset:
            values["preset"] = str(source)
    from_environment = _nest(environment_values(environment), "the environment")
    preset = above.get("preset") or from_environment.get("preset") or values.get("preset")
    if preset is not None and preset != source:
        if preset not in resources.preset_names():
            raise ConfigError(
                f"{origin}: there is no preset {preset!r}.",
                mend=f"Presets are {', '.join(resources.preset_names())}.",
            )
        values = _merge(_without_corpus(preset, values, from_environment, above), {**values, "preset": preset})
    elif preset is not None:
        values = {**_without_corpus(preset, from_environment, above), "preset": preset}
    if from_environment:
        values = _merge(values, from_environment)
        origin += " with the environment"
    if above:
        values = _merge(values, above)
        origin += " with --set"
    return _build(values, origin)


def _without_corpus(preset: str, *above: Mapping[str, Any]) -> dict[str, Any]:
    """Read a preset; texts of one's own take the place of its corpus altogether, its length included."""
    values = read_yaml(resources.preset_path(preset))
    if any((layer.get("data") or {}).get("paths") for layer in above):
        values["data"] = {name: value for name, value in values["data"].items() if name not in ("corpus", "num_chars")}
    return values


def dump_yaml(config: RunConfig, *, comments: bool = True) -> str:
    """Write a configuration as YAML that `load_config` reads back to an equal one.

    Args:
        config: What to write.
        comments: Whether each field's description stands above it.
    """
    lines: list[str] = []
    values = config.model_dump(mode="json")

    def put(cls: type[_Section], fields: Mapping[str, Any], indent: str) -> None:
        for name, value in fields.items():
            if comments:
                lines.append(f"{indent}# {cls.model_fields[name].description}")
            lines.append(f"{indent}{name}: {_as_yaml(value)}")

    put(RunConfig, {name: value for name, value in values.items() if name not in SECTIONS}, "")
    for section, cls in SECTIONS.items():
        lines.append("")
        if comments:
            lines.append(f"# {RunConfig.model_fields[section].description}")
        lines.append(f"{section}:")
        put(cls, values[section], "  ")
    return "\n".join(lines) + "\n"


def _as_yaml(value: Any) -> str:
    """Write one value on one line, texts in double quotes with everything odd escaped."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, str):
        return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))).rstrip("\n")
    return json.dumps(value)
