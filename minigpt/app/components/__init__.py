"""Components that Streamlit lacks; each module registers one when it is imported."""
