"""Forward: the whole model with a text flowing through it, every step opened to its numbers and its lines."""

from minigpt.app.forward import page

page.draw()
