"""An emotion2vec under s3prl's contract of an upstream."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.upstreams.alone import AloneUpstream
from spknorm.upstreams.emotion2vec import CONFIG_FILE, files
from spknorm.upstreams.emotion2vec.network import Network
from spknorm.upstreams.emotion2vec.package import modules
from spknorm.upstreams.hugging_face.folder import fill


class Emotion2vecUpstream(AloneUpstream):
    """An upstream from a folder as emotion2vec is released: config.yaml and model.pt.

    Its hidden states are the first layer's input and what each layer gives, without the tokens
    that stand before the frames; the last is what funasr gives as features.

    Args:
        name: As -u takes it.
        ckpt: Folder, or model.pt in it; None: the one of that name in a cache or on its hub.

    Attributes:
        model: The network.
        normalize: Whether waveforms are normalised.
        files: Where its files are.

    Raises:
        ConfigError: funasr is not installed.
        MissingError: The checkpoint is nowhere.
        CheckpointError: It is damaged, or another model's.
    """

    frames_every = 320

    def __init__(self, name: str, ckpt: str | None) -> None:
        super().__init__()
        with modules(wanted_by=name) as package:
            self.files = files.locate(name, ckpt)
            source = str(self.files.folder)
            settings = files.read_settings(self.files)
            self.model = Network(settings, package, source=source)
        weights = {
            # data2vec 2.0's older checkpoints have one scale for all layers
            key: value[None] if key.endswith("alibi_scale") and value.ndim == 4 else value
            for key, value in files.read_weights(self.files).items()
        }
        fill(self.model, weights, source=source, described=CONFIG_FILE)
        self.normalize = bool(settings.get("normalize", False))
        self.feature_grad_mult = 0.0

    def front_end_parts(self) -> list[nn.Module]:
        """Return the convolutions."""
        return [self.model.feature_extractor]

    def states(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return every layer (b, T, H) of b waveforms of one length."""
        if self.normalize:
            wavs = [functional.layer_norm(wav, wav.shape) for wav in wavs]
        states: list[Tensor] = self.model(torch.stack(list(wavs)))
        return states
