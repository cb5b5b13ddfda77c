"""Choosing the next token, and the loop that does it again and again."""
