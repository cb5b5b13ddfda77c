"""The Forward page."""
