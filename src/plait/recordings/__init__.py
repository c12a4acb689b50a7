"""Recordings as they come from a lab: sensor logs and labels, read into streams and spans."""
