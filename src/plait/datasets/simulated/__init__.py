"""Recordings that never happened, with the truth beside them."""
