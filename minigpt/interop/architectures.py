"""How models of Hugging Face's transformers correspond to ours: their `config.json`, and their tensors one by one.

| architecture | what it is here |
|---|---|
| `GPT2LMHeadModel` | LayerNorm, learned positions, no gate |
| `LlamaForCausalLM` | RMSNorm, rotary positions, SwiGLU |
| `ArceeForCausalLM` | the same without a gate |
| `ApertusForCausalLM` | the same without a gate, with normed queries and keys |

Settings of ours that have no equal there are refused by name, and so are theirs. Three things differ in the files only.
GPT-2 stores its matrices transposed. The others store queries, keys and values apart. And in their heads coordinate i
is turned together with i + K/2, in ours 2i with 2i + 1, so the rows of queries and keys change places.

Shapes: D d_model, H heads, Hkv key/value heads, K d_head, F d_ff, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minigpt.config import TransformerConfig
from minigpt.config.fields import join_or
from minigpt.errors import ConfigError, InputError
from minigpt.model.norms import EPSILON
from minigpt.model.size import tensor_shapes
from minigpt.tokenizers.huggingface import MAX_TOKENS
from minigpt.wording import quoted, visible

GPT2, LLAMA, ARCEE, APERTUS = "GPT2LMHeadModel", "LlamaForCausalLM", "ArceeForCausalLM", "ApertusForCausalLM"
ARCHITECTURES = (GPT2, LLAMA, ARCEE, APERTUS)

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
    "linear": "none",
}
"""Their name of an activation without a gate, and ours."""
_Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "relu2", "linear"]


@dataclass(frozen=True)
class Foreign:
    """A model as its `config.json` describes it.

    Attributes:
        architecture: One of `ARCHITECTURES`.
        model: The same shape in our settings.
        vocab_size: V.
        attention_bias: Whether its attention has biases.
        feedforward_bias: Whether its feed-forward layers have biases. If only one of the two has them, the biases of
            the other are zero here.
        bos_id: Id of the token that begins a text, None if it does not say.
        eos_id: Id of the token that ends a text, None if it does not say.
    """

    architecture: str
    model: TransformerConfig
    vocab_size: int
    attention_bias: bool
    feedforward_bias: bool
    bos_id: int | None = None
    eos_id: int | None = None


# -- from their configuration


class _Config(BaseModel):
    """The entries of `config.json` that all architectures share. What has no effect on the logits is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    vocab_size: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    quantization_config: Literal[None] = None

    def ids(self) -> tuple[int | None, int | None]:
        """Return the ids that begin and end a text; of several that end one, the first."""
        last = self.eos_token_id
        return self.bos_token_id, (last[0] if last else None) if isinstance(last, list) else last


class _GPT2(_Config):
    """Unlike the others, a value that is missing is that of the smallest GPT-2."""

    vocab_size: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: _Activation = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: Literal[True] = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False
    add_cross_attention: Literal[False] = False
    tie_word_embeddings: bool = True


class _Rope(BaseModel):
    """How rotary positions turn."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    rope_type: Literal["default", "linear", "llama3"] = "default"
    rope_theta: float = 10_000.0
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int | None = None
    partial_rotary_factor: Annotated[float, Field(ge=1, le=1)] = 1.0


class _Llama(_Config):
    vocab_size: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: Literal["silu", "swish"] = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    rope_theta: float = 10_000.0
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None

    def rope(self) -> _Rope:
        """Return how positions turn; before version 5 of transformers, two other entries said it."""
        given = self.rope_parameters or self.rope_scaling or {}
        if "type" in given:
            given = {"rope_type": given["type"], **given}
        return _Rope.model_validate({"rope_theta": self.rope_theta, **given})


class _Arcee(_Llama):
    hidden_act: _Activation = "relu2"  # type: ignore[assignment]
    rms_norm_eps: float = 1e-5


class _Apertus(_Llama):
    hidden_act: _Activation  # type: ignore[assignment]
    rms_norm_eps: Annotated[float, Field(ge=EPSILON, le=EPSILON)] = EPSILON
    mlp_bias: Literal[False] = False


_CONFIGS: dict[str, type[_GPT2 | _Llama]] = {GPT2: _GPT2, LLAMA: _Llama, ARCEE: _Arcee, APERTUS: _Apertus}


def read_architecture(values: Mapping[str, Any], where: str) -> Foreign:
    """Read the contents of a `config.json`.

    Args:
        values: The contents.
        where: Where they come from, for messages.

    Raises:
        InputError: It is another architecture, or has a setting that has no equal here; the message names it.
    """
    names = values.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(name, str) or name not in _CONFIGS:
        raise InputError(
            f"{where} is of the architecture {quoted(name)[:60]}; {join_or(ARCHITECTURES)} can be read."
            if name
            else f"{where} names no architecture; {join_or(ARCHITECTURES)} can be read.",
            mend="Take a model of the GPT-2 or Llama family, with its config.json as transformers wrote it.",
        )
    try:
        given = _CONFIGS[name].model_validate(values)
        bos_id, eos_id = given.ids()
        if isinstance(given, _GPT2):
            model = _from_gpt2(given)
            return Foreign(name, model, given.vocab_size, True, True, bos_id, eos_id)
        model = _from_llama(given, name, where)
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(map(str, detail["loc"]))
        raise InputError(
            f"{where}: {visible(field)} is missing."
            if detail["type"] == "missing"
            else f"{where}: {visible(field)} is {quoted(detail['input'])[:60]}. {detail['msg']}.",
            mend="A model with another value computes something that minigpt does not; take another model.",
        ) from None
    except ConfigError as error:
        raise InputError(f"{where}: {error.problem}", mend="minigpt has no such model; take another one.") from None
    return Foreign(name, model, given.vocab_size, given.attention_bias, given.mlp_bias, bos_id, eos_id)


def _from_gpt2(given: _GPT2) -> TransformerConfig:
    return TransformerConfig.model_validate(
        {
            "num_layers": given.n_layer,
            "num_heads": given.n_head,
            "d_model": given.n_embd,
            "d_ff": given.n_inner,
            "sequence_length": given.n_positions,
            "norm": "layernorm",
            "norm_epsilon": given.layer_norm_epsilon,
            "positions": "learned",
            "activation": _ACTIVATIONS[given.activation_function],
            "bias": True,
            "tie_embeddings": given.tie_word_embeddings,
        }
    )


def _from_llama(given: _Llama, name: str, where: str) -> TransformerConfig:
    heads, rope = given.num_attention_heads, given.rope()
    if given.head_dim is not None and given.head_dim * heads != given.hidden_size:
        raise InputError(
            f"{where}: head_dim is {given.head_dim}. It must be hidden_size / num_attention_heads, here "
            f"{given.hidden_size} / {heads} = {given.hidden_size / max(heads, 1):g}.",
            mend="minigpt has no heads of another width; take another model.",
        )
    return TransformerConfig.model_validate(
        {
            "num_layers": given.num_hidden_layers,
            "num_heads": heads,
            "num_kv_heads": given.num_key_value_heads,
            "d_model": given.hidden_size,
            "d_ff": given.intermediate_size,
            "sequence_length": given.max_position_embeddings,
            "norm": "rmsnorm",
            "norm_epsilon": given.rms_norm_eps,
            "qk_norm": name == APERTUS,
            "positions": "rotary",
            "rotary_base": rope.rope_theta,
            "rotary_factor": 1.0 if rope.rope_type == "default" else rope.factor,
            "rotary_length": rope.original_max_position_embeddings if rope.rope_type == "llama3" else None,
            "rotary_low": rope.low_freq_factor if rope.rope_type == "llama3" else 1.0,
            "rotary_high": rope.high_freq_factor if rope.rope_type == "llama3" else 4.0,
            "activation": "swiglu" if name == LLAMA else _ACTIVATIONS[given.hidden_act],
            "bias": given.attention_bias or given.mlp_bias,
            "tie_embeddings": given.tie_word_embeddings,
        }
    )


# -- to their configuration


def choose_architecture(model: TransformerConfig) -> Foreign:
    """Return the architecture that computes what our model computes; `vocab_size` and ids are left open.

    Raises:
        InputError: There is none; the message names the setting.
    """
    needed: dict[str, Any] = {
        "block": "usual", "causal": True, "residual": True, "norm_position": "pre", "logit_cap": None,
        "attention_window": None,
    }  # fmt: skip
    for field, allowed in needed.items():
        if getattr(model, field) != allowed:
            _no_equal(field, getattr(model, field), allowed)
    if model.convolution > 1:
        _no_equal("convolution", model.convolution, 0)
    if not model.has_feedforward:
        _no_equal("d_ff", 0, "more than 0")
    if model.norm == "layernorm":
        if model.positions != "learned":
            _no_equal("positions", model.positions, "learned", "with layernorm ")
        if model.activation == "swiglu":
            _no_equal("activation", "swiglu", join_or(sorted(set(_ACTIVATIONS.values()))), "with layernorm ")
        if model.kv_heads != model.num_heads:
            _no_equal("num_kv_heads", model.kv_heads, model.num_heads, "with layernorm ")
        if model.qk_norm:
            _no_equal("qk_norm", True, False, "with layernorm ")
        return Foreign(GPT2, model, 0, True, True)
    if model.positions != "rotary":
        _no_equal("positions", model.positions, "rotary", "with rmsnorm ")
    if model.qk_norm:
        if model.activation == "swiglu":
            _no_equal("qk_norm", True, False, "with swiglu ")
        if model.bias:
            _no_equal("bias", True, False, "with qk_norm ")
        if model.norm_epsilon != EPSILON:
            _no_equal("norm_epsilon", model.norm_epsilon, EPSILON, "with qk_norm ")
    name = LLAMA if model.activation == "swiglu" else APERTUS if model.qk_norm else ARCEE
    return Foreign(name, model, 0, model.bias, model.bias)


def _no_equal(field: str, value: object, allowed: object, when: str = "") -> NoReturn:
    def shown(given: object) -> str:
        return "empty" if given is None else str(given).lower() if isinstance(given, bool) else str(given)

    raise InputError(
        f"The run's model.{field} is {shown(value)}, which no model of transformers has that minigpt can write; "
        f"{when}it can be {shown(allowed)}.",
        mend="Export it as a zip file, which minigpt opens everywhere.",
    )


def describe(foreign: Foreign) -> dict[str, Any]:
    """Return the contents of `config.json` for a model."""
    model, name = foreign.model, foreign.architecture
    activation = next(theirs for theirs, ours in {**_ACTIVATIONS, "silu": "swiglu"}.items() if ours == model.activation)
    values: dict[str, Any] = {"architectures": [name], "dtype": "float32", "vocab_size": foreign.vocab_size}
    values |= {"bos_token_id": foreign.bos_id, "eos_token_id": foreign.eos_id, "pad_token_id": None}
    values |= {"tie_word_embeddings": model.tie_embeddings}
    if name == GPT2:
        return values | {
            "model_type": "gpt2",
            "n_layer": model.num_layers,
            "n_head": model.num_heads,
            "n_embd": model.d_model,
            "n_inner": model.ff_width,
            "n_positions": model.sequence_length,
            "activation_function": activation,
            "layer_norm_epsilon": model.norm_epsilon,
            "attn_pdrop": model.attention_dropout,
            "embd_pdrop": model.dropout,
            "resid_pdrop": model.dropout,
        }
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rotary_base}
    if model.rotary_length is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": model.rotary_factor,
            "low_freq_factor": model.rotary_low,
            "high_freq_factor": model.rotary_high,
            "original_max_position_embeddings": model.rotary_length,
        }
    elif model.rotary_factor != 1:
        rope |= {"rope_type": "linear", "factor": model.rotary_factor}
    return values | {
        "model_type": {LLAMA: "llama", ARCEE: "arcee", APERTUS: "apertus"}[name],
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.d_head,
        "hidden_size": model.d_model,
        "intermediate_size": model.ff_width,
        "max_position_embeddings": model.sequence_length,
        "hidden_act": activation,
        "rms_norm_eps": model.norm_epsilon,
        "attention_bias": model.bias,
        "mlp_bias": model.bias,
        "attention_dropout": model.attention_dropout,
        "rope_parameters": rope,
    }


# -- tensors


@dataclass(frozen=True)
class Link:
    """Which part of a tensor of ours is which tensor of theirs.

    Attributes:
        ours: Name of our tensor; None if we have none.
        theirs: Name of theirs; None if they have none.
        shape: Shape of the part, as in ours.
        start: Its first row in our tensor.
        heads: Heads whose coordinates change places, 0 for none.
        transposed: Whether theirs is transposed.
        fill: The number that stands in each place of a tensor that one side has and the other lacks.
    """

    ours: str | None
    theirs: str | None
    shape: tuple[int, ...]
    start: int = 0
    heads: int = 0
    transposed: bool = False
    fill: float = 0.0

    @property
    def their_shape(self) -> tuple[int, ...]:
        """Shape of their tensor."""
        return self.shape[::-1] if self.transposed else self.shape


def links(foreign: Foreign) -> list[Link]:
    """Return the parts of all tensors, in the order of our model, and of our tensors in the order of their rows."""
    model, vocab_size = foreign.model, foreign.vocab_size
    ours = tensor_shapes(model, vocab_size)
    found: list[Link] = []

    def add(name: str, theirs: str, shape: tuple[int, ...], *, there: bool = True, **more: Any) -> None:
        link = Link(name if name in ours else None, theirs if there else None, shape, **more)
        if link.ours or link.theirs:
            found.append(link)

    def linear(name: str, theirs: str, rows: int, columns: int, *, bias: bool, **more: Any) -> None:
        transposed = foreign.architecture == GPT2
        add(f"{name}.weight", f"{theirs}.weight", (rows, columns), transposed=transposed, **more)
        add(f"{name}.bias", f"{theirs}.bias", (rows,), there=bias, **more)

    def norm(name: str, theirs: str) -> None:
        add(f"{name}.weight", f"{theirs}.weight", (width,), fill=1.0)
        add(f"{name}.bias", f"{theirs}.bias", (width,), there=foreign.architecture == GPT2)

    width, inner, d_head = model.d_model, model.ff_width, model.d_head
    attention_bias, feedforward_bias = foreign.attention_bias, foreign.feedforward_bias
    if foreign.architecture == GPT2:
        add("embedding.weight", "transformer.wte.weight", (vocab_size, width))
        add("positions.weight", "transformer.wpe.weight", (model.sequence_length, width))
        for layer in range(model.num_layers):
            block, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
            norm(f"{block}.attention_norm", f"{theirs}.ln_1")
            linear(f"{block}.attention.qkv", f"{theirs}.attn.c_attn", 3 * width, width, bias=True)
            linear(f"{block}.attention.out", f"{theirs}.attn.c_proj", width, width, bias=True)
            norm(f"{block}.feedforward_norm", f"{theirs}.ln_2")
            linear(f"{block}.feedforward.up", f"{theirs}.mlp.c_fc", inner, width, bias=True)
            linear(f"{block}.feedforward.down", f"{theirs}.mlp.c_proj", width, inner, bias=True)
        norm("final_norm", "transformer.ln_f")
    else:
        first, second = ("attention_layernorm", "feedforward_layernorm") if foreign.architecture == APERTUS else (
            "input_layernorm", "post_attention_layernorm"
        )  # fmt: skip
        add("embedding.weight", "model.embed_tokens.weight", (vocab_size, width))
        for layer in range(model.num_layers):
            block, theirs = f"blocks.{layer}", f"model.layers.{layer}"
            norm(f"{block}.attention_norm", f"{theirs}.{first}")
            start = 0
            for part, heads in (("q", model.num_heads), ("k", model.kv_heads), ("v", model.kv_heads)):
                linear(
                    f"{block}.attention.qkv", f"{theirs}.self_attn.{part}_proj", heads * d_head, width,
                    bias=attention_bias, start=start, heads=0 if part == "v" else heads,
                )  # fmt: skip
                start += heads * d_head
            if foreign.architecture == APERTUS:
                for part in ("q", "k"):
                    add("", f"{theirs}.self_attn.{part}_norm.weight", (d_head,), fill=1.0)
            linear(f"{block}.attention.out", f"{theirs}.self_attn.o_proj", width, width, bias=attention_bias)
            norm(f"{block}.feedforward_norm", f"{theirs}.{second}")
            if model.activation == "swiglu":
                linear(f"{block}.feedforward.gate", f"{theirs}.mlp.gate_proj", inner, width, bias=feedforward_bias)
            linear(f"{block}.feedforward.up", f"{theirs}.mlp.up_proj", inner, width, bias=feedforward_bias)
            linear(f"{block}.feedforward.down", f"{theirs}.mlp.down_proj", width, inner, bias=feedforward_bias)
        norm("final_norm", "model.norm")
    if not model.tie_embeddings:
        add("head.weight", "lm_head.weight", (vocab_size, width))
    return found


def is_ignored(name: str, foreign: Foreign) -> bool:
    """Return whether a tensor in their file follows from the others: masks, angles, a tied matrix stored twice."""
    if name == "lm_head.weight":
        return foreign.model.tie_embeddings
    return name.endswith((".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"))
