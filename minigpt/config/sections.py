"""The sections of the configuration; each field's docstring is its only description.

Reads after: fields.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_serializer, field_validator, model_validator

from minigpt.config.fields import (
    DEVICES,
    TRACKERS,
    Section,
    check_part,
    explain_error,
    explain_fields,
    join_or,
    merge,
    nest,
)
from minigpt.errors import InputError
from minigpt.paths import user_path

MOST = 2**63 - 1
"""Largest whole number of 64 bits; the bound of seeds, and of counts that need no other."""


class TransformerConfig(Section):
    """The shape of the model. `vocab_size` is not here: it comes from the tokenizer."""

    section = "model"

    num_layers: Annotated[int, Field(ge=1, le=96)] = 4
    """Blocks, one above the other."""
    num_heads: Annotated[int, Field(ge=1, le=128)] = 4
    """Attention heads in each block; d_model must be divisible by it."""
    num_kv_heads: Annotated[int | None, Field(ge=1, le=128)] = None
    """Key/value heads, each shared by num_heads / num_kv_heads query heads; empty: as many as num_heads."""
    d_model: Annotated[int, Field(ge=4, le=16384)] = 128
    """Width of the residual stream: how many numbers describe one position."""
    d_ff: Annotated[int | None, Field(ge=0, le=65536)] = None
    """Width of the feed-forward layer; empty: four times d_model; 0: blocks without a feed-forward layer."""
    sequence_length: Annotated[int, Field(ge=2, le=1_048_576)] = 64
    """Context: how many tokens the model sees at once."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of embeddings and of layer outputs that training sets to zero at random."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of attention weights that training sets to zero; slower, since the fused attention cannot do it."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """Normalisation: by the root mean square alone, or by mean and variance."""
    norm_gain: bool = True
    """Whether norms have a learned weight per coordinate; LayerNorm always has."""
    norm_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """What norms add under the root, so that they never divide by zero."""
    norm_position: Literal["pre", "post", "none"] = "pre"
    """Where norms are: pre, before each layer and at the end; post, after each sum; none, nowhere."""
    residual: bool = True
    """Whether a layer's output is added to the stream; false: it replaces the stream."""
    qk_norm: bool = False
    """Whether queries and keys are brought to the same length before they are compared."""
    logit_cap: Annotated[float | None, Field(gt=0, le=10_000)] = None
    """Bound of attention scores, which approach it smoothly: cap times tanh(score / cap); empty: no bound."""
    attention_window: Annotated[int | None, Field(ge=1, le=1_048_576)] = None
    """How many of the latest positions a position sees, itself included; empty: all of the context."""
    convolution: Annotated[int, Field(ge=0, le=16)] = 0
    """Width of a short convolution before each layer, over a position and those just before it; 0 or 1: none."""
    block: Literal["usual"] | str = "usual"
    """What a block computes: usual, attention and then feed-forward; own:NAME, a block of your own."""
    positions: Literal["learned", "sinusoidal", "rotary", "alibi", "none"] | str = "rotary"
    """How it knows places: a vector per position, learned or of sines; rotated queries and keys; scores that fall."""
    rotary_base: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0
    """Base of the rotation angles of rotary positions; larger ones turn more slowly, for longer contexts."""
    rotary_factor: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """How many times slower rotary positions turn, so that a longer context looks like the one of the training."""
    rotary_length: Annotated[int | None, Field(ge=1, le=1_048_576)] = None
    """Context of the first training, as in Llama 3: pairs that turn fast within it stay; empty: all turn slower."""
    rotary_low: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Pairs that turn less often than this within rotary_length turn slower by rotary_factor."""
    rotary_high: Annotated[float, Field(gt=0, le=1e6)] = 4.0
    """Pairs that turn more often than this within rotary_length stay; in between the factor rises gradually."""
    activation: Literal["gelu", "gelu_tanh", "relu", "relu2", "swiglu", "none"] = "gelu"
    """Non-linearity of the feed-forward layer; gelu_tanh is GPT-2's, swiglu adds a third matrix, none is linear."""
    initialization: Literal["gpt2", "torch", "identity"] = "gpt2"
    """How weights start: gpt2 small random ones; torch as torch does; identity so that blocks add nothing at first."""
    causal: bool = True
    """Whether a position sees only itself and earlier ones; false lets it see the token that it has to predict."""
    bias: bool = False
    """Whether linear layers and LayerNorm have a bias."""
    tie_embeddings: bool = True
    """Whether the embedding and the output layer share one matrix."""

    @field_validator("block", "positions", mode="before")
    @classmethod
    def _one_of_ours_or_own(cls, value: Any, info: ValidationInfo) -> Any:
        return check_part(f"model.{info.field_name}", value)

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

    @property
    def visible_length(self) -> int:
        """How many positions one position can see at most, itself included."""
        window = self.attention_window or self.sequence_length
        return min(self.sequence_length, window if self.causal else 2 * window - 1)

    @property
    def has_feedforward(self) -> bool:
        """Whether blocks have a feed-forward layer."""
        return self.ff_width > 0

    @model_validator(mode="after")
    def _check(self) -> TransformerConfig:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}; with this width num_heads can "
                f"be {self._head_counts()}"
            )
        if self.rotary_low >= self.rotary_high:
            raise ValueError(
                f"rotary_low {self.rotary_low:g} must be less than rotary_high {self.rotary_high:g}, since pairs "
                "between them are slowed down in part"
            )
        if self.norm == "layernorm" and not self.norm_gain:
            raise ValueError("norm is layernorm, which always has learned weights, but norm_gain is false")
        if self.num_heads % self.kv_heads:
            fits = [n for n in range(1, self.num_heads + 1) if self.num_heads % n == 0]
            raise ValueError(
                f"num_heads {self.num_heads} is not divisible by num_kv_heads {self.num_kv_heads}; num_kv_heads can be "
                f"{join_or(fits)}"
            )
        if self.positions == "rotary" and self.d_head % 2:
            mend = f"num_heads can be {self._head_counts()}" if self.d_model % 2 == 0 else "d_model can be even"
            raise ValueError(
                f"rotary positions turn pairs of numbers, but each head is {self.d_head} wide, which is odd (d_model "
                f"{self.d_model} / num_heads {self.num_heads}); {mend}, or positions can be learned, sinusoidal, alibi "
                "or none"
            )
        if self.initialization == "identity" and not self.residual:
            raise ValueError(
                "initialization is identity, so every block starts with the output 0, and residual is false, so "
                "nothing else reaches the next block; initialization can be gpt2 or torch, or residual can be true"
            )
        return self

    def _head_counts(self) -> str:
        """Name the numbers of heads that go with the width, those nearest to the one given."""
        pair = 2 if self.positions == "rotary" and self.d_model % 2 == 0 else 1
        fits = [n for n in range(1, min(self.d_model, 128) + 1) if self.d_model % (n * pair) == 0]
        return join_or(sorted(sorted(fits, key=lambda n: abs(n - self.num_heads))[:3]))


class TokenizerConfig(Section):
    """How text is cut into tokens."""

    section = "tokenizer"

    kind: Literal["character", "byte", "bpe"] = "character"
    """What a token is: a character, a byte, or with bpe a sequence of bytes that occurs often."""
    num_merges: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Tokens that bpe learns by merging, besides 256 bytes and 4 special tokens; fewer if no pair occurs twice."""
    path: Path | None = None
    """A tokenizer.json of a run or of Hugging Face to use as it is; it sets kind; empty: one is learned."""

    @field_validator("path", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        """Make the path absolute; an empty text is no path."""
        try:
            return (user_path(value, for_reading=False) if value else None) if isinstance(value, str | Path) else value
        except InputError:
            raise ValueError("a path that this machine can have, or empty") from None

    @field_serializer("path")
    def _as_text(self, value: Path | None) -> str | None:
        return None if value is None else str(value)


Encoding = Literal[
    "auto",
    "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1252", "cp1250", "iso8859-2", "cp1251",
    "koi8-r", "koi8-u", "cp866", "iso8859-5", "mac-cyrillic", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "cp874", "mac-roman", "cp850", "cp437", "shift-jis", "euc-jp", "euc-kr", "gb18030", "big5",
]  # fmt: skip
"""How `data.encoding` may be set; `minigpt.data.encodings.ENCODINGS` says what each is."""


class DataConfig(Section):
    """What is read and how it is cut into windows."""

    section = "data"

    paths: tuple[Path, ...] = ()
    """Text files to learn from, one document each; empty if the corpus is given in another way."""
    corpus: str | None = None
    """Name of a built-in corpus, for example tales; used when no paths are given."""
    encoding: Encoding = "auto"
    """Character encoding of text files; auto recognises Unicode and guesses others, and says what it guessed."""
    column: str = ""
    """Column of a CSV table, or key of JSON lines, to read, * for whole lines; empty: the one with the most text."""
    num_chars: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """Characters to use, from the start of the corpus; empty: all, or 500,000 of the endless tales."""
    clean: bool = True
    """Whether line ends, control characters and Unicode forms are normalised first."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the tokens that is kept for validation and never trained on."""
    split: Literal["end", "blocks"] = "end"
    """Where the validation part comes from: the end of the corpus, or blocks from all of it."""
    max_validation_tokens: Annotated[int | None, Field(ge=1, le=MOST)] = 2_000_000
    """Largest number of validation tokens, however long the corpus is; empty: no limit."""
    stride: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """Tokens between the starts of two training windows; empty: 1, so that every window is used."""
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that gather batches; 0 gathers them in the training thread, which measured fastest."""

    @field_validator("paths", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        """Make paths absolute; one path may stand for a list of one."""
        if isinstance(value, str | Path):
            value = (value,)
        if not isinstance(value, list | tuple):
            return value
        try:
            return tuple(user_path(item) if isinstance(item, str | Path) else item for item in value)
        except InputError:
            raise ValueError("a path, or a list of paths, that this machine can have") from None

    @field_serializer("paths")
    def _as_text(self, value: tuple[Path, ...]) -> list[str]:
        return [str(path) for path in value]


class TrainingConfig(Section):
    """How the weights are learned."""

    section = "training"

    max_steps: Annotated[int, Field(ge=1, le=100_000_000)] = 1000
    """Number of weight updates."""
    max_seconds: Annotated[float | None, Field(gt=0, le=10**9)] = None
    """Training time in seconds; turned into max_steps after the first steps have been timed."""
    batch_size: Annotated[int, Field(ge=1, le=1_048_576)] = 16
    """Windows per update, over all micro-batches and processes."""
    accumulation_steps: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Micro-batches per update; more of them save memory and change nothing else."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Peak learning rate."""
    min_learning_rate_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Learning rate at the end of the schedule, as a fraction of the peak."""
    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"
    """How gradients become updates; muon updates the blocks' matrices and leaves the rest to AdamW."""
    muon_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Muon: peak learning rate of the matrices; learning_rate is then that of the rest."""
    muon_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Muon: momentum, the decay of the running mean of gradients."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW: decay of the running mean of gradients; SGD: its momentum."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """AdamW: decay of the running mean of squared gradients."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """How strongly weight matrices are pulled towards zero; biases and norms are not."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape of the learning rate after the warm-up; wsd keeps it constant and lowers it only at the end."""
    cooldown_steps: Annotated[int | None, Field(ge=0, le=MOST)] = None
    """Steps at the end over which wsd lowers the learning rate; empty: a fifth of max_steps."""
    warmup_steps: Annotated[int | None, Field(ge=0, le=MOST)] = None
    """Steps over which the learning rate rises from zero; empty: a tenth of max_steps, at most 100."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients longer than this are scaled down to this length; 0 never scales them down."""
    eval_steps: Annotated[int, Field(ge=0, le=MOST)] = 100
    """Steps between two evaluations on the validation part; 0 evaluates only at the end."""
    eval_batches: Annotated[int, Field(ge=1, le=MOST)] = 20
    """Batches per evaluation; the last evaluation covers the whole validation part."""
    checkpoint_steps: Annotated[int, Field(ge=0, le=MOST)] = 200
    """Steps between two checkpoints; 0 saves only at the end."""
    keep_checkpoints: Annotated[int, Field(ge=1, le=MOST)] = 2
    """Latest checkpoints that are kept, besides the best one."""
    history_per_octave: Annotated[int, Field(ge=0, le=64)] = 4
    """Snapshots of the weights kept per doubling of the step, in half precision, to look back at; 0 keeps none."""
    history_megabytes: Annotated[float, Field(ge=0, le=10**12)] = 64.0
    """Most disk space for these snapshots, in MB."""
    sample_steps: Annotated[int, Field(ge=0, le=MOST)] = 100
    """Steps between two samples of text; 0 writes none."""
    sample_prompt: str = ""
    """Prompt of these samples."""
    sample_tokens: Annotated[int, Field(ge=1, le=4096)] = 160
    """Tokens per sample."""
    loss_ema: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the running mean that smooths the loss; closer to 1 is smoother."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "auto"] = "float32"
    """Numbers in matrix products; tf32: rounded to 10 bits; auto: bfloat16 if fast; tf32, float16: NVIDIA GPUs only."""
    compile: bool = False
    """Whether the model is compiled first, which takes up to a minute and pays off in long runs; needs a compiler."""
    weights_ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a running mean of the weights, which is evaluated and used in their place; 0 keeps none."""
    early_stopping: Annotated[int, Field(ge=0, le=MOST)] = 0
    """Evaluations in a row without a new best loss after which training ends; 0 trains to the last step."""
    norm_steps: Annotated[int | None, Field(ge=0, le=MOST)] = None
    """Steps between two recordings of each layer's gradient and update; 0: none; empty: at each evaluation."""
    track: tuple[Literal["wandb", "tensorboard"], ...] = ()
    """Where measurements go besides the run's own files: wandb sends them to Weights & Biases; empty: nowhere."""
    num_threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Processor threads. They affect rounding, so the number is stored with the run; empty: chosen automatically."""

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


class GenerationConfig(Section):
    """How text is written; greedy if nothing is given."""

    section = "generation"

    max_new_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """Largest number of tokens to write."""
    temperature: Annotated[float | None, Field(ge=0, le=100)] = None
    """Below 1 favours likely tokens, above 1 evens out the chances; 0 always takes the most likely token."""
    top_k: Annotated[int | None, Field(ge=1, le=MOST)] = None
    """Keep the k most likely tokens."""
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    """Keep the fewest tokens that together have at least this probability."""
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Keep tokens at least this fraction as likely as the most likely one."""
    sampler: Annotated[str | None, Field(max_length=1000)] = None
    """Rules in order, such as top_k=40,temperature=0.8; they replace the four settings before."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the writing; they are not part of the result."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """Let one text stand for a list of one."""
        return (value,) if isinstance(value, str) else value


class RunConfig(Section):
    """Everything that determines a run, except the corpus itself."""

    preset: str | None = None
    """Preset that these settings started from."""
    seed: Annotated[int, Field(ge=0, le=MOST)] = 0
    """Seed of all random numbers; the same seed gives the same run."""
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
                "so the learning rate would never reach its peak"
            )
        if training.early_stopping and not training.eval_steps:
            raise ValueError(
                f"training.early_stopping {training.early_stopping} counts measurements, but training.eval_steps 0 "
                "makes none before the end"
            )
        return self

    def updated(self, changes: Mapping[str, Any], *, source: str = "the changes") -> RunConfig:
        """Return a copy with some dotted fields changed; all settings are checked again.

        Args:
            changes: Dotted field to value, for example `{"training.max_steps": 50, "seed": 3}`.
            source: Where the changes come from, for messages.

        Raises:
            ConfigError: A field is unknown or a value is not allowed.
        """
        return build_config(merge(self.model_dump(), nest(dict(changes), source)), source)


def build_config(values: Mapping[str, Any], source: str) -> RunConfig:
    """Check nested values and return them as a configuration.

    Args:
        values: Section to its settings, and the settings that belong to no section.
        source: Where the values come from, for messages.

    Raises:
        ConfigError: A value is not allowed.
    """
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise explain_error(error, source, has_preset=values.get("preset") is not None) from None


def wrong_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields whose value is not allowed, each with a description of the values that are.

    Contradictions between two allowed values are not reported; `RunConfig.updated` explains these.

    Args:
        values: Dotted field to value.

    >>> wrong_fields({"training.weight_decay": -1.0, "model.norm": "rmsnorm"})
    {'training.weight_decay': 'a number, at least 0 and at most 10'}
    """
    try:
        RunConfig.model_validate(nest(values, "the values"))
    except ValidationError as error:
        return explain_fields(error)
    return {}
