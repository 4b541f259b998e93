"""The trainable parameters by role."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import nn

from spknorm.schema import MethodConfig

EMOTION = ("upstream", "featurizer", "gate", "emotion_head")
"""The roles that the emotion loss trains, in s3prl's order."""


class Groups(NamedTuple):
    """The trainable parameters by role; `featurizer` has the weights of the upstream's layers."""

    upstream: list[nn.Parameter]
    gate: list[nn.Parameter]
    emotion_head: list[nn.Parameter]
    speaker_head: list[nn.Parameter]
    featurizer: list[nn.Parameter] = []  # noqa: RUF012  # never changed

    def shared(self, method: MethodConfig) -> list[nn.Parameter]:
        """Return what equation (3) moves."""
        return [parameter for name in shared_names(method) for parameter in getattr(self, name)]

    def drop_gradients(self) -> None:
        """Leave no gradient behind."""
        for parameters in self:
            for parameter in parameters:
                parameter.grad = None


def shared_names(method: MethodConfig) -> tuple[str, ...]:
    """Return the roles that equation (3) moves: the gate under SNP, the upstream under TAP."""
    tap = ("upstream", "featurizer") if method.ascend_layer_weights else ("upstream",)
    return {"none": (), "SNP": ("gate",), "TAP": tap}[method.strategy]


@contextlib.contextmanager
def left_out(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Build graphs without these parameters: gradients that they have stay as they are."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
