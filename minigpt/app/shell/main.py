"""The script that `st.App` runs on every rerun: it draws the frame, which draws the page.

Streamlit puts only this file's own folder on `sys.path`; `streamlit_app.py` has put the checkout's there before.
"""

from minigpt.app.shell import frame

frame.run()
