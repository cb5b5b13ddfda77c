"""What `mkdocs build` does besides reading docs/: CONTRIBUTING.md becomes a page, and links out of docs/ become text.

The documents also have to read well in the repository, where a link to a source file leads to that file. The site has
no source files, so such a link becomes the name of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
PAGES = {"CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that are pages of the site."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Turn links to files of the repository into links of the site, or into the names of the files."""
    folder = ROOT if page.file.src_uri in PAGES.values() else ROOT / "docs"
    return rewritten(markdown, folder)


def rewritten(markdown: str, folder: Path) -> str:
    """Return a page's text with its links changed.

    Args:
        markdown: The text.
        folder: Where its links begin.

    >>> rewritten("[how](../CONTRIBUTING.md), [the key](../minigpt/randomness.py)", ROOT / "docs")
    '[how](contributing.md), `minigpt/randomness.py`'
    >>> rewritten("[how](docs/architecture.md#layers), [us](https://example.org)", ROOT)
    '[how](architecture.md#layers), [us](https://example.org)'
    """

    def change(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if re.match(r"[a-z]+:", target):
            return link[0]
        path = (folder / target).resolve()
        if path.is_relative_to(ROOT / "docs"):
            return f"[{text}]({path.relative_to(ROOT / 'docs').as_posix()}{anchor})"
        name = path.relative_to(ROOT).as_posix()
        return f"[{text}]({PAGES[name]}{anchor})" if name in PAGES else f"`{name}`"

    return LINK.sub(change, markdown)
