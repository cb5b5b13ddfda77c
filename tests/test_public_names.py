"""The public names: the list, the lazy table and the imports for type checkers are equal."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import minigpt

SOURCE = Path(minigpt.__file__)


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
