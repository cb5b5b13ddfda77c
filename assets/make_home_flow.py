"""Write `assets/home_flow.json`, the recording that Home animates, from the bundled run `tales`.

    python assets/make_home_flow.py

To be run again whenever that run is trained anew; a test records it once more and compares.
"""

import json
import sys
from pathlib import Path

import minigpt
from minigpt.interpret.flow import record_flow

PROMPT, NUM_TOKENS, SEED = "Once th", 22, 11


def main(run: str = "tales", out: str = "") -> None:
    """Record the flow.

    Args:
        run: Name, id or folder of a run.
        out: Where to write; empty: beside this script.
    """
    path = Path(out) if out else Path(__file__).with_name("home_flow.json")
    flow = record_flow(minigpt.load_run(run), PROMPT, num_tokens=NUM_TOKENS, seed=SEED)
    path.write_text(json.dumps(flow.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(f"{path}: {''.join(flow.tokens)!r}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
