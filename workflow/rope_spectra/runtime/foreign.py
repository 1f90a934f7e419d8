"""Files that others may have written, and their text: read with bounds, shown without harm.

Logs, heartbeats and records come from other machines and other people. What they say reaches the
terminal through `printable` alone. Imports nothing heavy.
"""

import errno
import os
import stat
import unicodedata
from pathlib import Path


def printable(text: str) -> str:
    r"""The text with every control character as its escape, such as \x1b; line breaks stay.

    Sent to a terminal as they are, they could move the cursor, set the title of the window or turn
    the direction of reading.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else _escape(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    # C: control, format, surrogate, private and unassigned; Zl, Zp: line breaks of Unicode's own.
    category = unicodedata.category(letter)
    return letter == "\n" or not (category.startswith("C") or category in ("Zl", "Zp"))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def read_end(path: Path, most: int) -> bytes:
    """The last bytes of a regular file, at most so many.

    OSError for anything else: a link could lead to a private file, a pipe or device would never
    end.
    """
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Without waiting, in case that it has become a pipe meanwhile.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(state.st_size - most, 0))
        return file.read(most)
