"""Names that become parts of paths: of experiments, spectra, datasets and presets."""

import re

from rope_spectra.runtime.errors import UserError

PATTERN = r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\s)"
# An experiment, or a part of a search such as `search/round0`.
OF_EXPERIMENT = (
    r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/(round[0-9]{1,2}|confirmation))?$(?!\s)"
)
RULE = "use up to 100 of A-Z a-z 0-9 . _ - (a letter or digit first, no '..')"


def check(name: object, where: str, pattern: str = PATTERN) -> str:
    """The name itself, if it fits a pattern of this module and so leads nowhere else in a path.

    Raises UserError, which begins with `where`, otherwise.
    """
    if not isinstance(name, str) or not re.search(pattern, name):
        raise UserError(f"{where}: {name!r:.120} cannot be a name; {RULE}")
    return name
