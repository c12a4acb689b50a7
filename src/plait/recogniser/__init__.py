"""What a study learned, applied to new recordings: fit, predict, segments, export."""
