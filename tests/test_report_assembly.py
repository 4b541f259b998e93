"""The whole report: every file, from result files alone, the same bytes each time."""

import csv
import json
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_results import make_bench, write

from spknorm import report, runs
from spknorm.cli import main
from spknorm.cli.overrides import apply_to_config, parse_overrides
from spknorm.config import parse, to_mapping
from spknorm.report.origins import command_of

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`$\\{&"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Tags with their attributes, and that every one is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A half-finished bench with everything in it, and its report."""
    folder = make_bench(
        tmp_path_factory.mktemp("bench"),
        methods=(("none", 0.0), ("TAP", 1e-3)),
        erasures=("leace",),
        num_folds=2,
        pending=1,
        failed=1,
    )
    low = tmp_path_factory.mktemp("low")
    make_bench(low, methods=(("none", 0.0), ("TAP", 1e-3)), protocols=("low_resource",),
               num_samples=(50, 1000), num_folds=1, features=False, summary=False)  # fmt: skip
    for run in low.iterdir():
        shutil.move(run, folder / run.name)
    return folder, report.build(folder)


def contents(files):
    return {path.name: path.read_bytes() for path in files}


def page_of(folder):
    page = Page((folder / "report.html").read_text())
    assert page.open == []
    return page


def test_every_file_of_the_contract_is_written(bench):
    folder, files = bench
    names = {path.relative_to(folder).as_posix() for path in files}
    assert names == {
        "table.md",
        "table.tex",
        "table.csv",
        "report.html",
        "figures/accuracy_si5.png",
        "figures/low_resource.png",
        "figures/confusion_si5_hubert_large_ll60k.png",
        "figures/confusion_low_resource_hubert_large_ll60k.png",
        "figures/speakers_si5_hubert_large_ll60k.png",
        "figures/speakers_low_resource_hubert_large_ll60k.png",
        "figures/training_si5_hubert_large_ll60k.png",
        "figures/training_low_resource_hubert_large_ll60k.png",
        "figures/frontier_hubert_large_ll60k.png",
        "figures/features.png",
    }
    assert all(path.is_file() for path in files)


def test_a_half_finished_bench_is_shown_as_such(bench):
    text = (bench[0] / "report.html").read_text()
    assert "of 10 runs complete" not in text
    done = len(list(bench[0].rglob("result.json")))
    assert f"{done} of {done + 2} runs complete" in text
    assert "This benchmark is not complete" in text
    assert "CUDA out of memory" in text
    assert f"{done} of {done + 2} runs complete" in (bench[0] / "table.md").read_text()


def test_every_table_says_metric_averaging_runs_and_chance(bench):
    text = (bench[0] / "table.md").read_text()
    for part in text.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        if title.startswith(("Ours", "Protocol", "Few")):
            assert "WA" in part
            assert "mean" in part
            assert "Runs" in part
            assert "Chance level" in part
        elif title.startswith("What the adversary"):
            assert "means over runs" in part
        elif title.startswith("Among speakers"):
            assert "UA per speaker, all runs of a method pooled" in part
            assert "95 % intervals, by bootstrap over speakers" in part
        elif title.startswith(("Against", "Does it help the worst")):
            assert "Holm over the" in part
            assert "Paired runs" in part
            assert "No effect is 0" in part
        else:
            assert "Accuracy in percent of fresh probes" in part
            assert "control: chance" in part


def test_the_csv_holds_what_the_result_files_hold(bench):
    with (bench[0] / "table.csv").open(newline="") as file:
        rows = {
            (row["protocol"], row["method"], row["metric"]): row for row in csv.DictReader(file)
        }
    found = [json.loads(path.read_text()) for path in bench[0].rglob("result.json")]
    tap = [
        run["test"]["ua"] for run in found if run["strategy"] == "TAP" and run["protocol"] == "si5"
    ]
    row = rows["si5", "TAP", "ua"]
    assert int(row["runs"]) == len(tap)
    assert int(row["runs_planned"]) == 2
    assert float(row["mean"]) == pytest.approx(sum(tap) / len(tap))


def test_the_page_loads_nothing_and_runs_nothing(bench):
    page = page_of(bench[0])
    assert page.all("script") == []
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
    for link in page.all("a"):
        assert link["href"].startswith("#")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_page_can_be_used_with_a_keyboard_and_a_screen_reader(bench):
    page = page_of(bench[0])
    assert page.all("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer", "title", "h1"):
        assert len(page.all(landmark)) == 1
    assert page.all("a")[0] == {"class": "skip", "href": "#main"}
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a")} <= anchors
    assert len(anchors) == sum("id" in attributes for _, attributes in page.tags)
    assert len(page.all("caption")) == len(page.all("table")) > 4
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    for image in page.all("img"):
        assert len(image["alt"]) > 60
        assert any(character.isdigit() for character in image["alt"])
    for box in page.all("div"):
        if box.get("class") == "scroll":
            assert (box["tabindex"], box["role"]) == ("0", "region")
            assert box["aria-label"]


def test_the_page_begins_with_accuracy_per_method_and_leakage_beside_it(bench):
    page = page_of(bench[0])
    names = [tag for tag, _ in page.tags]
    assert names.index("img") < names.index("nav")
    alt = page.all("img")[0]["alt"]
    assert "hubert_large_ll60k, none: " in alt
    assert alt.count(" Leakage ") == 3
    assert alt.count("95 % interval") == 1  # of TAP; the others have too few speakers for one
    assert names.count("img") == len({image["alt"] for image in page.all("img")})


def test_every_run_comes_with_its_command(bench):
    text = " ".join(page_of(bench[0]).words)
    for path in bench[0].rglob("result.json"):
        assert f"# {path.parent.name}\n" in text
    assert "spknorm run-downstream -d emotion_spknorm -u hubert_large_ll60k" in text
    assert "config.downstream_expert.spknorm.strategy=TAP" in text
    assert "./run_downstream.sh configs/iemocap_hubert_large.yaml" in text


def test_the_command_names_the_configuration_that_lies_beside_the_result(tmp_path, no_pictures):
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, features=False, summary=False)
    run = min(tmp_path.rglob("result.json")).parent
    (run / "config_2026.yaml").write_text("{}")
    report.build(tmp_path)
    text = " ".join(page_of(tmp_path).words)
    assert (
        "spknorm run-downstream -d emotion_spknorm -u hubert_large_ll60k --device cuda "
        f"-v fold1 -f --seed 0 -c {run.name}/config_2026.yaml"
    ) in text


def test_on_another_corpus_the_papers_numbers_are_for_orientation_only(tmp_path, no_pictures):
    make_bench(tmp_path, num_folds=1, corpus="demo", features=False, probes=False)
    report.build(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "Emotion corpus: demo. These are not the paper&#39;s data" in text
    assert "Open grey diamond" not in text


def poison(value):
    """Put markup into every text, at any depth."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [poison(item) for item in value]
    if isinstance(value, dict):
        return {key: poison(item) for key, item in value.items()}
    return value


def test_markup_in_any_text_of_any_file_stays_text(tmp_path):
    make_bench(tmp_path, methods=(("none", 0.0), ("TAP", 1e-3)), num_folds=2, pending=1)
    for path in [*tmp_path.rglob("*.json")]:
        content = json.loads(path.read_text())
        poisoned = poison(content) | {"schema": content["schema"]}
        if "cells" in poisoned:
            for cell, old in zip(poisoned["cells"], content["cells"], strict=True):
                cell["status"] = old["status"]
        if "test" in poisoned:
            speakers = poisoned["test"].pop("by_speaker")
            poisoned["test"]["by_speaker"] = {k + HOSTILE: v for k, v in speakers.items()}
            poisoned["versions"] = {HOSTILE: HOSTILE}
        write(path, poisoned)
    report.build(tmp_path)
    page = page_of(tmp_path)
    assert page.all("script") == []
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "<script>alert(1)</script>" in " ".join(page.words)
    assert "<script" not in (tmp_path / "table.md").read_text()
    assert "\\{" in (tmp_path / "table.tex").read_text()
    for path in (tmp_path / "figures").iterdir():
        assert set(path.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_figures_of_an_earlier_report_do_not_stay(tmp_path, no_pictures):
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, features=False, probes=False)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "accuracy_sd.png").write_bytes(b"old")
    report.build(tmp_path)
    assert not (tmp_path / "figures" / "accuracy_sd.png").exists()


def test_a_bench_of_which_no_run_has_ended_has_a_report(tmp_path):
    cells = [{"name": "a", "expdir": "a", "status": "pending", "error": None}]
    summary = {"schema": "spknorm.summary/1", "experiment": "demo", "cells": cells, "runs": []}
    write(tmp_path / "summary.json", summary)
    report.build(tmp_path)
    assert "0 of 1 runs complete." in (tmp_path / "report.html").read_text()


def test_an_audit_alone_has_a_report_with_a_picture_per_layer(tmp_path):
    row = {"upstream": "u", "corpus": "speaker", "label": "speaker", "probe": "linear",
           "control": None, "n": 100, "num_classes": 5, "seed": 0}  # fmt: skip
    rows = [row | {"stage": stage, "layer": layer, "accuracy": 0.5 + layer / 10, "low": 0.4,
                   "high": 0.9} for stage in ("raw", "TAP") for layer in (0, 1, 2)]  # fmt: skip
    write(tmp_path / "probe.json", {"schema": "spknorm.probe/1", "rows": rows})
    report.build(tmp_path)
    assert (tmp_path / "figures" / "leakage_by_layer.png").is_file()
    assert "| u | raw upstream | layer 2 | 70.0 \\[40.0 to 90.0\\] |" in (
        (tmp_path / "table.md").read_text()
    )


def test_features_that_cannot_be_drawn_are_told(tmp_path, capsys):
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, features=False, probes=False)
    broken = tmp_path / "features_raw.npz"
    broken.write_bytes(b"PK not a zip")
    assert main(["report", str(tmp_path)]) == 2
    assert f"spknorm: {broken} does not hold pooled features" in capsys.readouterr().err


def test_the_command_prints_what_it_wrote(tmp_path, capsys, no_pictures):
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, features=False, probes=False)
    assert main(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out.splitlines()


def test_the_settings_in_a_command_are_the_whole_configuration(tmp_path):
    changed = {
        "optimizer": {"betas": [0.9, 0.98], "groups": {"upstream": {"lr": 1e-5}}},
        "downstream_expert": {"spknorm": {"strategy": "SNP", "ceiling": None}},
    }
    config = to_mapping(parse(changed))
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, features=False, probes=False)
    path = next(tmp_path.rglob("result.json"))
    write(path, json.loads(path.read_text()) | {"config": json.loads(json.dumps(config))})
    [run] = runs.read(tmp_path).runs
    words = shlex.split(command_of(run))
    again = {}
    apply_to_config(parse_overrides(words[words.index("-o") + 1]), again)
    assert to_mapping(parse(again)) == config


def test_one_that_cannot_be_written_is_reported_elsewhere_in_the_same_bytes_wherever_it_lies(
    bench, tmp_path, monkeypatch
):
    folder, written = tmp_path / "elsewhere" / "bench", bench[1]
    shutil.copytree(bench[0], folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    paths = report.build(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert paths[0].parent.parent == Path("result/report")
    assert contents(paths) == contents(written)
