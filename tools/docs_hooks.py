"""What `mkdocs build` does besides reading docs/: it adds CONTRIBUTING.md, and changes some links and all diagrams.

The documents also have to read well in the repository, where a link to a source file leads to that file. The site has
no source files, so such a link becomes the name of the file. GitHub draws diagrams from their text; the site shows what
`make_diagrams.py` has drawn, since the script that draws would have to come from another server.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
DIAGRAM = re.compile(r"(?P<about>(?:[^\n]+\n)+)\n```mermaid\n(?P<source>.*?)```", re.DOTALL)
"""A diagram, with the paragraph before it, which says what it shows."""
SCHEMES = ("light", "dark")
PAGES = {"CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that are pages of the site."""
PICTURES = {"assets/images/icon.svg": "images/icon.svg"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and the picture that are not in docs/."""
    from mkdocs.structure.files import File

    for name, page in {**PAGES, **PICTURES}.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Turn links to files of the repository into links of the site, or into the names of the files; show diagrams."""
    folder = ROOT if page.file.src_uri in PAGES.values() else ROOT / "docs"
    return drawn(rewritten(markdown, folder), Path(page.file.src_uri).stem)


def digest(source: str) -> str:
    """Return what tells the text of a diagram from others."""
    return hashlib.sha256(source.encode()).hexdigest()


def diagram_path(page: str, number: int, scheme: str) -> Path:
    """Return the path of a diagram as `make_diagrams.py` draws it."""
    return ROOT / "docs" / "images" / "diagrams" / f"{page}-{number}-{scheme}.svg"


def drawn(markdown: str, page: str) -> str:
    """Return a page's text with its diagrams as pictures, one for light and one for dark.

    Raises:
        ValueError: A diagram was changed after it had been drawn.
    """
    numbers = itertools.count(1)

    def change(found: re.Match[str]) -> str:
        number, pictures = next(numbers), []
        about = re.sub(r"[`\[\]]", "", " ".join(found["about"].split()))
        for scheme in SCHEMES:
            path = diagram_path(page, number, scheme)
            if not path.exists() or digest(found["source"]) not in path.read_text("utf-8").partition("\n")[0]:
                raise ValueError(f"Diagram {number} of {page}.md has changed; run python -m tools.make_diagrams.")
            address = f"images/diagrams/{path.name}#only-{scheme}"
            pictures.append(f"![{about}]({address}){{ .diagram }}")
        return f"{found['about']}\n" + "\n".join(pictures)

    return DIAGRAM.sub(change, markdown)


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
