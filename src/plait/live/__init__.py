"""A recogniser while it happens: the same windows and the same scores as from the files."""
