"""The public names: the list, the lazy table and the imports for type checkers are equal."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import minigpt

SOURCE = Path(minigpt.__file__)


STABLE = [
    "Alliteration", "AllowedTokens", "BPETokenizer", "BannedTokens", "BaseTokenizer", "BatchOrder", "Block",
    "ByteTokenizer",
    "Callback", "CharacterTokenizer", "Corpus", "DRYPenalty", "Evaluation", "FrequencyPenalty", "Generation",
    "GenerationConfig", "GenerationSettings", "GreedySampler", "InputError", "LanguageModelDataset", "LogitBias",
    "MinPSampler", "MinigptError", "MirostatSampler", "ModelEvaluator", "NoRepeatedLetter", "OnlyWords",
    "PositionScheme", "PresencePenalty", "RepetitionPenalty", "Rhyme", "Run", "RunConfig", "RunFault", "Sampler", "SamplerChain",
    "SyllableLines", "TemperatureSampler", "TextGenerator", "TextRule", "TopKSampler", "TopNSigmaSampler",
    "TopPSampler", "Trace", "Trainer", "TrainingConfig", "TrainingJob", "Transformer", "TransformerConfig",
    "TypicalSampler", "__version__", "corpus_from_text", "create_run", "dump_yaml", "export_huggingface",
    "import_huggingface", "load_config", "load_corpus", "load_huggingface", "load_modules",
    "load_run", "read_corpus", "register_module", "trace_forward",
]  # fmt: skip
"""The names that programs rely on. A new name is added here too. To take one away breaks the programs that use it."""


def test_no_name_has_gone_and_a_new_one_is_meant() -> None:
    assert sorted(minigpt.__all__) == sorted(STABLE)


def members() -> list[tuple[str, object]]:
    """Return every public function, class and method of the public names."""
    found: list[tuple[str, object]] = []
    for name in minigpt._LAZY:
        value = getattr(minigpt, name)
        found.append((name, value))
        for member, function in vars(value).items() if isinstance(value, type) else ():
            function = function.fget if isinstance(function, property) else getattr(function, "__func__", function)
            if inspect.isfunction(function) and not member.startswith("_"):
                found.append((f"{name}.{member}", function))
    return found


def test_every_public_name_and_method_is_typed_and_documented() -> None:
    everything = members()
    assert len(everything) > 200
    for name, value in everything:
        assert inspect.getdoc(value), f"{name} has no docstring"
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert signature.return_annotation is not inspect.Signature.empty, f"{name} does not say what it returns"
            for parameter in list(signature.parameters.values())[1 if "." in name else 0 :]:
                assert parameter.annotation is not inspect.Parameter.empty, (
                    f"{name} has {parameter.name} without a type"
                )


def imports_for_type_checkers() -> dict[str, str]:
    """Read name -> module from the `if TYPE_CHECKING:` block, and require `from x import Y as Y`."""
    names: dict[str, str] = {}
    for node in ast.parse(SOURCE.read_text("utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                assert statement.module is not None
                for alias in statement.names:
                    assert alias.asname == alias.name, "a type checker re-exports only `import Y as Y`"
                    names[alias.name] = statement.module
    return names


def test_list_table_and_imports_are_equal() -> None:
    assert sorted([*minigpt._LAZY, "__version__"]) == sorted(minigpt.__all__)
    assert len(set(minigpt.__all__)) == len(minigpt.__all__)
    assert imports_for_type_checkers() == minigpt._LAZY


@pytest.mark.parametrize("name", sorted(minigpt._LAZY))
def test_each_name_is_found_where_the_table_says(name: str) -> None:
    value = getattr(minigpt, name)
    assert value is getattr(importlib.import_module(minigpt._LAZY[name]), name)
    assert value.__module__ == minigpt._LAZY[name], "the table names the module that defines it"
    assert value.__doc__, "a public name is documented"
    assert name in dir(minigpt)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Transfomer'"):
        minigpt.Transfomer  # noqa: B018


@pytest.mark.process
def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, minigpt; dir(minigpt); minigpt.__version__; "
        "print(sorted({'torch', 'numpy', 'pydantic', 'streamlit', 'pandas', 'plotly'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
