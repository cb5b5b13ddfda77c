"""`minigpt chat`: a conversation with a model, line by line.

A line is text to continue or a command such as `/set temperature=0.8`. core.py answers a line: `respond(chat, line)` is
a pure function that returns the new state, what to print, and what the model has to do. session.py does that with a
model and prints; terminal.py reads lines from a terminal. Nothing else here knows that there is a terminal.

Read lexing.py, settings.py, state.py, core.py, session.py, terminal.py, in this order.
"""
