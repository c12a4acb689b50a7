"""A study: from its file to one predictions table, and the statistics over it."""
