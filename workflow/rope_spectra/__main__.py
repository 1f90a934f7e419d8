"""All commands under one name.

    rope-spectra --help           # the commands, and what each does
    rope-spectra status --once    # the same as: python -m rope_spectra.status --once

A command is a module next to this one.
"""

import ast
import difflib
import sys
from importlib import import_module
from pathlib import Path

from rope_spectra.runtime import cli


def main() -> None:
    """Run the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    known = commands()
    if name in ("-h", "--help"):
        print(usage(known))
        return
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {nearest[0]}?" if nearest else "see rope-spectra --help"
        sys.exit(f"error: no command {name!r}; {remedy}")
    # argparse takes the name of the program from here.
    sys.argv = [f"rope-spectra {name}", *arguments]
    cli.run(import_module(f"rope_spectra.{name}").main)


def commands() -> dict[str, str]:
    """The first line of each command's docstring, by name.

    Read from the text: to import all commands would load torch, pandas and matplotlib.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        found[path.stem] = docstring.partition("\n")[0]
    return found


def usage(known: dict[str, str]) -> str:
    """The help: one line for each command."""
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {text}" for name, text in known.items()]
    head = "usage: rope-spectra COMMAND [OPTIONS]\n\n`rope-spectra COMMAND --help` says more.\n"
    return "\n".join([head, *lines])


if __name__ == "__main__":
    main()
