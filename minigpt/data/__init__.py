"""Texts to read, how they are split, and how batches are gathered from them."""
