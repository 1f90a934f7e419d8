"""The old name of the content of a design, for what is not typed yet."""

from typing import Any

Definition = dict[str, Any]
