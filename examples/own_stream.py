"""A sensor of your own, `plait live MODEL --stream left=own_stream:Glove`: a glove that sends UDP packets.

A packet holds the glove's own time in seconds and the flexion of five fingers, six float64.
"""

import socket
import struct
from collections.abc import Iterator

PACKET = struct.Struct("<6d")


class Glove:
    """Five fingers at 50 Hz."""

    names = ("thumb", "index", "middle", "ring", "little")
    rate_hz = 50.0
    clock = "arrival"  # the glove has its own; without this line, times are those of time.monotonic()

    def __init__(self, host: str = "127.0.0.1", port: int = 5005) -> None:
        self.open = True
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))  # 0.0.0.0 hears a glove in the network
        self.socket.settimeout(0.5)

    def __iter__(self) -> Iterator[tuple[float, list[float]]]:
        """Time and reading of each packet."""
        with self.socket:
            while self.open:
                try:
                    time_s, *flexion = PACKET.unpack(self.socket.recv(PACKET.size))
                except TimeoutError:
                    continue
                yield time_s, flexion

    def close(self) -> None:
        """Called in the end."""
        self.open = False
