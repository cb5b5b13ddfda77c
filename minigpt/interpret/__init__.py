"""Interpretability: what the model computed, recorded and edited through its own probe."""
