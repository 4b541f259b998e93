"""Models of transformers that are loaded whole, or not at all.

`from_pretrained` gives weights that it does not find random values and says so in a log; and it
keeps weights of 16 bits as they are, which s3prl's waveforms do not fit. Since version 5 the last
of a pre-norm model's hidden states, which s3prl hands on, lacks the encoder's final norm.
"""

from pathlib import Path
from typing import Any

from spknorm.errors import CheckpointError
from spknorm.upstreams.weights import load_weights, unwrap_names

_ONLY_FOR_PRETRAINING = {"masked_spec_embed"}


class Late:
    """A class of transformers that is imported when something of it is asked for.

    That takes longer than all the rest that s3prl's hub imports, for upstreams that few runs have.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import transformers

        return getattr(getattr(transformers, self._name), attribute)


class LateTransformers:
    """Stands in for transformers where a module imports classes of it by name."""

    def __getattr__(self, name: str) -> Late:
        return Late(name)


class WholeModel:
    """Stands in for a class of transformers where s3prl calls its `from_pretrained`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def from_pretrained(self, source: str, **options: Any) -> Any:
        """Return the model in float32, from names that may be wrapped, its last layer normed.

        Raises:
            CheckpointError: Weights of the model are missing there.
        """
        import torch

        options = {"dtype": torch.float32, **options, "output_loading_info": True}
        model, found = self._kind.from_pretrained(source, **options)
        missing = set(found["missing_keys"]) - _ONLY_FOR_PRETRAINING
        if missing and Path(source).is_dir():
            config = self._kind.config_class.from_pretrained(source)
            weights = dict(unwrap_names(_weights_in(Path(source))))
            model, found = self._kind.from_pretrained(
                None, config=config, state_dict=weights, **options
            )
            missing = set(found["missing_keys"]) - _ONLY_FOR_PRETRAINING
        if missing:
            names = ", ".join(sorted(missing)[:3])
            raise CheckpointError(
                f"{source} does not hold the weights of a {self._kind.__name__}: {len(missing)} "
                f"are missing, such as {names}. Name the folder of such a model with -k."
            )
        model.register_forward_hook(_last_is_normed)
        return model


def _last_is_normed(_: Any, __: Any, output: Any) -> Any:
    """Let the last hidden state be the model's own last, as transformers 4 had it."""
    hidden, last = output.get("hidden_states"), output.get("last_hidden_state")
    if hidden is not None and hidden[-1].shape == last.shape:
        output["hidden_states"] = (*hidden[:-1], last)
    return output


def _weights_in(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= load_file(path)
    for path in () if weights else sorted(folder.glob("pytorch_model*.bin")):
        weights |= load_weights(path, map_location="cpu")
    return weights
