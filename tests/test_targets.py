"""What is predicted besides four classes: losses by hand, labels of votes, CCC from sums."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spknorm import config
from spknorm.batches import targets
from spknorm.corpora.labels import classes_of, labelled, word_of
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError, NonFiniteError
from spknorm.method.objectives import class_objective, concordance_objective
from spknorm.statistics import interval
from spknorm.statistics.agreement import agreement_of, concordance, sums_of
from spknorm.statistics.metrics import by_speaker
from spknorm.statistics.targets import Classes, Dimensions, target_of

CLASSES = ("neu", "hap", "ang", "sad")


def utterance(name, emotion="neu", **known):
    return Utterance(id=name, path=Path(f"/{name}.wav"), emotion=emotion, **known)


def ccc_by_hand(x, y):
    covariance = np.cov(x, y, bias=True)[0, 1]
    return 2 * covariance / (np.var(x) + np.var(y) + (np.mean(x) - np.mean(y)) ** 2)


def test_the_plain_objective_is_the_cross_entropy_bit_by_bit():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 1])
    assert torch.equal(class_objective()(logits, labels), functional.cross_entropy(logits, labels))


def test_soft_labels_are_the_divergence_from_the_votes_with_the_cross_entropys_gradient():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    votes = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0], [0.25, 0.25, 0.25, 0.25]]).double()
    loss = class_objective()(logits, votes)
    log = logits.log_softmax(dim=-1)
    by_hand = (torch.xlogy(votes, votes) - votes * log).sum(dim=-1).mean()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    (of_soft,) = torch.autograd.grad(functional.cross_entropy(logits, votes), logits)
    assert torch.allclose(gradient, of_soft, atol=1e-12)


def test_weights_count_utterances_and_add_up_over_micro_batches():
    logits, labels = torch.randn(8, 3), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
    weights = targets.balanced_weights(labels.tolist(), 3)
    assert weights == [8 / (3 * 6), 8 / 3, 8 / 3]
    objective = class_objective(weights)
    each = functional.cross_entropy(logits, labels, reduction="none")
    by_hand = sum(weights[label] * loss for label, loss in zip(labels, each, strict=True)) / 8
    whole = objective(logits, labels)
    assert whole.item() == pytest.approx(by_hand.item(), rel=1e-6)
    halves = [objective(logits[part], labels[part]) for part in (slice(0, 4), slice(4, 8))]
    assert whole.item() == pytest.approx(sum(halves).item() / 2, rel=1e-6)
    one_hot = functional.one_hot(labels, 3).float()
    assert objective(logits, one_hot).item() == pytest.approx(whole.item(), rel=1e-6)
    assert targets.balanced_weights([tuple(row) for row in one_hot.tolist()], 3) == weights
    assert targets.balanced_weights([0, 0, 2, 2], 3) == [1.0, 0.0, 1.0]


def test_the_concordance_loss_is_one_minus_ccc_summed_over_dimensions():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 30, 3))
    y += 0.5 * x + 0.2
    by_hand = [ccc_by_hand(x[:, d], y[:, d]) for d in range(3)]
    loss = concordance_objective(torch.from_numpy(y), torch.from_numpy(x))
    assert loss.item() == pytest.approx(3 - sum(by_hand), abs=1e-5)
    assert agreement_of(sums_of(x, y)).ccc == pytest.approx(by_hand, abs=1e-12)


def test_a_batch_of_one_gives_a_concordance_loss_without_a_gradient_and_no_nan():
    outputs = torch.zeros(1, 3, requires_grad=True)
    loss = concordance_objective(outputs, torch.tensor([[0.1, 0.2, 0.3]]))
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    assert torch.isfinite(outputs.grad).all()


@given(st.lists(st.tuples(st.floats(1, 5), st.floats(1, 5), st.sampled_from("abc")), min_size=1))
@settings(max_examples=60, deadline=None)
def test_sums_of_speakers_add_up_to_the_whole_and_ccc_stays_in_its_range(rows):
    x, y = ([[row[k]] for row in rows] for k in (0, 1))
    whole = sums_of(x, y)
    found = by_speaker(sums_of, x, y, [row[2] for row in rows])
    assert np.allclose(sum(found.values()), whole)
    assert -1 <= float(concordance(whole)[0]) <= 1
    assert agreement_of(whole).n == len(rows)


def test_ccc_is_refused_of_a_prediction_that_is_no_number():
    with pytest.raises(NonFiniteError):
        sums_of([[1.0]], [[math.nan]])
    with pytest.raises(DataError):
        agreement_of(np.zeros((3, 6)))


def test_the_interval_of_ccc_lies_around_it_within_its_range():
    generator = np.random.default_rng(1)
    by_speaker = {}
    for name in range(10):
        x = generator.normal(size=(40, 1)) + 3
        by_speaker[f"s{name}"] = sums_of(x, x + generator.normal(size=(40, 1)))[0]
    found = interval(by_speaker, "ccc")
    assert -1 < found.low < found.value < found.high < 1
    assert found.value == pytest.approx(float(concordance(sum(by_speaker.values()))), abs=1e-12)


def test_a_target_counts_what_it_predicts():
    classes = target_of(CLASSES, None)
    assert isinstance(classes, Classes)
    counts = classes.count(classes.truths([0, (0.1, 0.6, 0.3, 0)]), [0, 1])
    scores = classes.score(counts)
    assert (scores.wa, scores.ua, classes.absent(scores)) == (1.0, 1.0, ("ang", "sad"))
    assert classes.selected(scores, "macro_f1") == 1.0
    dimensions = target_of(("arousal", "valence"), (1, 5))
    assert isinstance(dimensions, Dimensions)
    assert dimensions.truths([(0.0, 1.0)]) == [[3.0, 5.0]]
    guesses = dimensions.guesses(torch.tensor([[-1.0, 0.5]])).tolist()
    assert guesses == [[1.0, 4.0]]
    assert dimensions.texts(guesses) == ["1.0000,4.0000"]
    found = dimensions.score(dimensions.count([[1, 1], [2, 2]], [[1, 2], [2, 1]]))
    assert found.ccc == pytest.approx((1.0, -1.0))
    assert dimensions.logged(found) == {"ccc": 0.0, "ccc_arousal": 1.0, "ccc_valence": -1.0}


def test_votes_become_a_distribution_over_the_classes_in_use(caplog):
    records = [
        utterance("a", "hap", original="exc", votes=(("exc", 2.0), ("neutral", 1.0), ("fru", 1.0))),
        utterance("b", "ang", votes=(("fru", 3.0),)),
        utterance("c", "sad"),
    ]
    caplog.set_level("INFO")
    rows = targets.vote_labels(records, CLASSES, targets.word_classes("four", records))
    assert rows[0] == pytest.approx((1 / 3, 2 / 3, 0, 0))
    assert rows[1:] == [(0, 0, 1, 0), (0, 0, 0, 1)]
    assert "1 of 3 training utterances have votes; votes of a weight of 4 " in caplog.text
    with pytest.raises(DataError, match="no training utterance of this corpus has any"):
        targets.vote_labels(records[2:], CLASSES, targets.word_classes("four", records))


def test_votes_follow_a_map_of_words():
    under = targets.word_classes({"map": {"calm": "neu", "boredom": None}}, [])
    assert (under("calm"), under("boredom"), under("joy")) == ("neu", None, None)


def test_excited_is_happy_where_the_reader_says_so_and_nowhere_else():
    iemocap = [utterance("a", "hap", original="exc"), utterance("b", "neu")]
    assert targets.word_classes("four", iemocap)("exc") == "hap"
    others = [utterance("a", "excited"), utterance("b", "neu")]
    assert targets.word_classes("all", others)("excited") == "excited"
    assert targets.word_classes("all", others)("calm") == "calm"


def test_dimensions_are_laid_on_their_scale_and_what_lacks_one_is_left_out(caplog):
    both = {"arousal": 5.0, "valence": 1.0}
    records = [utterance("a", **both), utterance("b", arousal=3.0), utterance("c", **both)]
    names = targets.dimensions_among(records)
    assert names == ("arousal", "valence")
    kept = targets.with_dimensions(records, names)
    assert [one.id for one in kept] == ["a", "c"]
    assert "1 of 3 utterances lack one of arousal, valence" in caplog.text
    assert targets.dimension_labels(kept, names, (1, 5)) == [(1.0, -1.0), (1.0, -1.0)]
    assert targets.scale_of(kept, names, None, None) == (1.0, 5.0)
    assert targets.scale_of(kept, names, None, (1, 7)) == (1.0, 7.0)
    targets.scale_of(kept, names, None, (1, 4))
    assert "2 of 4 values of arousal, valence lie outside the corpus' scale, 1 to 4" in caplog.text
    with pytest.raises(ConfigError, match=r"The arousal of `a` is 5, outside the scale 1 to 4"):
        targets.scale_of(kept, names, (1, 4), (1, 5))
    with pytest.raises(DataError, match="this corpus has none"):
        targets.dimensions_among([utterance("d")])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"targets": "dimensions", "class_weights": "balanced"}, "are of classes"),
        ({"targets": "dimensions", "labels_from": "votes"}, "are of classes"),
        ({"targets": "dimensions", "train_batch_size": 1}, "must be at least 2"),
        ({"targets": "dimensions", "scale": [5, 1]}, r"must be \[least, greatest\]"),
        (
            {"targets": "dimensions", "protocol": "low_resource", "samples_per_label": 5},
            "counts utterances per class",
        ),
        ({"protocol": "cross"}, "must name the corpora that are tested"),
        ({"test_on": ["emodb"]}, "goes with the protocol cross alone"),
        ({"protocol": "emobox"}, "must name the folder of EmoBox's lists"),
        ({"fold_lists": "x"}, "goes with the protocol emobox alone"),
        (
            {"protocol": "cross", "test_on": ["emodb"], "labels": {"map": {"a": "b"}}},
            "names the words of one corpus",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        config.parse({"downstream_expert": {"datarc": data}})


WORDS = st.sampled_from(["neutral", "calm", "joy", "excited", "anger", "sad", "boredom", "fru"])


@given(
    st.lists(WORDS, min_size=1, max_size=12),
    st.dictionaries(WORDS, st.sampled_from(["neu", "hap", None, "x"])),
)
@settings(max_examples=200, deadline=None)
def test_a_label_map_is_total_or_refused_with_the_words(words, classes):
    from spknorm.corpora.known.words import class_of

    records = [
        utterance(str(place), class_of(word), original=word) for place, word in enumerate(words)
    ]
    missing, strange = set(words) - set(classes), set(classes) - set(words)
    try:
        kept = labelled(records, {"map": classes})
    except ConfigError as error:
        assert missing or strange
        named = missing or strange
        assert ", ".join(sorted(named)) in str(error)
        return
    assert not missing
    assert not strange
    for one in records:
        found = [other for other in kept if other.id == one.id]
        assert [other.emotion for other in found] == [
            name for name in [classes[str(word_of(one))]] if name is not None
        ]


def test_calm_is_neutral_only_if_asked_for():
    records = [utterance("a", "neu", original="neutral"), utterance("b", "calm", original="calm")]
    assert [one.id for one in labelled(records, "four")] == ["a"]
    assert classes_of(labelled(records, "all"), "all") == ("neu", "calm")
    asked = labelled(records, {"map": {"neutral": "neu", "calm": "neu"}})
    assert [one.emotion for one in asked] == ["neu", "neu"]
