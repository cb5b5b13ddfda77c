"""Check a change: format, lint, types, JavaScript, tests; `.ci/run` and git's hooks run the same steps.

    python tools/check.py                 # everything
    python tools/check.py static quick    # all but the tests that need a browser, a child process or minutes
    python tools/check.py lint types      # single steps

The Python tools are those installed for the Python that runs this file, by requirements-dev.txt. The JavaScript tools
are those that package.json pins; where there is no Node, their step is skipped with a reason.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PYTHON = [sys.executable, "-m"]
STATIC = {
    "format": [*PYTHON, "ruff", "format", "--check", "."],
    "lint": [*PYTHON, "ruff", "check", "."],
    "types": [*PYTHON, "mypy"],
    "javascript": ["bash", "tools/check-js"],
}
TESTS = {
    "quick": [*PYTHON, "pytest", "-n", "auto", "-m", "not browser and not process and not slow"],
    "tests": [*PYTHON, "pytest", "-n", "auto"],
    "slow": [*PYTHON, "pytest", "-m", "slow"],
}
STEPS = {**STATIC, **TESTS}


@click.command(help=__doc__.splitlines()[0])
@click.argument("names", nargs=-1, metavar="[STEP]...", type=click.Choice(["static", *STEPS]))
def main(names: tuple[str, ...]) -> None:
    """Run the steps in order and stop at the first that fails; without names, all but `quick` and `slow`."""
    steps = [step for name in names or ("static", "tests") for step in (STATIC if name == "static" else [name])]
    for step in steps:
        click.echo(f"== {step}")
        if shutil.which(STEPS[step][0]) is None:
            click.echo(f"skipped: there is no {STEPS[step][0]} on this machine")
        elif code := subprocess.run(STEPS[step], cwd=ROOT, check=False).returncode:
            sys.exit(code)


if __name__ == "__main__":
    main()
