"""The entry point of the app: `streamlit run streamlit_app.py`.

Streamlit finds `app` and serves it: the frame's script lies in a folder without `pages/`, so that a deep link such as
`/train` opens the right page even as the first request, and the lifespan hook starts and stops the training engine. A
host that does not know `st.App` runs this file as a plain script instead; then this file draws the frame itself.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if (ROOT / "minigpt").is_dir() and str(ROOT) not in sys.path:  # a checkout that is not installed
    sys.path.insert(0, str(ROOT))

# OpenMP threads that wait must sleep, not spin: this machine also serves pages. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
# NumPy's products of a batch are small. With two threads beside other work, one takes 100 ms in place of 0.03 ms.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import streamlit as st  # noqa: E402
from streamlit.runtime.scriptrunner import get_script_run_ctx  # noqa: E402

from minigpt.app.shell import frame, server  # noqa: E402

if get_script_run_ctx(suppress_warning=True) is None:
    app = st.App(server.SCRIPT, lifespan=server.lifespan, routes=server.ROUTES, middleware=server.MIDDLEWARE)
else:
    server.start_once()
    frame.run()
