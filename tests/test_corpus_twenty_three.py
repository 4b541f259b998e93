"""A corpus that nobody has yet: one file and one row make it known everywhere."""

import sys

import pytest

from spknorm import config, corpora
from spknorm.corpora.known import CORPORA, markdown
from spknorm.corpora.known.corpus import Corpus
from spknorm.corpora.reading import read_corpus
from spknorm.errors import ConfigError, MissingError
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig

FILE = """
from spknorm.corpora.records import Utterance

def read(ask):
    return [
        Utterance(id=file.stem, path=file, emotion=file.stem.split("_")[1],
                  original=file.stem.split("_")[1], speaker=f"made_up_{file.stem.split('_')[0]}")
        for file in sorted(ask.root.glob("*.wav"))
    ]
"""
ROW = Corpus(
    name="made_up",
    title="a made-up corpus",
    reader="spknorm.corpora.made_up",
    variable="MADE_UP_ROOT",
    counts={"neu": 2, "gleeful": 2},
    num_speakers=2,
    licence="none",
    source="nowhere",
    example="anna_neu.wav",
)


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """The one file and the one row."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file/made_up.py").write_text(FILE)
    monkeypatch.setattr(corpora, "__path__", [*corpora.__path__, str(tmp_path / "file")])
    monkeypatch.delitem(sys.modules, "spknorm.corpora.made_up", raising=False)
    monkeypatch.setitem(CORPORA, "made_up", ROW)
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("anna_neu", "anna_gleeful", "ben_neu", "ben_gleeful"):
        (tree / f"{name}.wav").touch()
    return tree


def test_settings_accept_its_name_and_before_they_did_not(made_up, monkeypatch):
    section = {"downstream_expert": {"datarc": {"corpus": "made_up"}}}
    parsed = config.parse(section)
    assert parsed.downstream_expert.datarc.corpus == "made_up"
    monkeypatch.delitem(CORPORA, "made_up")
    section["downstream_expert"]["datarc"]["test_fold"] = "fold2"  # equal settings are parsed once
    with pytest.raises(ConfigError, match=r"datarc\.corpus` must be one of iemocap, .*`'made_up'`"):
        config.parse(section)


def test_it_is_read_for_both_roles_and_says_where_it_was_looked_for(made_up, monkeypatch):
    data = DataConfig(corpus="made_up", root=str(made_up))
    records = read_corpus(ExpertConfig(datarc=data), "emotion")
    assert [one.emotion for one in records] == ["gleeful", "neu", "gleeful", "neu"]  # its habit
    section = SpeakerCorpusConfig(corpus="made_up")
    with pytest.raises(MissingError, match="nor is MADE_UP_ROOT"):
        read_corpus(ExpertConfig(speaker_corpus=section), "speaker")
    monkeypatch.setenv("MADE_UP_ROOT", str(made_up))
    found = read_corpus(ExpertConfig(speaker_corpus=section), "speaker")
    assert {one.speaker for one in found} == {"made_up_anna", "made_up_ben"}


def test_what_differs_from_its_published_counts_is_said(made_up, caplog):
    (made_up / "ben_neu.wav").unlink()
    (made_up / "carl_gleeful.wav").touch()
    data = DataConfig(corpus="made_up", root=str(made_up))
    read_corpus(ExpertConfig(datarc=data), "emotion")
    assert caplog.messages == [
        "This a made-up corpus differs from the published one: 1 utterances of `neu` instead of "
        "2; 3 utterances of `gleeful` instead of 2; 3 speakers instead of 2"
    ]


def test_the_table_of_the_docs_has_it(made_up):
    assert (
        "| `made_up` | a made-up corpus | 4 | 2 / 0 / 0 / 0 | gleeful 2 | 2 | several |  | none "
        "| nowhere | `anna_neu.wav` |"
    ) in markdown.table()
