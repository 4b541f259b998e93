import importlib
import importlib.metadata
import sys
from pathlib import Path, PurePosixPath

import pytest
import yaml

import spknorm
from spknorm import registry
from spknorm.errors import ConfigError, MissingError

REPOSITORY = Path(__file__).parent.parent


def test_plugin_folders_become_modules_of_s3prl_once():
    spknorm.register()
    import s3prl.downstream
    import s3prl.upstream

    paths = list(s3prl.downstream.__path__), list(s3prl.upstream.__path__)
    spknorm.register()
    assert (list(s3prl.downstream.__path__), list(s3prl.upstream.__path__)) == paths
    assert paths[0][-1] == str(REPOSITORY / "downstream")
    for task in registry.tasks():
        expert = importlib.import_module(f"s3prl.downstream.{task}.expert")
        assert Path(expert.__file__) == REPOSITORY / "downstream" / task / "expert.py"
        assert hasattr(expert, "DownstreamExpert")
    twice = [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("downstream", "upstream_adapters")
    ]
    assert twice == []


def test_every_upstream_of_every_adapter_is_on_s3prl_s_hub():
    spknorm.register()
    from s3prl import hub

    options = hub.options()
    for hubconf in sorted((REPOSITORY / "upstream_adapters").glob("*/hubconf.py")):
        module = importlib.import_module(f"s3prl.upstream.{hubconf.parent.name}.hubconf")
        names = [
            name
            for name, entry in vars(module).items()
            if callable(entry) and getattr(entry, "__module__", "") == module.__name__
        ]
        public = [name for name in names if not name.startswith("_")]
        assert public, hubconf
        for name in public:
            assert getattr(hub, name) is getattr(module, name)
            assert name in options
    assert hasattr(hub, "hubert_large_ll60k")


def test_this_project_s_tasks_have_a_configuration_of_their_own():
    assert "emotion_spknorm" in registry.tasks()
    for task in registry.tasks():
        path = registry.config_path(task)
        assert path == REPOSITORY / "downstream" / task / "config.yaml"
        assert "downstream_expert" in yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("task", "file", "batch", "steps"),
    [
        ("emotion", "er", 4 * 8, 30000),
        ("voxceleb1", "sid", 8 * 4, 200000),
        ("fluent_commands", "ic", 32, 200000),
    ],
)
def test_stock_tasks_have_superb_s_configuration(task, file, batch, steps):
    path = registry.config_path(task)
    assert path == REPOSITORY / "configs" / "superb" / f"{file}.yaml"
    config = yaml.safe_load(path.read_text())
    runner, expert = config["runner"], config["downstream_expert"]
    assert runner["total_steps"] == steps
    accumulated = expert["datarc"]["train_batch_size"] * runner["gradient_accumulate_steps"]
    assert accumulated == batch
    assert config["optimizer"] == {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-4}
    assert expert["modelrc"]["projector_dim"] == 256
    assert expert["modelrc"]["UtteranceLevel"] == {"pooling": "MeanPooling"}


def test_a_task_without_a_configuration_is_named():
    with pytest.raises(ConfigError) as caught:
        registry.config_path("asr")
    assert str(caught.value).startswith("There is no default configuration for the task `asr`")
    assert str(caught.value).endswith("Name one with -c.")


def test_shared_configurations_are_found_by_their_path_below_configs():
    found = registry.shared_configs()
    assert found["superb/er.yaml"] == REPOSITORY / "configs" / "superb" / "er.yaml"
    assert list(found) == sorted(found)


def test_an_installed_wheel_s_files_are_found_by_its_record(tmp_path, monkeypatch):
    expert = tmp_path / "share" / "spknorm" / "downstream" / "emotion_spknorm" / "expert.py"

    class File(PurePosixPath):
        def locate(self):
            return tmp_path / "lib" / self

    record = [
        File("spknorm/errors.py"),
        File("../share/spknorm/downstream/emotion_spknorm/expert.py"),
    ]
    expert.parent.mkdir(parents=True)
    expert.touch()
    (tmp_path / "lib" / "spknorm").mkdir(parents=True)
    monkeypatch.setattr(importlib.metadata, "files", lambda name: record)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "lib" / "spknorm" / "registry.py"))
    registry.plugin_root.cache_clear()
    assert registry.plugin_root() == tmp_path / "share" / "spknorm"

    monkeypatch.setattr(importlib.metadata, "files", lambda name: None)
    registry.plugin_root.cache_clear()
    with pytest.raises(MissingError, match="Install it again"):
        registry.plugin_root()
    monkeypatch.undo()
    registry.plugin_root.cache_clear()
    assert registry.plugin_root() == REPOSITORY
