"""What an experiment folder holds for export: its dev-best upstream, gate and emotion head.

Reads dev-best.ckpt (s3prl's keys), result.json and probe.json; writes nothing.
"""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spknorm import config as configuration
from spknorm.errors import ConfigError, NonFiniteError
from spknorm.export.classifier import classifier_of
from spknorm.export.stock_form import StockForm, beyond_layers, layer_of_distiller, stock_form
from spknorm.export.transformers_folder import (
    Classifier,
    Form,
    form_of_fairseq,
    form_of_model,
    is_of_transformers,
    normalizes,
)
from spknorm.export.upstream_file import GateState
from spknorm.files import sha256_of
from spknorm.runs import trained as runs
from spknorm.runs.probes import Audit, read_audit
from spknorm.runs.trained import Trained
from spknorm.upstreams import FAMILIES, OTHER, Family, is_stock
from spknorm.upstreams.fast import parts_of


class Exportable(NamedTuple):
    """What of a run an export holds.

    Attributes:
        trained: The run's model.
        family: Of its upstream.
        form: Makes the upstream in transformers' words, with the trained weights, or the original
            ones where it was frozen; None where transformers has no such model.
        no_folder: Why there is no folder of transformers; empty if there is one.
        stock: The upstream's file as s3prl reads it; None where s3prl has none.
        gate: None without strategy SNP.
        provenance: What it was trained on and by, and what it scored; plain JSON values.
        classifier: The emotion head, where transformers can express it.
        reason: Why it cannot; empty with a classifier.
        probe: The audit; without rows if there is none.
    """

    trained: Trained
    family: Family
    form: Callable[[], Form] | None
    no_folder: str
    stock: StockForm | None
    gate: GateState | None
    provenance: Mapping[str, Any]
    classifier: Classifier | None
    reason: str
    probe: Audit

    @property
    def name(self) -> str:
        """The upstream's, as -u takes it."""
        return str(self.trained.args.upstream)

    @property
    def normalize(self) -> bool:
        """Whether waveforms are normalised first."""
        upstream = self.trained.upstream
        return normalizes(upstream) if self.stock is None else parts_of(upstream).normalizes

    @property
    def applies_gate(self) -> bool:
        """Whether what reads the file of `stock` applies the gate, if there is one."""
        return self.gate is None or self.stock is None or bool(self.stock.gated_entry)

    @property
    def entry(self) -> str:
        """What reads the file of `stock` in s3prl; empty if there is no such file."""
        if self.stock is None:
            return ""
        return self.stock.gated_entry if self.gate and self.applies_gate else self.stock.entry


def read_exportable(expdir: Path) -> Exportable:
    """Return what the dev-best checkpoint of `expdir` holds.

    Raises:
        MissingError: No such folder, no dev-best.ckpt in it, or no original upstream.
        CheckpointError: A checkpoint that is damaged or made by something else.
        ConfigError: An upstream of a family that is not exported, nothing to export, or a
            probe.json that is malformed.
        NonFiniteError: Weights that are NaN or infinite.
    """
    trained = runs.load(Path(expdir))
    _check_finite(trained)
    erasure = trained.settings.downstream_expert.spknorm.erasure
    if erasure != "none":
        raise ConfigError(
            f"{expdir} is a baseline with erasure {erasure}: its upstream is the original one, and "
            "its head reads features that no export can hold."
        )
    family, stock = _family_of(trained), None
    if not is_of_transformers(trained.upstream):
        stock = _stock_of(trained, family)
    if getattr(trained.upstream, "gate", None) or (stock is not None and stock.has_gate):
        raise ConfigError(
            f"{expdir} was trained on {trained.source}, which has a gate already; "
            "an export has no place for a second one. Use the experiment folder itself."
        )
    gate = _gate_of(trained)
    form, no_folder = _form_of(trained, family, stock)
    if gate is not None and family.expert == "distiller":
        beyond = beyond_layers(trained.upstream, trained.args)
        no_folder = beyond and f"the gate reads {beyond}"
    classifier, reason = classifier_of(trained, family, no_folder=no_folder)
    return Exportable(
        trained=trained,
        family=family,
        form=form,
        no_folder=no_folder,
        stock=stock,
        gate=gate,
        provenance={
            "upstream": trained.args.upstream,
            "upstream_sha256": _hash_of(trained),
            "upstream_trained": not trained.frozen,
            "best_step": trained.best_step,
            "result": {key: value for key, value in trained.result.items() if key != "config"},
            "config": configuration.to_mapping(trained.settings),
        },
        classifier=classifier,
        reason=reason,
        probe=read_audit(trained.folder / "probe.json"),
    )


def _stock_of(trained: Trained, family: Family) -> StockForm:
    """Return the file that s3prl's own entry of the family reads."""
    known = trained.source is not None and family is not OTHER
    stock = None
    if is_stock(trained.upstream) or known:
        stock = stock_form(family, trained.upstream, trained.source)
    if stock is None:
        titles = ", ".join(family.title for family in FAMILIES)
        raise ConfigError(
            f"The upstream {trained.args.upstream} is of another family; exported are {titles}, "
            "and any model of transformers that was named as hf:FOLDER. `spknorm predict` and "
            "`spknorm audit` take the folder as it is, and its dev-best.ckpt serves s3prl with -i."
        )
    return stock


def _form_of(
    trained: Trained, family: Family, stock: StockForm | None
) -> tuple[Callable[[], Form] | None, str]:
    """Return what makes the upstream in transformers' words, or why there is none."""
    if stock is None:
        return functools.partial(form_of_model, trained.upstream), ""
    if stock.model_cfg is None:
        return None, f"transformers has no {family.title}"
    form = functools.partial(
        form_of_fairseq,
        family.model_type or "hubert",  # distilHuBERT is one of two layers
        stock.model_cfg,
        stock.weights,
        normalize=parts_of(trained.upstream).normalizes,
    )
    return form, ""


def _hash_of(trained: Trained) -> str | None:
    """Return the hash of the file that the upstream came from, or of a folder's configuration."""
    if trained.source is None:
        return None
    path = trained.source / "config.json" if trained.source.is_dir() else trained.source
    return sha256_of(path) if path.is_file() else None


def _family_of(trained: Trained) -> Family:
    """Return the family; of s3prl's wrapper around a model of transformers that of its model."""
    if trained.family is not OTHER or not is_of_transformers(trained.upstream):
        return trained.family
    upstream: Any = trained.upstream
    kind = upstream.model.config.model_type
    return next((family for family in FAMILIES if family.model_type == kind), OTHER)


def _gate_of(trained: Trained) -> GateState | None:
    gate_module = trained.heads.gate
    if gate_module is None:
        return None
    weights = dict(gate_module.state_dict())
    model = trained.settings.downstream_expert.modelrc
    dim = int(next(iter(weights.values())).shape[-1])
    gate = GateState({"dim": dim, **configuration.to_mapping(model.gate)}, weights)
    args = vars(trained.args)
    selection, layer = args["upstream_feature_selection"], args.get("upstream_layer_selection")
    if selection == "hidden_states" and layer is not None:
        return gate._replace(layer=int(layer))
    if selection == "hidden_states":
        normalize = bool(args.get("upstream_feature_normalize"))
        return gate._replace(mixture=trained.featurizer.weights.detach(), normalize=normalize)
    if selection == "paper":  # as s3prl's distilHuBERT calls its last layer
        return gate._replace(layer=layer_of_distiller(trained.upstream, trained.args) or -1)
    if numbered := re.fullmatch(r"hidden_state_(\d+)", selection):
        return gate._replace(layer=int(numbered[1]))
    if selection == "last_hidden_state":
        return gate
    raise ConfigError(f"An export has no place for a gate on the upstream's `{selection}` (-s).")


def _check_finite(trained: Trained) -> None:
    modules = (trained.upstream, trained.featurizer, trained.heads)
    tensors = [pair for module in modules for pair in module.state_dict().items()]
    bad = [name for name, tensor in tensors if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteError(
            f"{trained.folder} has NaN or infinity in {len(bad)} of {len(tensors)} tensors "
            f"(`{bad[0]}`): what any task would make of it says nothing, so it is not exported."
        )
