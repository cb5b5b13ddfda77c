"""Paths of the files that ship with minigpt: presets, profiles, bundled runs, texts.

In a checkout they are next to the package (`configs/`, `assets/`). Installed from a wheel they are inside it, under
`minigpt/_resources/`. No other module builds such a path itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from minigpt.errors import InputError
from minigpt.paths import user_path

_PACKAGE = Path(__file__).resolve().parent

MODULE_FILE_VARIABLE = "MINIGPT_MODULE_FILE"
"""Names the Python file of position schemes and blocks that a server is started with. The server asks for it before it
answers, so it is here and not in `runs.limits`, which imports the settings."""


def root() -> Path:
    """Return the folder with `configs/`, `assets/`, `pages/` and `streamlit_app.py`."""
    inside = _PACKAGE / "_resources"
    return inside if inside.is_dir() else _PACKAGE.parent


def preset_path(name: str) -> Path:
    """Return the path of a preset's YAML file; it need not exist."""
    return root() / "configs" / "presets" / f"{name}.yaml"


def preset_names() -> list[str]:
    """Return the names of all presets, in alphabetical order."""
    return sorted(path.stem for path in (root() / "configs" / "presets").glob("*.yaml"))


def profile_path(name: str) -> Path:
    """Return the path of a profile's YAML file; it need not exist."""
    return root() / "configs" / "profiles" / f"{name}.yaml"


def profile_names() -> list[str]:
    """Return the names of all profiles, in alphabetical order."""
    return sorted(path.stem for path in (root() / "configs" / "profiles").glob("*.yaml"))


def bundled_runs_path() -> Path:
    """Return the folder with the bundled runs, one folder per run."""
    return root() / "assets" / "runs"


def bundled_run_names() -> list[str]:
    """Return the names of the bundled runs; `tales`, the default, comes first."""
    names = sorted(path.parent.name for path in bundled_runs_path().glob("*/run.json"))
    return sorted(names, key=lambda name: name != "tales")


def asset_path(*parts: str) -> Path:
    """Return the path of a file under `assets/`; it need not exist."""
    return root().joinpath("assets", *parts)


def home() -> Path:
    """Return the folder of the user's runs: `MINIGPT_HOME`, else `./runs`; it need not exist."""
    return _folder("MINIGPT_HOME", "runs")


def cache() -> Path:
    """Return the folder for downloads: `MINIGPT_CACHE`, else `~/.cache/minigpt`; it need not exist."""
    return _folder("MINIGPT_CACHE", "~/.cache/minigpt")


def state() -> Path:
    """Return the folder for what a person typed: `MINIGPT_STATE`, else `~/.local/state/minigpt`; it need not exist."""
    return _folder("MINIGPT_STATE", "~/.local/state/minigpt")


def _folder(variable: str, default: str) -> Path:
    """Return the folder that a variable of the environment names, or else the default.

    Raises:
        InputError: No folder of this machine can have that path.
    """
    try:
        return user_path(os.environ.get(variable) or default, for_reading=False)
    except InputError as error:
        raise InputError(f"{variable}: {error.problem}", mend=error.mend) from None
