"""The characters that a terminal must not get from a file."""

import unicodedata


def control_characters(text: str) -> set[str]:
    """Those in a text, but for the line break."""
    return {
        letter
        for letter in text
        if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
