"""Fixtures that several test files share: tiny upstreams, built once per session."""

import gc
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What is tested is the CPU's, here and in each process that a test starts, whatever GPU the machine
# has, which would be the default; device/test_real_card.py looks for it.
os.environ.setdefault("SPKNORM_TESTS_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import browser
import numpy as np
import pytest
import soundfile
from hypothesis import settings

# HYPOTHESIS_PROFILE=nightly makes reliability/test_fuzz_*.py try over 100 000 inputs in all:
# most where a reader is cheap.
settings.register_profile("short", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

FAULTS = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption(
        "--fault-counts",
        metavar="FILE",
        type=Path,
        help="write how often each fault of docs/reliability.md was injected, and held",
    )


def pytest_collection_finish():
    """Let the garbage collector pass by what was imported, which stays, and look seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


def pytest_configure(config):
    gc.disable()  # until all is imported: it would look at that over and over
    if not hasattr(config, "workerinput"):  # processes of a session share one, as a user's do
        cache = tempfile.TemporaryDirectory(prefix="spknorm-tests-")
        config.add_cleanup(cache.cleanup)
        os.environ["SPKNORM_CACHE"] = cache.name
    config.stash[FAULTS] = {}
    if config.getoption("--fault-counts") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--fault-counts counts in one process: leave out -n.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Count the faults of a test that is marked `fault`: one, or as many as it says or tries."""
    report = yield
    marker = item.get_closest_marker("fault")
    ended = report.when == "call" or (report.when == "setup" and report.failed)
    if marker and ended and not report.skipped:
        test = getattr(getattr(item.obj, "hypothesis", None), "inner_test", None)
        cases = dict(item.user_properties).get("faults", getattr(test, "inputs", 1))
        faults = item.config.stash[FAULTS]
        count = faults.setdefault(marker.args[0], {"injected": 0, "held": 0})
        count["injected"] += cases
        count["held"] += cases if report.passed else 0
    return report


def pytest_sessionfinish(session):
    path = session.config.getoption("--fault-counts")
    if path:
        path.write_text(json.dumps(session.config.stash[FAULTS], indent=2, sort_keys=True) + "\n")


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory):
    """Path of a random HuBERT in s3prl's converted format (2 layers of 32, stride 320)."""
    import tiny_upstreams

    import spknorm.compat  # noqa: F401

    return tiny_upstreams.make_hubert(tmp_path_factory.mktemp("hubert") / "tiny_hubert.pt")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser, started once."""
    if browser.find() is None:
        pytest.fail(browser.MISSING)
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def still_hubert(tmp_path_factory):
    """A HuBERT without dropout, whose masks differ from process to process and engine to engine."""
    import tiny_upstreams

    import spknorm.compat  # noqa: F401

    path = tmp_path_factory.mktemp("hubert") / "still.pt"
    rates = ("dropout", "attention_dropout", "activation_dropout", "dropout_input")
    return tiny_upstreams.make_hubert(path, **dict.fromkeys(rates, 0.0))


@pytest.fixture
def tap(tmp_path, tiny_hubert):
    """The folder of a run of TAP."""
    from trained_folders import make_trained

    return make_trained(tmp_path / "tap", tiny_hubert)


@pytest.fixture
def snp(tmp_path, tiny_hubert):
    """The folder of a run of SNP."""
    from trained_folders import make_trained

    return make_trained(tmp_path / "snp", tiny_hubert, strategy="SNP")


@pytest.fixture
def no_gpu(monkeypatch):
    """No GPU, no driver of one, and nothing that hides it, of which the command line would tell."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("spknorm.config.device._driver_is_there", lambda: False)


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports whose pictures are drawn, but have no pixels: for tests of all else in them."""
    head = b"\x89PNG\r\n\x1a\n" + bytes(16)
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda plot, file, **options: file.write(head)
    )


@pytest.fixture
def tone():
    """A function that returns `seconds` of a tone with a little noise, float32 at 16 kHz."""

    def make(seconds: float, *, pitch: float = 200.0, seed: int = 0) -> np.ndarray:
        time = np.arange(int(seconds * 16000)) / 16000
        noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
        return (0.3 * np.sin(2 * np.pi * pitch * time) + noise).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def tiny_corpora(tmp_path_factory):
    """Folder with a small IEMOCAP and VoxCeleb1 of tones, for runs of `tiny_runs`."""
    import tiny_runs

    return tiny_runs.make_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="session")
def undisturbed(tiny_hubert, tiny_corpora, tmp_path_factory):
    """The folder of one whole run of each kind, trained when first asked for; leave it as it is."""
    from tiny_runs import settings_of, train

    done = {}

    def folder_of(strategy, update, **options):
        key = json.dumps([strategy, update, options])
        if key not in done:
            done[key] = tmp_path_factory.mktemp("whole") / "run"
            mapping = settings_of(tiny_corpora, strategy=strategy, update=update, **options)
            train(tiny_hubert, mapping, done[key])
        return done[key]

    return folder_of


@pytest.fixture
def corpus_roots(tmp_path_factory, monkeypatch):
    """Folders that stand for the corpora where to be found is all that is asked of them."""
    for variable in ("IEMOCAP_ROOT", "VOXCELEB1_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(variable)))


@pytest.fixture
def iemocap_folds(tmp_path, monkeypatch):
    """An empty tree that looks like IEMOCAP with s3prl's folds, named by the environment."""
    for session in range(1, 6):
        folder = tmp_path / "meta_data" / f"Session{session}"
        folder.mkdir(parents=True)
        (folder / "train_meta_data.json").write_text("{}")
    monkeypatch.setenv("IEMOCAP_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def sounds(tmp_path):
    """Two recordings of two seconds."""
    for name in "ab":
        noise = np.random.default_rng(ord(name)).uniform(-0.5, 0.5, 32000)
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    return tmp_path
