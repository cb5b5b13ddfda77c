"""See how a GPT works by training one yourself."""
