"""Corpora whose labels are in tables: whole trees of names against published counts, and traps."""

from collections import Counter

from corpus_files import plant, read, touch, write

# --- Emozionalmente


def test_all_of_emozionalmente(tmp_path, caplog):
    plant(tmp_path, "emozionalmente")
    records = read(tmp_path, "emozionalmente", labels="all")
    assert "differs" not in caplog.text
    assert set(Counter(one.original for one in records).values()) == {986}
    assert len({one.speaker for one in records}) == 431
    assert len({one.sentence for one in records}) == 18
    assert records[0].votes == (("neutrality", 4.0), ("joy", 1.0))
    assert {one.label("sex") for one in records} == {"female", "male"}


def test_emozionalmente_without_listeners_is_read_without_votes(tmp_path):
    touch(tmp_path, ["audio/1.wav"])
    header = "file_name,sentence,actor,emotion_expressed"
    write(tmp_path, "metadata/samples.csv", header, "1.wav,Ciao,anna,joy")
    (one,) = read(tmp_path, "emozionalmente", labels="all")
    assert (one.emotion, one.speaker, one.votes) == ("hap", "emozionalmente_anna", ())


# --- CAMEO


def test_cameos_speakers_are_numbered_anew_in_each_of_its_corpora(tmp_path, monkeypatch):
    from spknorm.demo.corpus_trees import write_tree

    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    written = write_tree(tmp_path / "tree", "cameo", num_speakers=26, per_emotion=1)
    records = read(tmp_path / "tree", "cameo")
    assert len(records) == len(written) == 104
    assert len({one.speaker for one in records}) == 26
    assert {one.part for one in records} == {one.label("corpus") for one in records}
    assert len({one.part for one in records}) == 13
    assert all(one.path.is_relative_to(tmp_path / "cache") for one in records)
    stamps = {one.path: one.path.stat().st_mtime_ns for one in records}
    assert [one.path for one in read(tmp_path / "tree", "cameo")] == list(
        dict.fromkeys(one.path for one in records)
    )
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


# --- IEMOCAP


def test_all_words_of_iemocap_come_with_votes_and_dimensions(tmp_path):
    touch(tmp_path, ["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"])
    write(
        tmp_path,
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
        "",
        "[6.2901 - 8.2357]\tSes01F_impro01_M000\texc\t[4.5000, 3.5000, 2.0000]",
        "C-E2:\tExcited; Happiness;\t()",
        "C-E3:\tExcited;\t()",
        "C-E4:\tOther;\t(amazed)",
        "C-F1:\tNeutral state;\t()",  # the actress of herself
        "A-E3:\tval 4; act 4; dom  2;\t()",
    )
    (one,) = read(tmp_path, "iemocap", labels="all")
    assert (one.emotion, one.original, one.speaker) == ("exc", "exc", "Ses01_M")
    assert one.votes == (("exc", 1.5), ("oth", 1.0), ("hap", 0.5))
    assert (one.valence, one.arousal, one.dominance) == (4.5, 3.5, 2.0)
    (four,) = read(tmp_path, "iemocap")
    assert (four.emotion, four.original) == ("hap", "exc")
