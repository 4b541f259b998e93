"""Recordings of real people through predict: whatever their rate, channels, length and language."""

import csv
from itertools import groupby
from pathlib import Path

import pytest
import soundfile
from trained_folders import make_trained

from spknorm.audio import SAMPLE_RATE
from spknorm.cli import main

KLETTRES = Path("/usr/share/klettres")
RATES = (22_050, 44_100, 48_000, 128_000)


def a_few_of_each():
    """Return two recordings of each language, and one of each rate that occurs."""
    found = sorted(KLETTRES.rglob("*.ogg"))
    chosen = [
        path
        for _, of_language in groupby(found, key=lambda path: path.relative_to(KLETTRES).parts[0])
        for path in list(of_language)[:2]
    ]
    rates = {soundfile.info(path).samplerate: path for path in found}
    assert set(rates) >= set(RATES)
    return sorted({*chosen, *rates.values()})


@pytest.mark.slow
@pytest.mark.skipif(not KLETTRES.is_dir(), reason="needs Debian's klettres-data")
def test_recordings_of_real_people_in_20_languages_are_predicted_whole(tmp_path, tiny_hubert):
    expdir = make_trained(tmp_path / "run", tiny_hubert)
    paths, out = a_few_of_each(), tmp_path / "said.csv"
    assert main(["predict", str(expdir), *map(str, paths), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [name for name in rows[0] if name not in ("path", "start", "end", "emotion")]
    assert classes == ["neu", "hap", "ang", "sad"]
    assert [row["path"] for row in rows] == [str(path) for path in paths], "one window each"
    for row, path in zip(rows, paths, strict=True):
        seconds = soundfile.info(path).duration
        assert float(row["start"]) == 0
        assert float(row["end"]) == pytest.approx(seconds, abs=2 / SAMPLE_RATE + 1e-3)
        assert sum(float(row[name]) for name in classes) == pytest.approx(1, abs=1e-3)
    assert len({tuple(row[name] for name in classes) for row in rows}) > 0.9 * len(rows)
