"""Plotly figures from plain arrays and sequences, one module for each topic. Nothing here imports torch or Streamlit.

A figure is a function `f(data..., *, palette, words, ...) -> go.Figure`. `palette` holds its colours; `words`, a frozen
dataclass for that figure or topic, holds every word on it: titles, hover texts, labels. No figure knows the name of a
theme or has a word of its own. `layout` has the layout that all share, `labels` the writing of tokens and numbers.
"""
