"""The Sampling page."""
