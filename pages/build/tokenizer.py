"""Tokenizer: see how a text is cut into tokens, and how tokens are learned merge by merge."""

from minigpt.app.tokenizer import page

page.draw()
