"""Every setting of the task `emotion_spknorm`: name, type, range, effect, default, meaning.

The marks beside a field's type say its range and what changes with it (see `marks.py`), the text
under it its meaning, its unit and, where there is one, the paper's value. `spknorm.config` fills
these classes from YAML and checks them; `effects.py` compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from spknorm.schema.corpora import DataConfig as DataConfig
from spknorm.schema.corpora import SpeakerCorpusConfig as SpeakerCorpusConfig
from spknorm.schema.corpora import resolved_dev as resolved_dev
from spknorm.schema.marks import NUMBERS, THEIR_ENGINE, WITH_SPEAKERS
from spknorm.schema.method import Adversary as Adversary
from spknorm.schema.method import GateConfig as GateConfig
from spknorm.schema.method import MethodConfig as MethodConfig
from spknorm.schema.method import ModelConfig as ModelConfig
from spknorm.schema.method import Strategy as Strategy
from spknorm.schema.method import Update as Update
from spknorm.schema.training import GroupConfig as GroupConfig
from spknorm.schema.training import GroupsConfig as GroupsConfig
from spknorm.schema.training import OptimizerConfig as OptimizerConfig
from spknorm.schema.training import RunnerConfig as RunnerConfig
from spknorm.schema.training import UpstreamConfig as UpstreamConfig


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """s3prl's `downstream_expert` section."""

    datarc: DataConfig = field(default_factory=DataConfig)
    speaker_corpus: Annotated[SpeakerCorpusConfig, WITH_SPEAKERS] = field(
        default_factory=SpeakerCorpusConfig
    )
    modelrc: ModelConfig = field(default_factory=ModelConfig)
    spknorm: MethodConfig = field(default_factory=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A whole config.yaml of the task emotion_spknorm."""

    runner: RunnerConfig = field(default_factory=RunnerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: Annotated[Mapping[str, Any] | None, NUMBERS] = None
    """s3prl's scheduler section, or none."""
    specaug: Annotated[Mapping[str, Any] | None, NUMBERS, THEIR_ENGINE] = None
    """s3prl's SpecAugment section; engine s3prl only."""
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    downstream_expert: ExpertConfig = field(default_factory=ExpertConfig)
