"""The wheel carries what the checkout has: library, task folders, upstream folders, experiments."""

import configparser
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import spknorm

REPOSITORY = Path(__file__).parent.parent
PLUGINS = ("downstream", "upstream_adapters", "configs")
CARRIED = ("spknorm", *PLUGINS)


def tracked(*folders):
    """Return the paths that git tracks in the folders."""
    command = ["git", "ls-files", "-z", "--", *folders]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return sorted(path for path in listed.stdout.split("\0") if path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the files that git tracks, built in a copy: the checkout stays clean."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        if (REPOSITORY / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / path, copy / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(copy)],
        check=True,
        capture_output=True,
    )
    [built] = out.glob("spknorm-*.whl")
    return built


def test_every_plugin_folder_is_listed_in_setup_cfg():
    setup = configparser.ConfigParser(delimiters=("=",))
    setup.read(REPOSITORY / "setup.cfg")
    listed = dict(setup["options.data_files"])
    folders = {str(Path(path).parent) for path in tracked(*PLUGINS)}
    assert {f"share/spknorm/{folder}" for folder in folders} <= set(listed)
    for target, pattern in listed.items():
        folder = target.removeprefix("share/spknorm/")
        matched = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob(pattern)}
        assert {path for path in tracked(folder) if Path(path).parent == Path(folder)} <= matched


def test_the_version_is_said_in_one_place():
    setup = (REPOSITORY / "setup.cfg").read_text()
    assert "\nversion = attr: spknorm.__version__\n" in setup
    assert f"\nversion: {spknorm.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()
    assert f"\n## {spknorm.__version__}\n" in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_every_tracked_file_is_in_the_wheel(wheel):
    names = {
        name.partition(".data/data/share/spknorm/")[2] or name
        for name in zipfile.ZipFile(wheel).namelist()
    }
    assert set(tracked(*CARRIED)) - names == set()


@pytest.mark.slow
def test_the_installed_wheel_registers_its_tasks_from_anywhere(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    install = [*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    [site] = (tmp_path / "env" / "lib").glob("python*/site-packages")
    # What spknorm depends on comes from this environment, spknorm itself from the new one.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = (
        "import spknorm, importlib; spknorm.register(); from spknorm import registry\n"
        "expert = importlib.import_module('s3prl.downstream.emotion_spknorm.expert')\n"
        "from s3prl import hub; hub.spknorm_demo_hubert()\n"
        "print(spknorm.__file__, expert.__file__, registry.config_path('emotion'), sep='\\n')\n"
    )
    ran = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr
    share = tmp_path / "env" / "share" / "spknorm"
    assert ran.stdout.splitlines() == [
        str(site / "spknorm" / "__init__.py"),
        str(share / "downstream" / "emotion_spknorm" / "expert.py"),
        str(share / "configs" / "superb" / "er.yaml"),
    ]
    for script in ("spknorm", "spknorm-run-downstream"):
        command = [str(tmp_path / "env" / "bin" / script), "--help"]
        told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
        assert told.stdout.startswith("usage: ")
