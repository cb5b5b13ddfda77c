"""Write `assets/home_flow.json`, the recording that Home animates, from the bundled run `tales`.

    python tools/make_home_flow.py

Run it again after `tales` has been retrained; a test records the flow once more and compares.
"""

import json
import sys
from pathlib import Path

import minigpt
from minigpt import resources
from minigpt.interpret.flow import record_flow
from minigpt.storage import write_text

PROMPT, NUM_TOKENS, SEED = "Today I ", 22, 7


def main(run: str = "tales", out: str = "") -> None:
    """Record the flow.

    Args:
        run: Name, id or folder of a run.
        out: Where to write; empty: into `assets/`.
    """
    path = Path(out) if out else resources.asset_path("home_flow.json")
    flow = record_flow(minigpt.load_run(run), PROMPT, num_tokens=NUM_TOKENS, seed=SEED)
    write_text(path, json.dumps(flow.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path}: {''.join(flow.tokens)!r}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
