"""Home: what this is, one button to start, and the way from a text to its next character."""

from minigpt.app.home import page

page.draw()
