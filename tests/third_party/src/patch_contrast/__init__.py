"""A method of its own, found by bench through the entry point in pyproject.toml."""
