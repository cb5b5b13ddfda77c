"""The layers of the design, and rules for all files, checked on the source code.

A module may import the parts above it in LAYERS and, within its row, the parts to its left. Imports inside
functions count; those under `if TYPE_CHECKING:` do not. The rules are functions of source text, so that the
tests at the end can check each of them on a file that breaks it.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minigpt

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minigpt"

LAYERS: list[list[str]] = [
    ["version", "errors", "arguments", "glossary", "wording", "paths", "resources", "randomness", "storage", "pieces"],
    ["config"],
    ["tokenizers", "data"],
    ["model"],
    ["generation", "evaluation", "interpret"],
    ["training"],
    ["runs", "interop"],
    ["viz", "report", "cli"],
    ["app"],
    ["pages", "streamlit_app"],
]
LIBRARIES: list[set[str]] = [
    set(),
    {"pydantic", "yaml"},
    {"numpy"},
    {"torch", "safetensors"},
    set(),
    set(),
    set(),
    {"pandas", "plotly"},
    {"streamlit", "starlette", "google"},  # google.protobuf: the form of Streamlit's own messages
    set(),
]
"""Libraries that each row may import besides the standard library and those of the rows above."""
EXTRA = {
    "randomness": {"torch"}, "data": {"torch", "charset_normalizer", "pypdf", "docx"}, "tokenizers": {"tokenizers", "regex"},
    "training": {"wandb"}, "runs": {"fsspec", "ray"},
    "cli": {"click", "rich", "prompt_toolkit"}, "interop": {"huggingface_hub"},
}  # fmt: skip
"""Further libraries that a single part may import."""
ONLY = {
    "viz": ({"version", "errors", "glossary", "resources", "randomness", "config"}, {"numpy", "pandas", "plotly"}),
}
"""Parts that may import less than their row."""
NEVER = {"app": {"cli"}, "pages": {"cli", "pages", "streamlit_app"}, "streamlit_app": {"cli", "pages"}}
"""Parts that may not import another part although it is above them."""
TORCH_FREE = [
    "version",
    "errors",
    "arguments",
    "glossary",
    "paths",
    "resources",
    "randomness",
    "wording",
    "storage",
    "config",
    "tokenizers",
    "viz",
]
"""Parts that do not load torch when they are imported; functions in them may."""


# -- the part of each file -------------------------------------------------------------------------------------------------


def sources() -> dict[str, Path]:
    """Map the dotted name of every shipped module to its file."""
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "pages").rglob("*.py"), ROOT / "streamlit_app.py"]
    found = {}
    for path in files:
        inside = path.relative_to(ROOT)
        if path.is_file() and inside.parts[:2] != ("minigpt", "_resources"):
            name = ".".join(inside.with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


SOURCES = sources()


def part_of(module: str) -> str | None:
    """Return the part of LAYERS that a module belongs to, None for the package itself."""
    names = module.split(".")
    if names[0] != "minigpt":
        return names[0]
    if len(names) == 1:
        return None
    return "cli" if names[1] == "__main__" else names[1]


def place(part: str) -> tuple[int, int]:
    """Return the row and the column of a part."""
    for row, parts in enumerate(LAYERS):
        if part in parts:
            return row, parts.index(part)
    raise AssertionError(f"minigpt/{part} is in no layer: add it to DESIGN's table and to LAYERS")


# -- what a file imports -------------------------------------------------------------------------------------------------


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def visit(node: ast.AST, *, types_too: bool = False) -> Iterator[ast.AST]:
    """Walk a tree without the blocks that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child) and not types_too:
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield other
                yield from visit(other)
            continue
        yield child
        yield from visit(child, types_too=types_too)


def imported(
    module: str, source: str, *, is_package: bool = False, types_too: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything that a file imports; public names are resolved to their modules."""
    for node in visit(ast.parse(source), types_too=types_too):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                upwards = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*upwards, *([base] if base else [])])
            for alias in node.names:
                if base == "minigpt":
                    yield node.lineno, minigpt._LAZY.get(alias.name, f"minigpt.{alias.name}")
                else:
                    yield node.lineno, f"{base}.{alias.name}"


def layer_faults(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return the imports of a file that its place in LAYERS does not allow."""
    part = part_of(module)
    if part is None:
        return []  # minigpt/__init__.py only names the modules of public names; test_public_names.py checks it
    row, column = place(part)
    libraries = set().union(*LIBRARIES[: row + 1]) | EXTRA.get(part, set())
    faults = []
    for line, name in imported(module, source, is_package=is_package):
        top = name.split(".")[0]
        where = f"{module}:{line} imports {name}"
        if top in {"minigpt", "pages", "streamlit_app"}:
            other = part_of(name)
            if other is None:
                faults.append(f"{where}: import the module itself, the public names are for users")
                continue
            if other == "__version__":
                other = "version"
            if part in ONLY and other != part and other not in ONLY[part][0]:
                faults.append(f"{where}: {part} may use only {sorted(ONLY[part][0])}")
            elif other in NEVER.get(part, set()):
                faults.append(f"{where}: {part} may not import {other}")
            elif place(other) > (row, column):
                faults.append(f"{where}: {other} is below {part}")
        elif top not in sys.stdlib_module_names and top not in (ONLY[part][1] if part in ONLY else libraries):
            faults.append(f"{where}: {part} may not use {top}")
    return faults


# -- rules for all files -------------------------------------------------------------------------------------------------

TORCH_RANDOM = {
    "rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal", "poisson",
    "rand_like", "randn_like", "randint_like",
}  # fmt: skip
METHODS = {
    "normal_", "uniform_", "bernoulli_", "exponential_", "random_", "cauchy_", "geometric_", "log_normal_", "trunc_normal_",
    "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "multinomial", "bernoulli",
}  # fmt: skip
GLOBAL_SEED = {"manual_seed", "manual_seed_all", "seed", "set_rng_state", "get_rng_state", "fork_rng", "initial_seed"}
NUMPY_ALLOWED = {"Generator", "PCG64", "Philox", "SeedSequence", "BitGenerator"}
PYTHON_RANDOM_ALLOWED = {"Random", "SystemRandom"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def forbidden(source: str) -> list[str]:
    """Return the faults of a file: what no file of this project may do."""
    faults: list[str] = []
    tree = ast.parse(source)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    safe = {node.name for node in classes if "yaml.SafeLoader" in map(ast.unparse, node.bases)} | {"yaml.SafeLoader"}

    def fault(node: ast.AST, text: str) -> None:
        faults.append(f"line {getattr(node, 'lineno', '?')}: {text}")

    for node in visit(tree, types_too=True):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = f"{base}.{alias.name}" if base else alias.name
                if name.split(".")[0] in PICKLES:
                    fault(node, f"{name}: pickle is not allowed")
                if base in {"random", "numpy.random"} and alias.name not in PYTHON_RANDOM_ALLOWED | NUMPY_ALLOWED:
                    fault(node, f"{name}: random numbers are keyed (minigpt.randomness)")
                if base.startswith("torch") and (alias.name.startswith("Dropout") or alias.name == "dropout"):
                    fault(node, f"{name}: it accepts no generator")
                if base == "torch" and alias.name in TORCH_RANDOM | GLOBAL_SEED | {"load", "save"}:
                    fault(node, f"import torch and call torch.{alias.name}, so that this test sees it")
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            root = dotted.split(".")[0]
            if root == "torch" and node.attr in GLOBAL_SEED:
                fault(node, f"{dotted}: torch's global generator is shared by all threads")
            if dotted in {"torch.load", "torch.save"}:
                fault(node, f"{dotted}: it pickles; use minigpt.model.weights")
            if (root in {"nn", "torch"} and node.attr.startswith("Dropout")) or dotted in {
                "F.dropout", "functional.dropout", "torch.dropout", "nn.functional.dropout", "torch.nn.functional.dropout",
            }:  # fmt: skip
                fault(node, f"{dotted}: it accepts no generator; use the model's own dropout")
            if ast.unparse(node.value) in {"np.random", "numpy.random"} and node.attr not in NUMPY_ALLOWED:
                fault(node, f"{dotted}: random numbers are keyed (minigpt.randomness)")
            if root == "random" and dotted.count(".") == 1 and node.attr not in PYTHON_RANDOM_ALLOWED:
                fault(node, f"{dotted}: random numbers are keyed (minigpt.randomness)")
            if dotted in {"yaml.unsafe_load", "yaml.full_load"}:
                fault(node, f"{dotted}: use yaml.safe_load")
        if isinstance(node, ast.Call):
            keywords = {keyword.arg for keyword in node.keywords}
            if ast.unparse(node.func) == "yaml.load" and not {ast.unparse(loader) for loader in node.args[1:]} & safe:
                fault(node, "yaml.load: use yaml.safe_load, or a loader derived from yaml.SafeLoader in this file")
            if "dropout_p" in keywords:
                fault(node, "dropout_p= draws from the global generator")
            if "unsafe_allow_html" in keywords or "allow_pickle" in keywords:
                fault(node, f"{sorted(keywords & {'unsafe_allow_html', 'allow_pickle'})[0]} is not allowed")
            if isinstance(node.func, ast.Attribute) and "generator" not in keywords:
                of_torch = ast.unparse(node.func.value) == "torch" and node.func.attr in TORCH_RANDOM
                if of_torch or node.func.attr in METHODS:
                    fault(node, f"{ast.unparse(node.func)} without generator=")
    return faults


# -- the tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_follow_the_layers(module: str) -> None:
    path = SOURCES[module]
    assert layer_faults(module, path.read_text("utf-8"), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_nothing_forbidden(module: str) -> None:
    assert forbidden(SOURCES[module].read_text("utf-8")) == []


def import_graph() -> dict[str, set[str]]:
    """Map every shipped module to the modules that it imports, including imports for type checkers."""
    graph: dict[str, set[str]] = {}
    for module, path in SOURCES.items():
        source, is_package = path.read_text("utf-8"), path.name == "__init__.py"
        graph[module] = set()
        for _, name in imported(module, source, is_package=is_package, types_too=True):
            while name and name not in SOURCES:
                name = name.rpartition(".")[0]
            if name and name not in (module, "minigpt"):  # minigpt/__init__.py only maps names to modules
                graph[module].add(name)
    graph.pop("minigpt")
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the names that are in a circle: remove those that import none of the others, then those that none imports."""
    left = {name: {other for other in others if other in graph} for name, others in graph.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others - free for name, others in left.items() if name not in free}
    needed = set(left)
    while unused := {name for name in needed if not any(name in left[other] for other in needed)}:
        needed -= unused
    return [sorted(needed)] if needed else []


def test_no_modules_import_in_a_circle() -> None:
    assert circles(import_graph()) == []


def test_no_packages_import_in_a_circle() -> None:
    packages: dict[str, set[str]] = {}
    for module, others in import_graph().items():
        depth = 3 if module.startswith("minigpt.app.") else 2
        names = {".".join(other.split(".")[: 3 if other.startswith("minigpt.app.") else 2]) for other in others}
        packages.setdefault(".".join(module.split(".")[:depth]), set()).update(names)
    assert circles({name: others - {name} for name, others in packages.items()}) == []


def test_a_circle_is_detected() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set(), "e": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_benchmarks_are_held_to_the_same_rules() -> None:
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        # other programs (nanoGPT, transformers) need global seeds and prints; only pickles are forbidden here
        text = path.read_text("utf-8")
        assert [fault for fault in forbidden(text) if "pickle" in fault] == [], path.name


@pytest.mark.parametrize("path", sorted((ROOT / "tools").rglob("*.py")), ids=lambda path: path.name)
def test_tools_do_nothing_forbidden(path: Path) -> None:
    assert forbidden(path.read_text("utf-8")) == []


def test_no_file_directly_in_pages() -> None:
    # Streamlit would run it without the frame if it is the first page requested
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == []


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"[`/ ]((?:[a-z_]+/)+[a-z_]+\.(?:py|yaml|md))", text))
    assert len(named) > 15
    folders = (ROOT, PACKAGE, PACKAGE / "app")
    assert [name for name in sorted(named) if not any((folder / name).is_file() for folder in folders)] == []


def test_the_picture_of_imports_is_true() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    picture = text.split("```mermaid")[1].split("```")[0]
    graph = import_graph()

    def modules(name: str) -> set[str]:
        if name == "rooms":
            return {module for module in graph if module.split(".")[:2] == ["minigpt", "app"] and "page" in module}
        return {m for m in graph if m == name or m.startswith((f"{name}.", f"minigpt.{name}.", f"minigpt.app.{name}"))}

    arrows = [line.strip().split(" --> ") for line in picture.splitlines() if "-->" in line]
    pairs = [(chain[i], chain[i + 1]) for chain in arrows for i in range(len(chain) - 1)]
    assert len(pairs) > 15
    for imported_name, importer in pairs:
        of, by = modules(imported_name), modules(importer)
        assert of, imported_name
        assert by, importer
        assert any(graph[module] & of for module in by), f"{importer} does not import {imported_name}"


def test_no_path_of_one_machine_in_the_sources() -> None:
    for module, path in SOURCES.items():
        text = path.read_text("utf-8")
        for prefix in ("/home/", "/root/", "/work/", "/Users/", "C:\\\\"):
            assert prefix not in text, f"{module} holds {prefix}"


SHIPPED = ("assets", "configs", "docs", "tests/runs/data", "README.md")


def test_no_path_of_one_machine_in_what_ships() -> None:
    files = [path for name in SHIPPED for path in (ROOT / name, *sorted((ROOT / name).rglob("*"))) if path.is_file()]
    assert len(files) > 20
    for path in files:
        found = re.search(rb"(?<![\w.~/])(/home/|/root/|/work/|/Users/|/tmp/)\w|[A-Z]:\\\\?Users", path.read_bytes())
        assert found is None, f"{path.relative_to(ROOT)} holds {found.group() if found else ''!r}"


def run_in_fresh_process(modules: list[str], watched: str) -> list[str]:
    """Import modules one after the other in a process of their own; return each after which `watched` was loaded.

    One process is enough: modules are never unloaded, so the first module named is the one that loads it.
    """
    code = (
        "import importlib, json, sys\n"
        "guilty = []\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    if {watched!r} in sys.modules:\n"
        "        guilty.append(name)\n"
        "print(json.dumps(guilty))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout.splitlines()[-1]))


def modules_of(*parts: str) -> list[str]:
    return [name for name in SOURCES if part_of(name) in parts and not name.endswith("__main__")]


@pytest.mark.process
def test_no_module_outside_the_app_loads_streamlit() -> None:
    parts = [part for row in LAYERS[:8] for part in row]
    assert run_in_fresh_process(sorted(modules_of(*parts)), "streamlit") == []


@pytest.mark.process
def test_light_modules_do_not_load_torch() -> None:
    modules = sorted(modules_of(*TORCH_FREE))
    modules += [name for name in ("minigpt", "minigpt.cli", "minigpt.model.size") if name in SOURCES]
    assert run_in_fresh_process(modules, "torch") == []


def test_every_part_of_the_package_has_a_layer() -> None:
    for module in SOURCES:
        part = part_of(module)
        if part is not None:
            place(part)


# -- the rules themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("minigpt.model.norms", "from minigpt.training import trainer"),
        ("minigpt.model.norms", "import minigpt.runs.store"),
        ("minigpt.model.norms", "def f():\n    from minigpt.runs import store"),
        ("minigpt.model.norms", "from minigpt import load_run"),
        ("minigpt.model.norms", "import minigpt"),
        ("minigpt.model.norms", "from ..training import trainer"),
        ("minigpt.model.norms", "import streamlit as st"),
        ("minigpt.model.norms", "from plotly import graph_objects"),
        ("minigpt.tokenizers.base", "from minigpt.data import readers"),
        ("minigpt.tokenizers.base", "import torch"),
        ("minigpt.generation.generator", "from minigpt.evaluation.perplexity import ModelEvaluator"),
        ("minigpt.viz.attention", "from minigpt.model.transformer import Transformer"),
        ("minigpt.viz.attention", "import torch"),
        ("minigpt.runs.engine", "import click"),
        ("minigpt.app.shell.frame", "from minigpt.cli import main"),
        ("pages.use.sampling", "from pages.use import perplexity"),
        ("minigpt.errors", "import yaml"),
        ("minigpt.model.norms", "if TYPE_CHECKING:\n    pass\nelse:\n    import streamlit"),
    ],
)
def test_a_wrong_import_is_detected(module: str, source: str) -> None:
    assert len(layer_faults(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("minigpt.model.norms", "import torch\nfrom minigpt.config import TransformerConfig\nfrom . import protocols"),
        ("minigpt.data.dataset", "from minigpt.tokenizers.base import BaseTokenizer\nimport torch, numpy, yaml"),
        ("minigpt.tokenizers.base", "if TYPE_CHECKING:\n    from minigpt.data import corpora"),
        (
            "minigpt.cli.train",
            "import click, rich\nfrom minigpt.runs import job\nfrom minigpt import resources, __version__",
        ),
        ("minigpt.app.shell.frame", "import streamlit as st\nfrom minigpt.viz import palette"),
        ("pages.use.sampling", "import streamlit as st\nfrom minigpt.app import frame"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert layer_faults(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.manual_seed(0)",
        "torch.cuda.manual_seed_all(0)",
        "nn.Dropout(0.1)",
        "from torch.nn import Dropout",
        "F.dropout(x, 0.1)",
        "F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)",
        "torch.randn(3)",
        "torch.randperm(3)",
        "nn.init.normal_(w)",
        "probs.multinomial(1)",
        "from torch import randn",
        "np.random.rand(3)",
        "np.random.seed(0)",
        "np.random.default_rng()",
        "random.random()",
        "from random import shuffle",
        "import pickle",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "class Loader: pass\nyaml.load(text, Loader)",
        "st.markdown(text, unsafe_allow_html=True)",
    ],
)
def test_a_forbidden_thing_is_detected(source: str) -> None:
    assert len(forbidden(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "generator.manual_seed(3)",
        "torch.randn(3, generator=generator)",
        "w.normal_(0, 0.02, generator=generator)",
        "np.random.Generator(np.random.PCG64(3)).normal(size=3)",
        "random.Random(3).shuffle(items)",
        "self.dropout(x)",
        "yaml.safe_load(text)",
        "class Loader(yaml.SafeLoader): pass\nyaml.load(text, Loader)",
    ],
)
def test_an_allowed_thing_passes(source: str) -> None:
    assert forbidden(source) == []


def test_the_package_under_test_is_this_checkout() -> None:
    spec = importlib.util.find_spec("minigpt")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == PACKAGE / "__init__.py"
