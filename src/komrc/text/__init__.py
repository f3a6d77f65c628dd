"""The text as a reader sees it: characters, invisible ones, pairs of marks, sentences, particles, places."""
