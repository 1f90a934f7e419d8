"""The parameters of the functions that rules declare, found once and not for each job.

Snakemake looks at the signature of an input function, of a parameter's or of a resource's three
times for each job that asks it: 121,000 times in the plan of 1,724 runs, for some 200 functions.
"""

from functools import cache, wraps
from typing import Any


def see(*modules: Any) -> None:
    """Makes the modules of Snakemake that ask for a function's parameters remember them."""
    look = modules[0].get_function_params
    if hasattr(look, "__wrapped__"):
        return
    known = cache(look)

    @wraps(look)
    def get_function_params(function: Any) -> Any:
        try:
            return known(function)
        except TypeError:  # a callable without a hash
            return look(function)

    for module in modules:
        module.get_function_params = get_function_params
