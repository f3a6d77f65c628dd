"""The text as a reader sees it: characters, invisible characters, pairs of marks, particles, sentences."""
