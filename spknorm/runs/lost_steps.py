"""Steps that were taken back, for their numbers or for want of memory: counted, told, not too many.

Used by `iteration.py`, which has put everything back before it comes here.
"""

import logging
from collections.abc import Callable, Sequence

from spknorm.batches import Batch
from spknorm.errors import ConfigError, NonFiniteError
from spknorm.method.optim.transaction import HalfMovedError, ShortOfMemoryError
from spknorm.method.optim.world import World
from spknorm.runs.state import Counters
from spknorm.schema import RunnerConfig

logger = logging.getLogger(__name__)

_LISTED = 20
_ADVICE = (
    "Lower datarc.train_batch_size and raise runner.gradient_accumulate_steps, set "
    "upstream.checkpoint_activations, or use runner.precision bf16."
)


class LostSteps:
    """Counts lost steps, and ends the run where too many come in a row; `say` writes to log.log."""

    def __init__(
        self, run: RunnerConfig, world: World, counters: Counters, say: Callable[[str], None]
    ) -> None:
        self._run, self._world, self._counters, self._say = run, world, counters, say

    def to_numbers(self, ids: Sequence[str]) -> None:
        """Count step `counters.step`, already done, whose loss or gradient was not finite.

        Raises:
            NonFiniteError: It is the `runner.max_nonfinite`-th in a row.
        """
        counters = self._counters
        counters.nonfinite_in_a_row += 1
        listed = ", ".join(ids[:_LISTED]) + (" ..." if len(ids) > _LISTED else "")
        text = f"loss or gradient not finite at step {counters.step}, weights untouched: {listed}"
        logger.warning("%s", text)
        self._say(text)
        if counters.nonfinite_in_a_row >= self._run.max_nonfinite:
            raise NonFiniteError(
                f"{counters.nonfinite_in_a_row} steps in a row had a loss or gradient that is not "
                f"finite, the last with the utterances {listed}. The weights are as they were "
                "before. Look at these files (spknorm doctor), lower optimizer.lr or "
                "speaker_lambda, or use runner.precision fp32 or bf16."
            )

    def can_be_tried_again(self, error: BaseException) -> bool:
        """Whether a step for which memory was too short was taken back in all processes."""
        alone = self._world.size == 1 or isinstance(error, ShortOfMemoryError)
        return alone and not isinstance(error, HalfMovedError)

    def to_memory(self, batches: Sequence[Batch], error: BaseException) -> None:
        """Count the step after `counters.step`, for whose batches memory was too short.

        Raises:
            ConfigError: Too many in a row, or it could not be taken back in all processes.
        """
        counters = self._counters
        number, before = counters.step + 1, counters.out_of_memory_in_a_row
        if not self.can_be_tried_again(error):
            raise ConfigError(
                f"Out of memory at step {number}, where it could not be skipped: go on with -a, "
                f"which starts from the last checkpoint. {_ADVICE}"
            ) from error
        if before >= self._run.max_oom:
            raise ConfigError(
                f"Out of memory at step {number}; {before} batches in a row were skipped for that "
                f"reason before. {_ADVICE}"
            ) from error
        counters.out_of_memory += 1
        counters.out_of_memory_in_a_row += 1
        text = f"out of memory at step {number}, batch skipped: {', '.join(ids_of(batches))}"
        logger.warning("%s. %s", text, _ADVICE)
        self._say(text)


def without_frames(error: BaseException) -> BaseException:
    """Return an error without the frames, its causes' included, that hold on to memory."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def ids_of(batches: Sequence[Batch]) -> list[str]:
    """Return the utterances of some batches in their order."""
    return [name for batch in batches for name in batch.ids]
