"""Draw the diagrams of the documents for the site: docs/images/diagrams/, an SVG for light and one for dark.

    python -m tools.make_diagrams

In the documents a diagram is text, which GitHub draws. The site shows these files, so that it loads nothing from
another server. `mkdocs build` fails if a diagram has changed since. It needs npm, which fetches Mermaid, and a
Chromium; see tools/look.py for the one that is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tools.docs_hooks import DIAGRAM, ROOT, SCHEMES, diagram_path, digest

MERMAID = "11.17.2"
THEMES = {"light": "default", "dark": "dark"}
DRAW = """([text, theme]) => {
  mermaid.initialize({startOnLoad: false, theme, htmlLabels: false, flowchart: {htmlLabels: false}});
  return mermaid.render("diagram", text).then((drawn) => drawn.svg);
}"""


def mermaid_script(folder: Path) -> Path:
    """Fetch Mermaid from npm into a folder and return the path of its script."""
    subprocess.run(["npm", "pack", "--silent", "--loglevel=error", f"mermaid@{MERMAID}"], cwd=folder, check=True)
    with tarfile.open(folder / f"mermaid-{MERMAID}.tgz") as archive:
        archive.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package" / "dist" / "mermaid.min.js"


def main() -> None:
    """Draw all diagrams and remove those that are in no document any more."""
    drawn = set()
    executable = os.environ.get("MINIGPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=mermaid_script(Path(folder)))
        for document in sorted((ROOT / "docs").glob("*.md")):
            for number, found in enumerate(DIAGRAM.finditer(document.read_text("utf-8")), 1):
                for scheme in SCHEMES:
                    svg = page.evaluate(DRAW, [found["source"], THEMES[scheme]])
                    path = diagram_path(document.stem, number, scheme)
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(f"<!-- {digest(found['source'])} -->\n{svg}\n", "utf-8")
                    drawn.add(path)
                    print(path.relative_to(ROOT))
        browser.close()
    for path in diagram_path("", 0, "").parent.glob("*.svg"):
        if path not in drawn:
            path.unlink()


if __name__ == "__main__":
    main()
