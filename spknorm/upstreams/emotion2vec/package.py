"""funasr's modules of emotion2vec, and nothing else of funasr.

`import funasr` imports all of its models, for which it needs two dozen packages. Those of
emotion2vec need torch, numpy and omegaconf, which s3prl needs anyway.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from spknorm.errors import ConfigError
from spknorm.upstreams.weights import first_line

_PACKAGE, _MODELS = "funasr", "funasr.models.emotion2vec"


@contextlib.contextmanager
def modules(*, wanted_by: str) -> Iterator[Any]:
    """Give funasr's package with its modules audio, base and modules; within, they build classes.

    Raises:
        ConfigError: funasr is not installed, or is another version's.
    """
    with _shell(wanted_by):
        try:
            for name in ("audio", "base", "modules"):
                importlib.import_module(f"{_MODELS}.{name}")
            package: Any = sys.modules[_MODELS]
            assert (
                package.audio.AudioEncoder and package.base.get_alibi and package.modules.AltBlock
            )
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"The upstream `{wanted_by}` needs emotion2vec of funasr, which the funasr that is "
                f"installed does not give ({first_line(error)}): pip install -U --no-deps funasr"
            ) from error
        yield package


@contextlib.contextmanager
def _shell(wanted_by: str) -> Iterator[None]:
    """Let `funasr` be an empty package with its own folder, unless all of it is imported."""
    if _PACKAGE in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ConfigError(
            f"The upstream `{wanted_by}` needs the package funasr, which is not installed: "
            "pip install --no-deps funasr (what its other models need is not used here)."
        )
    shell = ModuleType(_PACKAGE)
    shell.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = shell
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
