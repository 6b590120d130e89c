"""The stages of the pipeline (verbs) and what they are made of (nouns)."""
