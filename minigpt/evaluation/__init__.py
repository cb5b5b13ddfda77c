"""How well a model expects a text."""
