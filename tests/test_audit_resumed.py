"""An audit that is stopped goes on where it was, and says when it is complete."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from audit_benches import make_audit_corpora, make_bench, quicken
from terminals import seen_in_a_terminal
from trained_folders import make_trained

import spknorm.probe.audit
from spknorm.probe.audit import audit, is_complete, probing

_KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from spknorm.probe.audit import audit
begun = []
def tell(text):
    begun.append(text)
    if len(begun) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
audit({folder!r}, tell=tell)
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return make_audit_corpora(tmp_path_factory.mktemp("corpora"), each=6)


@pytest.fixture(scope="module")
def unaudited(tmp_path_factory, corpora, tiny_hubert):
    """A benchmark's folder with runs of none, SNP and TAP, to be copied, and a cache for all."""
    root = tmp_path_factory.mktemp("unaudited")
    return make_bench(root / "bench", corpora, tiny_hubert, "SNP", "TAP", "none"), root / "cache"


def _make_quick(patch, cache):
    patch.setenv("SPKNORM_CACHE", str(cache))
    patch.setattr(probing, "KINDS", ("linear",))
    quicken(patch)


@pytest.fixture
def bench(tmp_path, unaudited, monkeypatch):
    """A benchmark's folder of the test's own, whose features are read once for all tests."""
    folder, cache = unaudited
    _make_quick(monkeypatch, cache)
    return shutil.copytree(folder, tmp_path / "bench")


class Audited(NamedTuple):
    """A benchmark's folder, the rows of its audit, and each probe.json by its run."""

    folder: Path
    rows: list
    written: dict


@pytest.fixture(scope="module")
def at_once(tmp_path_factory, unaudited):
    """The benchmark, audited without a stop."""
    folder, cache = unaudited
    bench = shutil.copytree(folder, tmp_path_factory.mktemp("at_once") / "bench")
    with pytest.MonkeyPatch.context() as patch:
        _make_quick(patch, cache)
        return Audited(bench, audit(bench), _written(bench))


@pytest.fixture
def audited(at_once, bench):
    """The same in a folder of the test's own."""
    return at_once._replace(folder=shutil.copytree(at_once.folder, bench, dirs_exist_ok=True))


@pytest.fixture
def cold(bench, tmp_path, monkeypatch):
    """No features have been read."""
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))


def _written(bench):
    return {path.parent.name: json.loads(path.read_text()) for path in bench.rglob("probe.json")}


@pytest.mark.fault("audit stopped")
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_it_goes_on_where_it_was_stopped_and_gives_the_same_rows(bench, stages, at_once):
    def stop(text):
        begun.append(text)
        if len(begun) > stages:
            raise KeyboardInterrupt

    begun: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        audit(bench, tell=stop)
    assert not is_complete(bench)
    assert not all(content["complete"] for content in _written(bench).values())
    told: list[str] = []
    rows = audit(bench, tell=told.append)
    assert len(told) == 4 - stages  # raw, SNP, TAP, none
    assert is_complete(bench)
    assert rows == at_once.rows
    assert _written(bench) == at_once.written
    told.clear()
    assert audit(bench, tell=told.append) == rows
    assert told == []


@pytest.mark.slow
@pytest.mark.usefixtures("cold")
@pytest.mark.fault("audit stopped")
def test_a_killed_audit_loses_at_most_the_stage_it_was_at(bench):
    code = _KILLED.format(tests=str(Path(__file__).parent), folder=str(bench))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not is_complete(bench)
    # SNP is done; TAP has the rows of the raw upstream, which they share.
    assert {name: set(content["stages"]) for name, content in _written(bench).items()} == {
        "SNP": {"raw", "own"},
        "TAP": {"raw"},
    }
    assert not list(bench.rglob("*.tmp"))
    told: list[str] = []
    audit(bench, tell=told.append)
    stages = {row["stage"] for content in _written(bench).values() for row in content["rows"]}
    assert stages == {"raw", "none", "SNP", "TAP"}
    assert is_complete(bench)


_KILLED_WITHIN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import importlib
import audit_benches, pytest
from spknorm.probe.audit import audit, probing
module = importlib.import_module({module!r})
whole, calls = getattr(module, {name!r}), [0]
def dies(*args, **options):
    calls[0] += 1
    if calls[0] == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args, **options)
setattr(module, {name!r}, dies)
probing.KINDS = ("linear",)
audit_benches.quicken(pytest.MonkeyPatch())
audit({folder!r}, every_layer=True)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("cold")
@pytest.mark.fault("audit stopped")
@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("spknorm.probe.audit.probing", "run_probe", 30),  # between two layers of a stage
        ("spknorm.probe.classifiers", "_summed", 40),  # within a fit that reads layer by layer
        ("spknorm.files", "_fsync_folder", 3),  # as a stage's rows are written
    ],
)
def test_an_audit_that_is_killed_within_a_stage_ends_with_the_same_rows(bench, module, name, call):
    code = _KILLED_WITHIN.format(
        tests=str(Path(__file__).parent), folder=str(bench), module=module, name=name, call=call
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    before = sum(len(content["stages"]) for content in _written(bench).values())
    told: list[str] = []
    rows = audit(bench, every_layer=True, tell=told.append)
    assert told  # it was not done
    assert before + len(told) >= 4  # raw, SNP, TAP, none
    found = _written(bench)
    assert all(content["complete"] for content in found.values())
    for path in bench.rglob("probe.json"):
        path.unlink()
    assert audit(bench, every_layer=True) == rows
    assert _written(bench) == found


def test_other_options_and_other_weights_are_probed_anew(bench, corpora, tiny_hubert):
    audit(bench / "SNP")
    told: list[str] = []
    audit(bench / "SNP", every_layer=True, tell=told.append)
    assert len(told) == 2
    assert not is_complete(bench / "SNP")  # with the defaults, which a benchmark asks for
    audit(bench / "SNP")
    assert is_complete(bench / "SNP")
    make_trained(
        bench / "SNP",
        tiny_hubert,
        strategy="SNP",
        datarc={"corpus": "manifest", "manifest": str(corpora / "emotion.csv")},
        speaker_corpus={"corpus": "manifest", "manifest": str(corpora / "speaker.csv")},
        method={"speaker_lambda": 0.5},
    )
    assert not is_complete(bench / "SNP")


def test_a_damaged_or_older_file_is_made_anew(audited):
    bench = audited.folder
    path = bench / "TAP" / "probe.json"
    whole = path.read_text()
    for content in ("{", "[]", "{}", json.dumps({**json.loads(whole), "asked": 3})):
        path.write_text(content)
        assert not is_complete(bench)
        assert audit(bench) == audited.rows
        assert path.read_text() == whole


def test_progress_ends_at_what_was_announced(bench):
    seen: list[tuple[int, int]] = []
    audit(bench, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 400
    assert all(before[0] <= after[0] for before, after in itertools.pairwise(seen))


def test_a_benchmark_finishes_the_audit_that_an_earlier_call_left(bench, monkeypatch, capsys):
    from spknorm.cli import bench as command

    calls: list[Path] = []

    def interrupted(folder, **options):
        calls.append(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(spknorm.probe.audit, "audit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command._audit(bench)
    monkeypatch.setattr(spknorm.probe.audit, "audit", audit)
    audit(bench / "none")  # one stage of several
    assert not is_complete(bench)
    assert command._audit(bench)
    assert is_complete(bench)


def test_a_bench_that_cannot_be_written_is_audited_into_a_folder_of_one_s_own(
    bench, tmp_path, monkeypatch
):
    before = sorted(bench.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith(str(bench)))
    told = []
    rows = audit(bench, tell=told.append)
    assert sorted(bench.rglob("*")) == before
    found = sorted((tmp_path / "result/audit").glob("*/probe.json"))
    assert [path.parent.name.rpartition("-")[0] for path in found] == ["SNP", "TAP", "none"]
    assert f"{bench / 'SNP'} cannot be written: what is found goes to {found[0].parent}." in [
        text.replace("result/audit", f"{tmp_path}/result/audit") for text in told
    ]
    assert is_complete(bench)
    stamps = [path.stat().st_mtime_ns for path in found]
    assert audit(bench) == rows
    assert [path.stat().st_mtime_ns for path in found] == stamps


def test_a_finished_audit_of_a_folder_that_cannot_be_written_is_read(
    audited, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert is_complete(audited.folder)
    assert audit(audited.folder) == audited.rows
    assert not list((tmp_path / "result").rglob("probe.json"))


def test_parts_of_an_audit_share_its_stages_and_the_whole_finds_them_done(bench, at_once):
    begun: list[str] = []
    for part in (1, 2, 3):
        audit(bench, part=(part, 3), tell=begun.append)
    assert len(begun) == 4  # raw, SNP, TAP, none: each once
    assert not is_complete(bench)
    told: list[str] = []
    assert sorted(map(str, audit(bench, tell=told.append))) == sorted(map(str, at_once.rows))
    assert told == []
    assert is_complete(bench)


@pytest.mark.slow
def test_the_bar_of_an_audit_is_seen_in_a_terminal(bench):
    command = [sys.executable, "-m", "spknorm", "audit", str(bench / "none")]
    status, seen = seen_in_a_terminal(command)
    assert status == 0
    shares = [int(share) for share in re.findall(r"audit: +(\d+)%\|", seen)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert re.search(r"\| \d+/\d+ \[\d\d:\d\d<", seen)  # done, of how many, the time left
