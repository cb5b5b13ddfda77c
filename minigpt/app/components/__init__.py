"""Components that Streamlit lacks: each is a folder with its Python side, its script and its style."""
