"""Run the tests as on other processors, because a numeric test must not depend on the one that it was written on.

    python tools/every_processor.py                        # the library: no page, no browser
    python tools/every_processor.py tests/model -x         # anything else that pytest understands

torch, oneDNN and MKL choose an instruction set when a process starts, and round differently with each choice. Each pass
limits them to one level by environment variables; the last one sets no limit. A test that fails in only one pass
compares with numbers of one processor: compare with an oracle in the same process instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ["-n", "auto", "-m", "not browser and not slow", "--ignore=tests/app", "--ignore=tests/browser"]
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
LEVELS: dict[str, tuple[str, str, str] | None] = {
    "SSE": ("default", "SSE41", "SSE4_2"),
    "AVX2": ("avx2", "AVX2", "AVX2"),
    "this machine's own": None,
}
"""The values of VARIABLES at each level."""
CAPABILITY = "import torch; print(torch.backends.cpu.get_cpu_capability())"


def main() -> None:
    """Run pytest once at each level; the exit code is 1 if any pass failed."""
    arguments = sys.argv[1:] or LIBRARY
    failed = []
    for name, values in LEVELS.items():
        environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        environment |= dict(zip(VARIABLES, values, strict=True)) if values else {}
        found = subprocess.run(
            [sys.executable, "-c", CAPABILITY], env=environment, capture_output=True, text=True, check=True
        )
        print(f"== {name}: torch uses {found.stdout.strip()}", flush=True)
        tests = [sys.executable, "-m", "pytest", *arguments]
        if subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode:
            failed.append(name)
    sys.exit(f"failed with the instructions of {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
