"""The frame around every page, the server, and what they offer."""
