"""The Streamlit app. Only this package and the short scripts in `pages/` import streamlit."""
