"""Where work is done: this machine, its processes, or a cluster."""
