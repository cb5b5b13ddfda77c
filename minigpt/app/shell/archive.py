"""The source code of the running app as one file; the licence requires that visitors can get it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from minigpt import resources
from minigpt.version import __version__


def source_archive() -> bytes:
    """Return the source code of the running app as a zip; AGPL-3.0 gives every visitor the right to it.

    It packs the files that run here, with all local changes: the package, pages, texts, settings and tools. Bundled
    runs are data and are left out.
    """
    root, package = resources.root(), Path(resources.__file__).resolve().parent
    files = [root / name for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.txt", "streamlit_app.py")]
    for folder in ("pages", "configs", "assets", "tools", ".streamlit"):
        files += sorted((root / folder).rglob("*"))
    named = [(path, path.relative_to(root)) for path in files if resources.bundled_runs_path() not in path.parents]
    inside = package / "_resources"
    named += [
        (path, path.relative_to(package.parent)) for path in sorted(package.rglob("*")) if inside not in path.parents
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in named:
            if path.is_file() and "__pycache__" not in name.parts and name.name != "secrets.toml":
                archive.write(path, f"minigpt-{__version__}/{name.as_posix()}")
    return buffer.getvalue()
