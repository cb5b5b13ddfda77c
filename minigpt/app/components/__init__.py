"""Components that Streamlit lacks: each is a folder with a Python module, a script and a style sheet."""
