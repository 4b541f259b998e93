"""Jobs in processes of their own, which import no more than the jobs do."""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from spknorm.config.launcher import end_with_parent

OnProgress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


def compute(
    jobs: Sequence[Callable[[], None]], workers: int, progress: OnProgress, *, done: int, total: int
) -> None:
    """Run jobs and tell of each; before them `done` parts are done."""
    progress(done, total)
    for number, _ in enumerate(in_parallel(jobs, workers), start=done + 1):
        progress(number, total)


def in_parallel(jobs: Sequence[Callable[[], None]], workers: int) -> Iterator[None]:
    """Run jobs in processes of their own (in this one where one suffices); yield after each."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            job()
            yield
        return
    context = get_context("spawn")
    ending = functools.partial(end_with_parent, 1)
    with ProcessPoolExecutor(workers, context, initializer=ending) as executor:
        try:
            for future in as_completed([executor.submit(job) for job in jobs]):
                future.result()
                yield
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
