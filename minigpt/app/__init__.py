"""The Streamlit app: everything that imports streamlit, besides the thin scripts in `pages/`."""
