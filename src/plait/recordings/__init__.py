"""What a recording consists of on disk, as streams and spans: video, audio, sensor logs, labels."""
