"""Sensors' own files: a format is a function from a file to named streams with times, one module each."""
