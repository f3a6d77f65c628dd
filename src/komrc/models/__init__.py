"""Model folders: which files they have, whether they may be trusted, and where they come from."""
