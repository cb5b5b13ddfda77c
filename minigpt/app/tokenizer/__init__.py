"""The Tokenizer page: how a text is cut into tokens."""
