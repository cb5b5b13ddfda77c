"""A component's script as the browser gets it: one module, in which each import is replaced by the imported module.

Streamlit loads a component's script from a Blob URL, where a relative import finds no file. The sources are ES modules
anyway, so that editors, the linter and the type checker understand them. Once joined, all modules of a script share one
scope, so no two of them may declare the same name at their top level.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent

_IMPORT = re.compile(r'^import \{(\s*\w+(?:,\s*\w+)*,?\s*)\} from "(\.[\w./]+)";\n', re.MULTILINE)
_DECLARATION = re.compile(r"^(export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
_REFUSED = re.compile(r"^(?:import\b|export (?!default function \()).*", re.MULTILINE)
"""Imports and exports that remain after the known forms were replaced; only the script itself has a default export."""

_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*(?:(?!\*/)[\s\S])*\*/[ \t]*)\n", re.MULTILINE)
"""A comment that has its lines to itself."""


def script(name: str) -> str:
    """Return the script of a component as one module without imports and comments.

    Streamlit sends it with every message of the component, and almost half of it would be comments.

    Args:
        name: Name of the component's folder.

    Raises:
        ValueError: See `inline`.
    """
    return _COMMENT.sub("", inline(FOLDER / name / "script.js"))


def inline(path: Path, root: Path = FOLDER) -> str:
    """Return a module in which each import line is replaced by the imported module; each module is inserted once.

    Imports look like `import { keep, make } from "../shared.js";`, exports stand before a declaration
    (`export function make`), and only the outermost module has an `export default function (component)`.

    Args:
        path: The module.
        root: The folder that holds all modules that may be imported.

    Raises:
        ValueError: An import or export has another form, an imported module lies outside `root` or does not exist, a
            name is imported that the module does not export, or two modules declare the same name.
    """
    text = _inline(path, root.resolve(), set())
    if text.count("export default ") > 1:
        raise ValueError(f"{path.name}: a module that it imports has a default export")
    declared = Counter(name for _, name in _DECLARATION.findall(text))
    if twice := [name for name, count in declared.items() if count > 1]:
        raise ValueError(f"{path.name}: declared more than once in it and what it imports: {', '.join(twice)}")
    return text


def _inline(path: Path, root: Path, done: set[Path]) -> str:
    def replace(found: re.Match[str]) -> str:
        names, address = set(re.findall(r"\w+", found[1])), found[2]
        module = (path.parent / address).resolve()
        if not module.is_relative_to(root) or not module.is_file():
            raise ValueError(f"{path.name}: there is no module {address} to import")
        exported = {name for export, name in _DECLARATION.findall(module.read_text("utf-8")) if export}
        if unknown := sorted(names - exported):
            raise ValueError(f"{path.name}: {address} does not export {', '.join(unknown)}")
        if module in done:
            return ""
        done.add(module)
        return _inline(module, root, done)

    text = _IMPORT.sub(replace, path.read_text("utf-8"))
    text = re.sub(r"^export (?=(?:async )?(?:function|class|const|let) )", "", text, flags=re.MULTILINE)
    if refused := _REFUSED.search(text):
        raise ValueError(f"{path.name}: cannot put this into one script: {refused[0]}")
    return text
