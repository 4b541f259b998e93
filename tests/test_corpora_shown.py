"""What the commands and the docs show of the corpora, and the small trees that they write."""

import shutil
from pathlib import Path

import pytest
import soundfile
from corpus_files import read_tree

from spknorm.corpora.known import CORPORA
from spknorm.corpora.known.markdown import written_into
from spknorm.demo.corpus_trees import write_tree


def test_the_command_writes_the_table_and_tells_all_of_one_corpus(tmp_path, capsys):
    from spknorm.cli import main

    page = Path(__file__).parents[1] / "docs/corpora.md"
    copy = tmp_path / "page.md"
    copy.write_text(page.read_text().replace("| `savee` |", "| changed |"))
    assert main(["corpora", "--markdown", str(copy)]) == 0
    assert copy.read_text() == page.read_text()
    assert main(["corpora", "msp_improv"]) == 0
    shown = capsys.readouterr().out
    assert "by word       neutral 3477, happy 2644, angry 792, sad 885\n" in shown
    assert "dimensions    1 to 5\n" in shown
    assert main(["corpora", "msp"]) == 2
    assert "`msp` is none of the corpora: iemocap, " in capsys.readouterr().err
    assert main(["corpora"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(CORPORA)


def test_the_table_of_the_docs_is_that_of_the_records():
    page = (Path(__file__).parents[1] / "docs/corpora.md").read_text()
    assert written_into(page) == page
    assert f"| `savee` | {CORPORA['savee'].title} | 480 | 120 / 60 / 60 / 60 |" in page


@pytest.mark.parametrize(("corpus", "rate"), [("tess", 24414), ("emov_db", 16000)])
def test_a_small_tree_has_the_rates_and_widths_of_the_corpus(corpus, rate, tmp_path):
    written = write_tree(tmp_path, corpus, num_speakers=2, per_emotion=1)
    info = soundfile.info(tmp_path / written[0].path)
    assert info.samplerate == rate
    assert info.subtype == ("DOUBLE" if corpus == "emov_db" else "PCM_16")
    assert info.duration == pytest.approx(1.4, abs=1e-3)


def test_the_command_writes_a_tree_once_and_says_its_root(tmp_path, capsys):
    from spknorm.cli import main

    line = ["demo", "--corpus", "casia", str(tmp_path)]
    assert main(line) == 0
    assert capsys.readouterr().out == f"48 utterances\nexport CASIA_ROOT={tmp_path}/casia\n"
    assert len(read_tree(tmp_path / "casia", "casia")) == 48
    assert main(line) == 2
    shutil.rmtree(tmp_path / "casia")
