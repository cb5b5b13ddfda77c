"""Attention: who looks at whom, head by head and stage by stage; nobody looks ahead."""

from minigpt.app.attention import page

page.draw()
