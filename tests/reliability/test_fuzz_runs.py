"""Whatever settings, results, checkpoints and logits hold: what they say or a clear error."""

import argparse
import json
import zipfile

import fake_results
import numpy as np
import pytest
from fuzzing import JSON, content_like, fuzz, mutated
from hypothesis import strategies as st

from spknorm import config, runs
from spknorm.cli import overrides
from spknorm.errors import CheckpointError, ConfigError, MissingError
from spknorm.runs import checkpoint

YAML = (
    b"runner:\n  total_steps: 6\n  eval_dataloaders: [dev, test]\noptimizer: {lr: 1.0e-4}\n"
    b"downstream_expert:\n  spknorm: &a\n    strategy: SNP # x\n    schedule: 'dann'\n"
)
OVERRIDE = b"config.optimizer.lr=1.0e-4,,args.seed=3,,config.runner.eval_dataloaders=['dev',],,"


@fuzz(20_000, content=content_like(YAML))
def test_a_yaml_file_of_any_content(folder, content):
    (folder / "config.yaml").write_bytes(content)
    try:
        parsed = config.parse(config.load_yaml(folder / "config.yaml"))
    except ConfigError as error:
        assert str(error)
        return
    assert config.parse(config.to_mapping(parsed)) == parsed


@fuzz(
    25_000,
    text=content_like(OVERRIDE).map(lambda content: content.decode(errors="surrogateescape"))
    | st.text(max_size=60).map("config.runner.total_steps={}".format),
)
def test_an_override_of_any_text(text):
    args, mapping = argparse.Namespace(seed=1), {"optimizer": {"lr": 1.0}}
    try:
        changes = overrides.parse_overrides(text)
        overrides.apply_to_args(changes, args)
        overrides.apply_to_config(changes, mapping)
        config.parse(mapping)
    except ConfigError as error:
        assert str(error)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Path and content of a finished run's result.json, which is alone in its folder."""
    bench = fake_results.make_bench(tmp_path_factory.mktemp("bench"), num_folds=1)
    path = tmp_path_factory.mktemp("run") / "result.json"
    return path, json.loads(min(bench.rglob("result.json")).read_text())


@fuzz(10_000, data=st.data())
def test_a_result_of_any_content(result, data):
    path, whole = result
    changed = {**whole, "test": dict(whole["test"])}
    section = data.draw(st.sampled_from([changed, changed["test"]]))
    section[data.draw(st.sampled_from(sorted(section)))] = data.draw(JSON)
    valid = st.sampled_from([json.dumps(changed).encode(), json.dumps(whole).encode()])
    content = data.draw(valid | valid.flatmap(mutated) | st.binary(max_size=200))
    path.write_bytes(content)
    try:
        runs.read(path.parent)
    except (ConfigError, MissingError) as error:
        assert str(path.parent) in str(error)


STATES = {
    "Step": 3,
    "Args": argparse.Namespace(seed=1, upstream="fbank"),
    "Config": {"runner": {"total_steps": 9}},
    "Downstream": {},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The files within a checkpoint, by name, and the whole."""
    import torch

    path = tmp_path_factory.mktemp("checkpoint") / "states-3.ckpt"
    weights = {"a": torch.arange(9.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    checkpoint.save(path, {**STATES, "Downstream": weights})
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, path.read_bytes()


@fuzz(5_000, data=st.data())
def test_a_checkpoint_of_any_content(folder, parts, data):
    """Damage to the file, and a file whose checksums are right but whose content is not."""
    files, whole = parts
    path = folder / "states-3.ckpt"
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(mutated(whole) | st.binary(max_size=200)))
    else:
        name = data.draw(st.sampled_from(sorted(files)))
        with zipfile.ZipFile(path, "w") as archive:
            for key, content in files.items():
                archive.writestr(key, data.draw(mutated(content)) if key == name else content)
    try:
        states = checkpoint.read(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return
    assert set(STATES) <= set(states)


NAMES = (
    "encoder.layers.0.fc1.weight",
    "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv.0.weight_v",
)
COMPONENTS = st.sampled_from(
    ("module", "_orig_mod", "_fsdp_wrapped_module", "parametrizations", "weight", "original0", "")
)
WRAPPING = st.lists(st.sampled_from(("module.", "_orig_mod.", "module._orig_mod.")), max_size=3)


@st.composite
def wrapped(draw):
    """Names that are wrapped, and what they are without; or any names, and None."""
    if draw(st.booleans()):
        odd = st.lists(COMPONENTS | st.text(max_size=8), max_size=6).map(".".join)
        return draw(st.lists(odd, max_size=5, unique=True)), None
    front = "".join(draw(WRAPPING))
    inside = draw(st.sampled_from(("", "_orig_mod.", "_fsdp_wrapped_module.")))
    names = [front + name.replace("encoder.", f"encoder.{inside}", 1) for name in NAMES]
    if draw(st.booleans()):
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            names = [name.replace(old, f"parametrizations.weight.{new}") for name in names]
    return names, NAMES


@fuzz(12_000, data=st.data())
def test_a_file_of_weights_under_any_names(folder, data):
    """Wrapped names come out plain, other names lose nothing, and no other error comes."""
    import torch

    from spknorm.export.upstream_file import read_upstream_file

    names, plain = data.draw(wrapped())
    weights = {name: torch.full((1,), float(place)) for place, name in enumerate(names)}
    converted = {"task_cfg": {}, "model_cfg": {}, "dictionaries_symbols": []}
    forms = {
        "converted": {**converted, "model_weight": weights},
        "half": {**converted, "model_weight": {n: w.half() for n, w in weights.items()}},
        "weights alone": weights,
        "fairseq": {"args": argparse.Namespace(arch="x"), "model": weights},
        "anything": data.draw(JSON),
    }
    form = data.draw(st.sampled_from(sorted(forms)))
    path = folder / "weights.pt"
    torch.save(forms[form], path, _use_new_zipfile_serialization=data.draw(st.booleans()))
    damaged = data.draw(st.integers(0, 9)) == 0
    if damaged:
        lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        path.write_bytes(data.draw(st.just(lfs) | mutated(path.read_bytes())))
    try:
        found = read_upstream_file(path)["model_weight"]
    except CheckpointError as error:
        assert str(error).startswith(str(path))
        assert damaged or form not in ("converted", "half")
        return
    if not damaged:
        assert form in ("converted", "half")
        assert len(found) == len(names)
        assert plain is None or set(found) == set(plain)


@fuzz(8_000, values=st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), max_size=5))
def test_logits_of_any_value_give_classes_or_an_error(values):
    from spknorm.errors import NonFiniteError
    from spknorm.statistics.metrics import classes_of

    logits = np.array(values, dtype=np.float32).reshape(-1, 4)
    names = [f"u{place}" for place in range(len(logits))]
    bad = [name for name, row in zip(names, logits, strict=True) if not np.isfinite(row).all()]
    try:
        classes = classes_of(logits, names)
    except NonFiniteError as error:
        assert bad
        assert bad[0] in str(error)
        return
    assert not bad
    assert all(row[one] == row.max() for row, one in zip(logits, classes, strict=True))
