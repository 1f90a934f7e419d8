"""Every kind of damage a file can take."""

import random
from collections.abc import Iterator


def damages(content: bytes, choose: random.Random) -> Iterator[tuple[str, bytes]]:
    """Flipped bytes, the first and the last one included, cut ends and added ends."""
    for position in [0, len(content) - 1, *(choose.randrange(len(content)) for _ in range(14))]:
        mask = choose.randrange(1, 256)
        yield (
            f"byte {position} ^ {mask}",
            content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :],
        )
    for length in [0, len(content) - 1, *(choose.randrange(len(content)) for _ in range(3))]:
        yield f"cut to {length}", content[:length]
    for more in (b"\n", b" ", b"\0", choose.randbytes(7)):
        yield f"followed by {more!r}", content + more
