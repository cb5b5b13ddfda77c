"""The frame around every page, the server, the sidebar and the source archive."""
