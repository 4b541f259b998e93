"""Whatever a file or an override that strangers wrote holds: a result or a clear error.

A hundred inputs per test by default; HYPOTHESIS_PROFILE=nightly tries over 100 000 in all.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import zipfile

import fake_results
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from spknorm import config, runs
from spknorm.audio import AudioError, AudioIndex, iter_windows, load_audio, read_info
from spknorm.audio.faults import KINDS
from spknorm.cli import overrides
from spknorm.corpora import (
    EMOTIONS,
    read_folds,
    read_iemocap,
    read_manifest,
    read_voxceleb1,
)
from spknorm.corpora.manifest import COLUMNS
from spknorm.errors import CheckpointError, ConfigError, DataError, MissingError
from spknorm.runs import checkpoint

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
DOCUMENTED = (DataError, MissingError)

EVALUATION = (
    b"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    b"C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
    b"[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[2.5000, 2.5000, 2.5000]\n"
)
MANIFEST = b'id,path,emotion,speaker\n1,a.wav,neu,"x, y"\n2,b/../c.wav,hap,"q""q"\n'
LINES = b'{"id": "1", "path": "a.wav", "speaker": "x"}\n{"path": "b/../c.wav", "age": 3}\n'
LIST = b"1 id10001/x/00001.wav\n3 id10002/y/00001.wav\n"
YAML = (
    b"runner:\n  total_steps: 6\n  eval_dataloaders: [dev, test]\noptimizer: {lr: 1.0e-4}\n"
    b"downstream_expert:\n  spknorm: &a\n    strategy: SNP # x\n    schedule: 'dann'\n"
)
OVERRIDE = b"config.optimizer.lr=1.0e-4,,args.seed=3,,config.runner.eval_dataloaders=['dev',],,"
PIECES = (
    b"\n",
    b"\t",
    b",",
    b'"',
    b"[",
    b"../",
    b"/",
    b"\0",
    b"\xff",
    b"\r",
    b"\xef\xbb\xbf",
    b" ",
)


@st.composite
def mutated(draw, content):
    """Valid content with a few places cut out, doubled or overwritten."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(result)))
        stop = min(len(result), start + draw(st.integers(0, 30)))
        piece = draw(
            st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(result[start:stop] * 2)
        )
        result[start:stop] = piece
    return bytes(result)


def content_like(valid):
    text = st.text(st.sampled_from('[]{}",:\t\n .-/0129aSesFM_impro'), max_size=200)
    return mutated(valid) | st.binary(max_size=300) | text.map(str.encode)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "path": JSON
        | st.sampled_from(
            ("Session2/a/Ses02F_impro01_F000.wav", "Session1/Ses01M_script01_1_M000.wav")
        )
        | st.text(st.sampled_from("./Ses02F_improM\0\ud800"), max_size=40),
        "label": st.sampled_from(EMOTIONS) | JSON,
        "speaker": JSON,
    },
)
FOLD = st.fixed_dictionaries(
    {
        "labels": st.just({emotion: number for number, emotion in enumerate(EMOTIONS)}) | JSON,
        "meta_data": st.lists(ENTRY, max_size=4) | JSON,
    }
)
ROW = st.dictionaries(
    st.sampled_from((*COLUMNS, "gender", "")),
    JSON
    | st.text(st.characters(codec=None), max_size=30)
    | st.sampled_from(("a.wav", "..", "/a", "x/y")),
    max_size=6,
)


def fuzz(nightly, **inputs):
    """Like `given`, with so many inputs at night; counts them for `--fault-counts`."""

    def decorate(test):
        @functools.wraps(test)
        def counting(*arguments, **options):
            try:
                test(*arguments, **options)
            except Exception:
                counting.inputs += 1
                raise
            counting.inputs += 1  # but not where hypothesis stops before the input is drawn

        counting.inputs = 0
        drawn = settings(max_examples=nightly if NIGHTLY else 100)(given(**inputs)(counting))
        return pytest.mark.fault("any content")(drawn)

    return decorate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder beside which nothing may appear."""
    folder = tmp_path_factory.mktemp("fuzz") / "folder"
    folder.mkdir()
    yield folder
    assert list(folder.parent.iterdir()) == [folder]


def attempt(reader, *arguments, **options):
    """Return the records, or None after a documented error with something to say."""
    try:
        records = reader(*arguments, **options)
    except DOCUMENTED as error:
        assert str(error)
        assert str(error).count("\n") <= 500
        return None
    ids = [one.id for one in records]
    assert ids
    assert all(one.path.is_absolute() for one in records)
    return records


def stays_inside(records, root):
    real = os.path.realpath(root)
    for one in records or ():
        assert (
            os.path.realpath(one.path).startswith(real + "/") or os.path.realpath(one.path) == real
        )


@fuzz(15_000, content=content_like(MANIFEST))
def test_a_csv_manifest_of_any_content(folder, content):
    (folder / "m.csv").write_bytes(content)
    records = attempt(read_manifest, folder / "m.csv")
    stays_inside(records, folder)
    if records:
        assert len({one.id for one in records}) == len(records)


@fuzz(
    10_000,
    content=content_like(LINES)
    | st.lists(ROW, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
)
def test_a_jsonl_manifest_of_any_content(folder, content):
    (folder / "m.jsonl").write_bytes(content)
    records = attempt(read_manifest, folder / "m.jsonl")
    stays_inside(records, folder)


@fuzz(17_000, content=content_like(EVALUATION))
def test_a_label_file_of_any_content(folder, content):
    labels = folder / "I/Session1/dialog/EmoEvaluation"
    wavs = folder / "I/Session1/sentences/wav/Ses01F_impro01"
    if not labels.is_dir():
        labels.mkdir(parents=True)
        wavs.mkdir(parents=True)
        for name in ("Ses01F_impro01_F000", "Ses01F_impro01_M000"):
            (wavs / f"{name}.wav").write_bytes(b"")
    (labels / "Ses01F_impro01.txt").write_bytes(content)
    try:
        records = read_iemocap(folder / "I")
    except DOCUMENTED as error:
        assert "Ses01F_impro01.txt, line " in str(error)
        return
    assert {one.emotion for one in records} <= set(EMOTIONS)
    stays_inside(records, wavs)


@fuzz(
    1_000,
    content=FOLD.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_fold_json_of_any_content(folder, content):
    (folder / "Session1").mkdir(exist_ok=True)
    for part in ("train", "test"):
        (folder / "Session1" / f"{part}_meta_data.json").write_bytes(content)
    stays_inside(attempt(read_folds, folder, "fold1", folder), folder)


@fuzz(1_000, content=content_like(LIST))
def test_a_split_list_of_any_content(folder, content):
    for name in ("id10001/x/00001.wav", "id10002/y/00001.wav"):
        (folder / "V/dev/wav" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "V/dev/wav" / name).write_bytes(b"")
    (folder / "V/iden_split.txt").write_bytes(content)
    stays_inside(attempt(read_voxceleb1, folder / "V"), folder / "V")


SOUNDS = (
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "IMA_ADPCM")),
    *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "G721_32")),
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")),
    *(("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("NIST", "ULAW")),
)
"""The containers that are accepted, in the encodings that people have."""


def sounds():
    noise = np.random.default_rng(0).normal(0, 0.1, 900)
    for form, subtype in SOUNDS:
        buffer = io.BytesIO()
        rate = 8000 if subtype == "GSM610" else 16000
        soundfile.write(buffer, noise, rate, format=form, subtype=subtype)
        yield buffer.getvalue()


@st.composite
def damaged(draw, content):
    """A sound file that is cut, or whose header, where the sizes are, has other bytes."""
    result = bytearray(content)
    kind = draw(st.sampled_from(("header", "cut", "tag", "both")))
    if kind != "cut":
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, min(len(result), 120) - 1))
            size = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)))
            piece = (value % 256**size).to_bytes(size, draw(st.sampled_from(("big", "little"))))
            result[place : place + size] = piece
    if kind == "tag":
        result[:0] = b"ID3\4\0\0" + draw(st.binary(min_size=4, max_size=40))
    if kind != "header":
        del result[draw(st.integers(0, len(result))) :]
    return bytes(result)


@fuzz(
    12_000,
    content=st.sampled_from(list(sounds())).flatmap(lambda valid: mutated(valid) | damaged(valid))
    | st.binary(max_size=200),
)
def test_a_sound_file_of_any_content(folder, content):
    path = folder / "a.wav"
    path.write_bytes(content)
    try:
        samples = load_audio(path)
    except AudioError as error:
        assert error.kind in KINDS
        return
    assert len(samples) >= 400
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    with contextlib.suppress(AudioError):  # the header may promise more MP3 than there is
        read_info(path)
    crop = load_audio(path, max_seconds=0.025, crop_seed=1)
    assert len(crop) == 400
    windows = list(iter_windows(path, window_seconds=0.03, hop_seconds=0.02))
    assert np.array_equal(windows[0].samples, samples[:480])


@fuzz(
    1_000,
    content=st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(
        lambda value: json.dumps({"schema": "spknorm.audio-index/1", "files": value}).encode()
    ),
)
def test_an_audio_index_of_any_content(folder, content):
    (folder / "audio-index.json").write_bytes(content)
    (found,) = AudioIndex(folder).look_up([folder / "none.wav"])
    assert isinstance(found, AudioError)


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
        found = read_upstream_file(path).model_weight
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
