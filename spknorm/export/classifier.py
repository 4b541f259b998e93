"""The emotion head of a run as transformers' classifier, or the reason why it is none."""

from spknorm.export.stock_form import beyond_layers
from spknorm.export.transformers_folder import Classifier, is_of_transformers
from spknorm.runs.trained import Trained
from spknorm.statistics.targets import Dimensions
from spknorm.upstreams import OTHER, Family


def classifier_of(
    trained: Trained, family: Family, *, no_folder: str = ""
) -> tuple[Classifier | None, str]:
    """Return the emotion head as transformers' classifier, or the reason why it is none.

    `no_folder` says why transformers has no such upstream; empty if it has.
    """
    if no_folder:
        return None, no_folder
    args, head = vars(trained.args), trained.heads.state_dict()
    model = trained.settings.downstream_expert.modelrc
    linear = {"model.post_net.linear.weight", "model.post_net.linear.bias"}
    selected = args.get("upstream_feature_selection")
    layer_weights = trained.featurizer.state_dict().get("weights")
    if trained.heads.gate is not None:
        return None, "between upstream and head stands SNP's non-linear gate"
    if model.select != "UtteranceLevel":
        return None, f"its head is {model.select}"
    if model.UtteranceLevel.get("pooling", "MeanPooling") != "MeanPooling":
        return None, f"its head pools with {model.UtteranceLevel['pooling']}"
    if {name for name in head if name.startswith("model.")} != linear:
        return None, "its head has hidden layers"
    if args.get("upstream_layer_selection") is not None:
        return None, "its head reads a single layer below the last"
    if layer_weights is not None and args.get("upstream_feature_normalize"):
        return None, "its head reads a sum of normalised layers"
    if family.expert == "distiller" and (beyond := beyond_layers(trained.upstream, trained.args)):
        return None, f"its head reads {beyond}"
    if layer_weights is None and selected not in ("last_hidden_state", "hidden_states", "paper"):
        return None, f"its head reads {selected}"
    if not _can_classify(trained, family):
        return None, f"transformers has none for {family.title}"
    weight, bias = head["model.post_net.linear.weight"], head["model.post_net.linear.bias"]
    regression = isinstance(trained.target, Dimensions)
    if isinstance(trained.target, Dimensions):  # its outputs are then on the corpus' own scale
        weight, bias = weight * trained.target.half, bias * trained.target.half
        bias = bias + trained.target.centre
    return (
        Classifier(
            projector=(head["projector.weight"], head["projector.bias"]),
            output=(weight, bias),
            labels=trained.emotions,
            layer_weights=layer_weights,
            is_regression=regression,
        ),
        "",
    )


def _can_classify(trained: Trained, family: Family) -> bool:
    """Whether transformers' classifier reads what the head reads."""
    if not is_of_transformers(trained.upstream):
        return True
    # Whisper's averages over its 30 s; SEW-D sums layers that are half as long as its output.
    model_type = family.model_type
    sums = trained.featurizer.state_dict().get("weights") is not None
    return family is not OTHER and model_type != "whisper" and not (sums and model_type == "sew-d")
