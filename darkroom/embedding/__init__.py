"""The network that gives embeddings: the bundled one, or one of keras.applications."""
