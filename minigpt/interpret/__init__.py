"""Looking inside: what the model computed, recorded through its own probe."""
