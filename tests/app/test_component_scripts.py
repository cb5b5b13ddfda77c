"""Components before they are drawn: their modules load no Streamlit, and their scripts are complete in themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.app.components import scripts

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in scripts.FOLDER.glob("*/script.js"))
ENTRY = "export default function (component) {}\n"


@pytest.fixture
def write(tmp_path):
    """Write modules into a folder; return the script that is made from them, with `main.js` as the outermost."""

    def start(**modules: str) -> str:
        for name, text in modules.items():
            (tmp_path / f"{name}.js").write_text(text, "utf-8")
        return scripts.inline(tmp_path / "main.js", tmp_path)

    return start


def test_a_module_takes_the_place_of_its_import_line(write):
    script = write(
        main='// main\nimport { keep, make } from "./shared.js";\n\n' + ENTRY,
        shared="// shared\nexport function keep() {}\nexport const make = 1;\nfunction hidden() {}\n",
    )
    shared = "// shared\nfunction keep() {}\nconst make = 1;\nfunction hidden() {}\n"
    assert script == "// main\n" + shared + "\n" + ENTRY


def test_an_import_may_take_several_lines_and_a_module_comes_once(write):
    script = write(
        main='import {\n  one,\n  two,\n} from "./parts.js";\nimport { base } from "./base.js";\n' + ENTRY,
        parts='import { base } from "./base.js";\nexport async function one() {}\nexport class two {}\n',
        base="export let base = 0;\n",
    )
    assert script == "let base = 0;\nasync function one() {}\nclass two {}\n" + ENTRY


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_sent_without_its_comments_and_with_every_line_of_code(name):
    code, is_comment = [], False
    for line in scripts.inline(scripts.FOLDER / name / "script.js").splitlines():
        text = line.strip()
        is_comment = is_comment or (text.startswith("/*") and not re.search(r"\*/\s*\S", text))
        if not is_comment and not text.startswith("//"):
            code.append(line)
        is_comment = is_comment and "*/" not in text
    assert scripts.script(name).splitlines() == code


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('import { keep } from "./other.js";\n', "there is no module ./other.js"),
        ('import { keep } from "../shared.js";\n', r"there is no module \.\./shared.js"),
        ('import { hidden, lost } from "./shared.js";\n', "does not export hidden, lost"),
        ('import { keep as hold } from "./shared.js";\n', "import { keep as hold }"),
        ('import * as shared from "./shared.js";\n', r"import \* as shared"),
        ('import "./shared.js";\n', 'import "./shared.js"'),
        ("import { keep } from './shared.js';\n", "import { keep }"),
        ('import { keep } from "https://example.org/shared.js";\n', "example.org"),
        ("export { main };\n", "export { main }"),
        ('export * from "./shared.js";\n', r"export \*"),
        ('import { keep } from "./shared.js";\nconst hidden = 1;\n', "declared more than once .*: hidden"),
        ('import { draw } from "./second.js";\n', "has a default export"),
    ],
)
def test_what_cannot_be_put_into_one_script_is_refused(write, line, complaint):
    shared = "export function keep() {}\nfunction hidden() {}\n"
    with pytest.raises(ValueError, match=complaint):
        write(main=line + ENTRY, shared=shared, second="export function draw() {}\n" + ENTRY)


@pytest.mark.parametrize("name", NAMES)
def test_the_script_of_a_component_needs_no_other_file(name):
    outside = re.findall(r"^(?:import|export)\b.*", scripts.script(name), re.MULTILINE)
    assert len(outside) == 1
    assert outside[0].startswith("export default function (")


@pytest.mark.process
def test_importing_a_component_does_not_load_streamlit():
    modules = [f"minigpt.app.components.{name}" for name in [*NAMES, "registry", "messages", "own_server", "scripts"]]
    code = (
        f"import importlib, json, sys\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
        "print(json.dumps([name for name in ('streamlit', 'starlette', 'torch') if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_the_tools_are_pinned_and_the_lock_file_names_no_registry():
    tools = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]
    packages = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in tools} == tools
    assert not [name for name, package in packages.items() if "resolved" in package]
