"""Reports of dimensions, of several corpora and of folds that leak, from made-up result files."""

import json
import re
import zlib

import numpy as np
import pytest
from fake_results import make_bench

from spknorm.report import build, text
from spknorm.statistics.agreement import concordance, sums_of

DIMENSIONS = ("arousal", "valence", "dominance")
pytestmark = pytest.mark.usefixtures("no_pictures")


def change(folder, alter):
    """Apply `alter` to every result.json of a bench."""
    for path in sorted(folder.rglob("result.json")):
        result = json.loads(path.read_text())
        alter(result, path)
        path.write_text(json.dumps(result))


def split(**known):
    return {"protocol": "si5", "title": "t", "dev": "given", "unseen": "speakers", **known}


def of_dimensions(result, path):
    generator = np.random.default_rng(zlib.crc32(result["strategy"].encode()))
    better = {"none": 0.0, "SNP": 0.6, "TAP": 0.3}[result["strategy"]]
    by_speaker, total = {}, 0
    for speaker in result["test"]["by_speaker"]:
        truth = generator.uniform(1, 5, (20, 3))
        noise = generator.normal(0, 1.2 - better, (20, 3))
        sums = sums_of(truth, truth + noise)
        by_speaker[speaker] = dict(zip(DIMENSIONS, sums.tolist(), strict=True))
        total = total + sums
    ccc = dict(zip(DIMENSIONS, concordance(total).tolist(), strict=True))
    scores = {"ccc": ccc, "mean": float(np.mean([*ccc.values()])), "n": int(total[0, 0])}
    result["dimensions"] = {
        "names": [*DIMENSIONS], "low": 1.0, "high": 5.0,
        "dev": {**scores, "by_speaker": {}}, "test": {**scores, "by_speaker": by_speaker},
    }  # fmt: skip
    result["test"] = result["dev"] = None
    for file in path.parent.glob("*.txt"):
        file.unlink()


def test_speakers_of_few_utterances_are_no_worst_speakers_of_a_dimension(tmp_path):
    folder = make_bench(tmp_path / "bench", probes=False, features=False, num_folds=1)
    change(folder, of_dimensions)

    def few(result, _):
        for of_speaker in result["dimensions"]["test"]["by_speaker"].values():
            for name, sums in of_speaker.items():
                of_speaker[name] = [one * 9 / sums[0] for one in sums]

    change(folder, few)
    said = table_of(folder)
    assert "arousal CCC" in said
    assert "Dimensions among speakers" not in said


def table_of(folder):
    build(folder)
    return (folder / "table.md").read_text()


def test_dimensions_have_a_table_of_their_own_with_intervals_and_paired_tests(tmp_path):
    folder = make_bench(tmp_path / "bench", probes=False, features=False)
    change(folder, of_dimensions)
    said = table_of(folder)
    assert "## Protocol si5: 5-fold, one session held out (speaker-independent): dimensions" in said
    assert "| Upstream | Method | arousal CCC | interval | valence CCC | interval |" in said
    row = next(line for line in said.splitlines() if "| TAP |" in line)
    assert " to " in row
    assert "## Dimensions against strategy none, protocol si5" in said
    assert "15 of 15 runs complete" in said
    records = (folder / "table.csv").read_text().splitlines()
    assert len(records) == 1 + 3 * 3 + 3 * 3 * 3
    assert "ccc_dominance" in records[9]
    among = said.partition("## Dimensions among speakers, protocol si5")[2]
    speakers = [line for line in among.splitlines() if "| TAP | arousal |" in line]
    ccc = r"\N{MINUS SIGN}?0\.\d{3}"
    around = rf"{ccc} \({ccc} to {ccc}\)"
    assert re.fullmatch(
        rf".*\| Ses0\d\\_[FM] {around} \| {around}, 3 of 10 \| {around} \|", *speakers
    )
    worst = [line for line in records if ",TAP,ccc_arousal_worst," in line]
    assert f"{float(worst[0].split(',')[7]):.3f}" in speakers[0]
    assert "Dimensions" in (folder / "report.html").read_text()
    assert "arousal CCC" in text(folder)


def test_what_leaks_is_in_the_title_and_among_the_doubts(tmp_path):
    folder = make_bench(tmp_path / "bench", probes=False, features=False)
    leak = "69 of 100 test speakers also train, in 2501 of 2610 test utterances: Chandler, Joey"

    def allow(result, _):
        result["split"] = split(leaks=[leak])

    change(folder, allow)
    said = table_of(folder)
    title = next(line for line in said.splitlines() if line.startswith("## Protocol si5"))
    assert r"\[LEAKS: 69 of 100 test speakers also train, in 2501 of 2610" in title
    assert f"Protocol si5, fold1: {leak}. This was allowed in " in said
    assert "Doubt: Protocol si5, fold1: 69 of 100" in text(folder)


def test_without_a_leak_the_title_says_none(tmp_path):
    folder = make_bench(tmp_path / "bench", probes=False, features=False)
    assert "LEAK" not in table_of(folder)
    change(folder, lambda result, _: result.update(split=split(unseen="both")))
    said = table_of(folder)
    assert "LEAK" not in said
    assert "(speaker-independent), unseen both" in said


def test_the_classes_that_ua_leaves_out_are_named_with_their_folds(tmp_path):
    folder = make_bench(tmp_path / "bench", probes=False, features=False)

    def without(result, _):
        if result["fold"] == "fold2":
            result["test"]["ua_over"] = ["neu", "hap", "sad"]

    change(folder, without)
    note = "UA and macro-F1 leave out classes without test utterances: ang in fold2."
    assert note in table_of(folder)


def test_the_matrix_of_several_corpora_has_a_cell_per_pair_with_its_interval(tmp_path):
    folder = make_bench(
        tmp_path / "bench", probes=False, features=False, num_folds=1, methods=(("none", 0.0),)
    )

    def across(result, _):
        speakers = [*result["test"]["by_speaker"].items()]
        named = {}
        for place in range(12):
            corpus = "emodb" if place < 6 else "savee"
            named[f"{corpus}:{place}"] = speakers[place % len(speakers)][1]
        confusion = np.sum([*named.values()], axis=0)
        hits, n = int(np.trace(confusion)), int(confusion.sum())
        result["test"].update(by_speaker=named, confusion=confusion.tolist(), n=n, wa=hits / n)
        result["protocol"] = result["config"]["downstream_expert"]["datarc"]["protocol"] = "cross"
        result["split"] = split(
            protocol="cross", trained_on=["ravdess", "crema_d"], tested_on=["emodb", "savee"]
        )

    change(folder, across)
    for path in folder.rglob("*_predict.txt"):
        path.unlink()
    said = table_of(folder)
    heads = "| Upstream | Method | Trained on | on emodb | on savee |"
    assert said.count(heads) == 2
    row = next(line for line in said.splitlines() if r"| ravdess + crema\_d |" in line)
    assert row.count(" to ") == 2
    assert "Classes in common, by run: neu, hap, ang, sad." in said
    assert "Across corpora" in (folder / "report.html").read_text()


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_bench_knows_a_run_of_dimensions_as_complete(tmp_path, part):
    from spknorm.runs.status import whole_result

    folder = make_bench(tmp_path / "bench", probes=False, features=False, num_folds=1)
    change(folder, of_dimensions)
    path = next(iter(sorted(folder.rglob("result.json"))))
    assert whole_result(path.parent, part=part) is not None
