"""Figures: plain arrays and frames in, Plotly figures out. Nothing here knows torch or Streamlit."""
