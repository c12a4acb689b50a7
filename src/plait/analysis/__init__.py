"""Statistics as pure functions of the predictions table."""
