"""Position schemes and blocks of one's own: registered, built, watched, cached or not; what is wrong is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import MinigptError
from minigpt.generation.generator import TextGenerator
from minigpt.model import registry
from minigpt.model.decode import can_decode
from minigpt.model.own_modules import load_modules, register_module
from minigpt.model.positions import LearnedPositions, PositionScheme, alibi_bias
from minigpt.model.size import count_parameters, size_map, tensor_shapes
from minigpt.model.transformer import Transformer
from minigpt.model.weights import load_model, save_model
from minigpt.tokenizers.character import CharacterTokenizer

V = 11
TOKENIZER = CharacterTokenizer().train("abcdef")
PARTS = '''
import torch
import minigpt


class Learned(minigpt.PositionScheme):
    """The same as our learned positions."""

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.arange(config.sequence_length * config.d_model).reshape(-1, config.d_model) / 99)

    def vectors(self, at):
        return self.table[at]


class Falling(minigpt.PositionScheme):
    """The same as ALiBi."""

    def __init__(self, config):
        super().__init__(config)
        self.slopes = torch.exp2(-8 * torch.arange(1, config.num_heads + 1) / config.num_heads)

    def bias(self, distance):
        return -self.slopes[:, None, None] * distance.abs().unsqueeze(-3)


class Turning(minigpt.PositionScheme):
    """Grows the first coordinate with the position."""

    def turn(self, x, at):
        return x * (1 + at / 9)[..., None, None]


class Parallel(minigpt.Block):
    """Attention and feed-forward beside each other, with a gate."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.feedforward_norm = None
        self.gate = torch.nn.Parameter(torch.full((config.d_model,), 0.25))
        self.mix = torch.nn.Linear(config.d_model, config.d_model)

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        y = self.attention_norm(x)
        return x + self.attention(y, rotation, cache=cache) + self.feedforward(y) + self.gate * self.mix(y)


class Same(minigpt.Block):
    """The usual block, with all points."""


class Shifted(minigpt.Block):
    """Reads the position before each outside attention, so that a cache would change the result."""

    def forward(self, x, rotation=None, *, cache=None, probe=None):
        x = x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]
        return super().forward(x, rotation, cache=cache, probe=probe)
'''


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {"positions": {}, "block": {}})


@pytest.fixture
def names(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "parts.py"
    path.write_text(PARTS, "utf-8")
    return load_modules(path)


def shape(**fields: object) -> TransformerConfig:
    return TransformerConfig(num_layers=2, num_heads=2, d_model=16, sequence_length=16, **fields)


def shaken(model: Transformer) -> Transformer:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter)))
    return model.eval()


COMBINATIONS = [
    {"positions": "own:learned"}, {"positions": "own:falling"}, {"positions": "own:turning", "num_kv_heads": 1},
    {"positions": "own:falling", "attention_window": 3, "logit_cap": 2.0}, {"block": "own:parallel"},
    {"block": "own:same", "positions": "learned"}, {"block": "own:parallel", "positions": "own:turning"},
    {"block": "own:shifted"}, {"block": "own:shifted", "positions": "own:falling"},
]  # fmt: skip


def test_the_names_are_those_of_the_classes_in_the_order_of_the_file(names: tuple[str, ...]) -> None:
    assert names == ("own:learned", "own:falling", "own:turning", "own:parallel", "own:same", "own:shifted")
    assert registry.own_names("block") == ("own:parallel", "own:same", "own:shifted")


@pytest.mark.parametrize("fields", COMBINATIONS, ids=str)
def test_it_writes_the_same_with_a_cache_and_without_and_after_it_was_saved(
    names: tuple[str, ...], fields: dict[str, object], tmp_path: Path
) -> None:
    """Alone, in a batch of unequal prompts, watched, and beyond the context; the file of weights fits its sizes."""
    model = shaken(Transformer(shape(**fields), TOKENIZER.vocab_size, seed=3))
    assert not can_decode(model)
    assert model.can_cache is ("shifted" not in str(fields))
    save_model(tmp_path / "model.safetensors", model)
    back = load_model(tmp_path / "model.safetensors")
    texts = {}
    for which in (model, back):
        generator = TextGenerator(type("Run", (), {"model": which, "tokenizer": TOKENIZER})())
        for use_cache in (True, False):
            options = {"max_new_tokens": 20, "temperature": 1.0, "use_cache": use_cache}
            batch = generator.generate_batch(["a", "abcdef", "fe"], **options)
            texts[which is model, use_cache] = [each.completion for each in batch]
            assert texts[which is model, use_cache][1] == generator.generate("abcdef", **options).completion
    assert len({tuple(each) for each in texts.values()}) == 1
    if not model.can_cache:
        with pytest.raises(MinigptError, match="something else with a cache than without"):
            model.make_cache()


@pytest.mark.parametrize("fields", COMBINATIONS, ids=str)
def test_what_it_learns_is_counted_trained_and_starts_from_the_seed(
    names: tuple[str, ...], fields: dict[str, object]
) -> None:
    config = shape(**fields)
    model, again = Transformer(config, V, seed=1), Transformer(config, V, seed=1)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == tensor_shapes(config, V)
    assert count_parameters(config, V).total == model.num_parameters()
    assert sum(part.parameters for part in size_map(config, V)) == model.num_parameters()
    for (name, one), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name
    if "parallel" in str(fields):
        assert model.get_parameter("blocks.1.gate").unique().tolist() == [0.25]
        assert not model.get_parameter("blocks.1.mix.bias").any()
    model(torch.arange(9)[None]).square().sum().backward()
    own = [
        name for name, _ in model.named_parameters() if any(part in name for part in ("gate", "mix", "table", "qkv"))
    ]
    assert all(model.get_parameter(name).grad is not None for name in own)


def test_a_scheme_computes_what_ours_computes(names: tuple[str, ...]) -> None:
    ids = torch.arange(10)[None]
    for own, ours in (("own:falling", "alibi"), ("own:learned", "learned")):
        one, other = (Transformer(shape(positions=kind), V, seed=2) for kind in (own, ours))
        if isinstance(other.positions, LearnedPositions):
            with torch.no_grad():
                other.positions.weight.copy_(one.get_parameter("positions.table"))
        torch.testing.assert_close(one(ids), other(ids))
        torch.testing.assert_close(one(ids, probe=lambda name, tensor: tensor), other(ids))
    assert torch.equal(
        alibi_bias(2, 1, 2), -torch.tensor([[[1.0, 0]], [[1, 0]]]) * torch.tensor([1 / 16, 1 / 256])[:, None, None]
    )


def test_a_block_without_the_points_of_a_block_cannot_be_watched(names: tuple[str, ...]) -> None:
    ids = torch.arange(5)[None]
    seen: list[str] = []

    def watch(name: str, tensor: torch.Tensor) -> torch.Tensor:
        seen.append(name)
        return tensor

    Transformer(shape(block="own:same"), V)(ids, probe=watch)
    assert "blocks.1.attn_pattern" in seen
    with pytest.raises(MinigptError, match=r"own:parallel cannot be watched: it has no point blocks\.0\.resid_pre"):
        Transformer(shape(block="own:parallel"), V)(ids, probe=watch)


WRONG = {
    "import minigpt\n": "defines no position scheme and no block",
    "1 / 0\n": "failed in line 1: ZeroDivisionError",
    "def f(:\n": "is no Python: line 1",
    "import minigpt\nclass Idle(minigpt.PositionScheme): pass\n": "Idle does nothing",
    "import minigpt\nclass Öde(minigpt.Block): pass\n": "cannot be the name of a block",
}
FAULTS = {
    "class Bad(minigpt.Block):\n    def __init__(self, config): pass\n": "block own:bad failed: TypeError",
    "class Bad(minigpt.Block):\n    def forward(self, x, rotation=None, *, cache=None, probe=None):\n        return x.nope\n":
        "block own:bad failed in line 4: AttributeError",
    "class Bad(minigpt.Block):\n    def forward(self, x, rotation=None, *, cache=None, probe=None):\n        return x[:, 1:]\n":
        "block own:bad returned shape",
    "class Bad(minigpt.PositionScheme):\n    def vectors(self, at):\n        return at\n": "vectors of the position scheme",
    "class Bad(minigpt.PositionScheme):\n    def turn(self, x, at):\n        return x + at\n": "scheme own:bad failed in line 4",
    "class Bad(minigpt.PositionScheme):\n    def bias(self, distance):\n        return 3\n": "returned a int; it must be",
}  # fmt: skip


@pytest.mark.parametrize("source", WRONG)
def test_a_file_that_cannot_be_used_is_one_sentence(source: str, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(source, "utf-8")
    with pytest.raises(MinigptError, match=WRONG[source]):
        load_modules(tmp_path / "parts.py")
    assert registry.own_names("positions") == registry.own_names("block") == ()


@pytest.mark.parametrize("source", FAULTS)
def test_a_mistake_in_a_class_is_one_sentence_with_its_line(source: str, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(f"import minigpt\n{source}", "utf-8")
    (name,) = load_modules(tmp_path / "parts.py")
    with pytest.raises(MinigptError, match=FAULTS[source]):
        Transformer(shape(**{"block" if "Block" in source else "positions": name}), V)(torch.arange(5)[None])


@pytest.mark.parametrize("kind", ["positions", "block"])
def test_a_name_that_is_not_loaded_is_refused_in_one_sentence(names: tuple[str, ...], kind: registry.Kind) -> None:
    config = shape(**{kind: "own:gone"})
    for use in (lambda: Transformer(config, V), lambda: tensor_shapes(config, V)):
        with pytest.raises(MinigptError, match=r"own:gone.*not loaded.*own:(falling|parallel).*--module-file FILE"):
            use()


def test_a_class_of_a_program_can_be_registered_and_replaced() -> None:
    for number in (1.0, 2.0):

        @register_module
        class Constant(PositionScheme):
            value = number

            def vectors(self, at: torch.Tensor) -> torch.Tensor:
                return torch.full((*at.shape, self.config.d_model), self.value)

        model = Transformer(shape(positions="own:constant"), V)
        assert isinstance(model.positions, Constant)
        assert model.positions.vectors(torch.zeros(1, 1)).unique().tolist() == [number]
    for other in (Transformer, PositionScheme, 3, Constant(shape())):
        with pytest.raises(MinigptError, match="is no position scheme and no block"):
            register_module(other)  # type: ignore[type-var]
