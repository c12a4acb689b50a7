"""What a recording consists of on disk, as streams: video, audio."""
