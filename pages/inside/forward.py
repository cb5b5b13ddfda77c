"""Forward: the whole model with a text flowing through it, every step with its numbers and its code."""

from minigpt.app.forward import page

page.draw()
