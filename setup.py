"""Put what lies beside the package into the wheel, under `minigpt/_resources/`; all else is in pyproject.toml.

In a checkout, and in an editable install, `minigpt.resources` finds these files where they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RESOURCES = ("configs", "assets", "pages", ".streamlit", "streamlit_app.py", "LICENSE")


class BuildWithResources(build_py):
    """Build the package, then copy the resources into it."""

    def run(self) -> None:
        """Copy after everything else has been built."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "minigpt" / "_resources"
        shutil.rmtree(target, ignore_errors=True)  # a build folder may hold what has been deleted since
        for name in RESOURCES:
            source = Path(name)
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "secrets.toml"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": BuildWithResources})
