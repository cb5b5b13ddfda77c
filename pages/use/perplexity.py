"""Perplexity: where a text surprised the model, and by how many bits."""

from minigpt.app.perplexity import page

page.draw()
