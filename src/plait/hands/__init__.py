"""How many hands a camera sees: boxes, detectors that are trained on them, counts of clips."""
