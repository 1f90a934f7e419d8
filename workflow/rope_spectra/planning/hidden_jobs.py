"""A repair of Snakemake's plan where a job makes a file that others take as `ancient`.

A job that has to run hides all jobs behind it from the first look of the plan: they will run
because of it. A consumer that takes its file as `ancient` will not, and yet stayed hidden, with all
that was missing behind it. So a change of log_every in a study with runs to do planned one job,
options.json, and said "1 of 1 steps (100%) done".
"""

from collections import deque
from collections.abc import Iterator, Mapping
from functools import wraps
from typing import Any


def see(dag_class: type[Any]) -> None:
    """Makes Snakemake's DAG look at the jobs behind `ancient` files themselves."""
    plan = dag_class.update_needrun
    if hasattr(plan, "__wrapped__"):
        return

    @wraps(plan)
    async def update_needrun(dag: Any, *args: Any, **kwargs: Any) -> None:
        # The only traversal in there is the one that hides jobs.
        dag.bfs = _hidden_by
        try:
            await plan(dag, *args, **kwargs)
        finally:
            del dag.bfs

    dag_class.update_needrun = update_needrun


def _hidden_by(depending: Mapping[Any, Mapping[Any, set[Any]]], job: Any) -> Iterator[Any]:
    """The job, and the jobs that run because it does."""
    queue = deque([job])
    seen = {job}
    while queue:
        first = queue.popleft()
        yield first
        for other, files in depending[first].items():
            if other not in seen and not all(file.is_ancient for file in files):
                seen.add(other)
                queue.append(other)
