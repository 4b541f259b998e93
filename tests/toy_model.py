"""A small upstream with the real heads, in float64: what tests of the equations run on."""

import torch
from torch import nn

from spknorm.method.model import Heads
from spknorm.method.updates import Groups, Update
from spknorm.schema import MethodConfig, OptimizerConfig

ETA, LAMBDA = 0.05, 0.02


class Toy:
    """A nonlinear upstream and the real heads, in float64, with one batch of each corpus."""

    def __init__(self, strategy: str, *, adversary: str = "ascent", seed=0) -> None:
        torch.manual_seed(seed)
        self.upstream = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6)).double()
        self.heads = Heads(
            6,
            num_emotions=3,
            num_speakers=4,
            strategy=strategy,
            adversary=adversary,
            projector_dim=5,
            speaker_head={"hidden": (7,)},
        ).double()
        self.emotion_x = [torch.randn(n, 5, dtype=torch.float64) for n in (4, 7, 3)]
        self.emotion_y = torch.tensor([0, 2, 1])
        self.speaker_x = [torch.randn(n, 5, dtype=torch.float64) for n in (5, 2, 6, 3)]
        self.speaker_y = torch.tensor([3, 0, 1, 2])

    @property
    def groups(self) -> Groups:
        heads = self.heads
        gate = [] if heads.gate is None else list(heads.gate.parameters())
        speaker = [] if heads.speaker_head is None else list(heads.speaker_head.parameters())
        emotion = [*heads.projector.parameters(), *heads.model.parameters()]
        return Groups(list(self.upstream.parameters()), gate, emotion, speaker)

    @property
    def shared(self) -> list[nn.Parameter]:
        """What equation (3) moves."""
        return self.groups.shared(MethodConfig(strategy=self.heads.strategy))

    def emotion_loss(self) -> torch.Tensor:
        return self.heads.emotion([self.upstream(x) for x in self.emotion_x], self.emotion_y).loss

    def speaker_loss(self, coefficient: float) -> torch.Tensor:
        features = [self.upstream(x) for x in self.speaker_x]
        return self.heads.speaker(features, self.speaker_y, coefficient=coefficient).loss

    def raw_speaker_loss(self) -> torch.Tensor:
        """l_id(g_id(h_w(x))) as the paper writes it, with no reversal and no cut anywhere."""
        features = [self.heads.gated(self.upstream(x)).mean(dim=0) for x in self.speaker_x]
        logits = self.heads.speaker_head.layers(torch.stack(features))
        return nn.functional.cross_entropy(logits, self.speaker_y)

    def update(self, **options) -> Update:
        method = MethodConfig(
            strategy=self.heads.strategy,
            **{"speaker_lambda": LAMBDA, **options.pop("method", {})},
        )
        optimizer = options.pop("optimizer", OptimizerConfig(torch_optim_name="SGD", lr=ETA))
        return Update(self.groups, method=method, optimizer=optimizer, **options)

    def step(self, update: Update, strength: float = 1.0, **options):
        return update.step(
            lambda: self.emotion_loss().backward(),
            lambda c: self.speaker_loss(c).backward(),
            strength,
            **options,
        )

    def values(self) -> list[torch.Tensor]:
        return [p.detach().clone() for group in self.groups for p in group]
