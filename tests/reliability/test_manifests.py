"""Manifests from strangers: each fault is in a real file, each message is exact."""

import pytest

from spknorm.corpora.doors import read_list
from spknorm.errors import ConfigError, DataError, MissingError

OUTSIDE = "leads out of the root"


def refused(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        read_list(path, **options)
    assert error.value.exit_code == 3
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists no utterance."),
        ("path\n", "lists no utterance."),
        ("\n\n", "lists no utterance."),
        ("id\na\n", "line 1: expected a header of different columns with `path`, but found ['id']"),
        (
            "path,path\na,b\n",
            "line 1: expected a header of different columns with `path`, but found "
            "['path', 'path']",
        ),
        ("path,,id\na.wav,b,x\n", "line 1: expected a header of different columns with `path`"),
        ("path,id\na.wav\n", "line 2: 1 cells, but the header has 2 columns"),
        ("path\na.wav,b\n", "line 2: 2 cells, but the header has 1 columns"),
        ("path,id\n,a\n", "line 2: `path` is missing"),
        ("path,id\na.wav,x\nb.wav,x\n", "line 3: the id `x` is that of line 2"),
        ("path\na.wav\na.wav\n", "line 3: the id `a.wav` is that of line 2"),
        ('path\n"a.wav\n', "line 2: not CSV (unexpected end of data)"),
        ('path\n"a"b.wav\n', "line 2: not CSV (',' expected after '\"')"),
        ("path\n" + "x" * 140_000, "line 2: not CSV (field larger than field limit (131072))"),
        (
            "path,turn\na.wav,improv\n",
            "line 2: `turn` must be one of improvised, scripted, but is `improv`",
        ),
        (
            "path,split\na.wav,valid\n",
            "line 2: `split` must be one of train, dev, test, but is `valid`",
        ),
        ("path\na\0b.wav\n", "m.csv has zero bytes in it, the first in line 2: it is no text"),
    ],
)
@pytest.mark.fault("manifest")
def test_a_faulty_csv_is_named_with_its_line(tmp_path, content, said):
    assert said in refused(tmp_path / "m.csv", content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1: not JSON (Expecting property name enclosed in double quotes"),
        ("[]", "line 1: expected a JSON object"),
        ("3", "line 1: expected a JSON object"),
        ("{}", "line 1: `path` is missing"),
        ('{"path": "a.wav"}\n{"path": ["b.wav"]}', "line 2: `path` must be text or a whole number"),
        ('{"path": true}', "line 1: `path` must be text or a whole number"),
        ('{"path": 1.5}', "line 1: `path` must be text or a whole number"),
        ('{"path": "\\ud800.wav"}', "line 1: the path '\\ud800.wav' cannot be a file name"),
        ('{"path": "a\\u0000"}', "line 1: the path is empty or holds a NUL character"),
        ("[" * 100_000, "line 1: maximum recursion depth exceeded"),
        ('{"path": ' + "1" * 5000 + "}", "line 1: Exceeds the limit (4300 digits)"),
    ],
)
@pytest.mark.fault("manifest")
def test_a_faulty_jsonl_is_named_with_its_line(tmp_path, content, said):
    assert said in refused(tmp_path / "m.jsonl", content)


@pytest.mark.fault("manifest")
def test_text_that_is_not_utf_8_is_named_with_its_line(tmp_path):
    said = refused(tmp_path / "m.csv", "path\na.wav\nZo\xeb.wav\n".encode("latin-1"))
    assert said == (
        f"The manifest {tmp_path / 'm.csv'} is not UTF-8: line 3 has the byte 0xeb. "
        "Save it as UTF-8 (`CSV UTF-8` in Excel)."
    )


@pytest.mark.fault("manifest")
def test_an_unknown_ending_is_refused(tmp_path):
    said = refused(tmp_path / "m.xlsx", "path\n")
    assert said == f"The manifest {tmp_path / 'm.xlsx'} must end in .csv or .jsonl."


@pytest.mark.fault("manifest")
def test_a_missing_manifest_or_root_is_named(tmp_path):
    with pytest.raises(MissingError) as error:
        read_list(tmp_path / "m.csv")
    assert str(error.value) == f"There is no manifest {tmp_path / 'm.csv'}."
    with pytest.raises(MissingError) as error:
        read_list(tmp_path / "m.csv", root=tmp_path / "no")
    assert str(error.value) == (
        f"There is no folder {tmp_path / 'no'}, the root of the manifest {tmp_path / 'm.csv'}."
    )
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=rf"^The folder {tmp_path / 'd.csv'} is of no known kind"):
        read_list(tmp_path / "d.csv")


@pytest.mark.fault("manifest")
def test_20_lines_are_listed_and_the_rest_counted(tmp_path):
    said = refused(tmp_path / "m.csv", "path,id\n" + "".join(f",{n}\n" for n in range(45)))
    lines = said.splitlines()
    assert lines[0] == f"45 lines of {tmp_path / 'm.csv'} cannot be used:"
    assert lines[1] == "  line 2: `path` is missing"
    assert len(lines) == 22
    assert lines[-1] == "  ... and 25 more"


@pytest.fixture
def corpus(tmp_path):
    """A root with a file, and links out of it and within it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.wav").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner/a.wav").write_bytes(b"sound")
    (root / "file_link.wav").symlink_to(tmp_path / "secret/key.wav")
    (root / "folder_link").symlink_to(tmp_path / "secret")
    (root / "chain.wav").symlink_to("file_link.wav")
    (root / "dangling.wav").symlink_to(tmp_path / "secret/none.wav")
    (root / "fine_link.wav").symlink_to("inner/a.wav")
    (root / "loop.wav").symlink_to("loop.wav")
    return root


LEADING_OUT = (
    "../secret/key.wav",
    "inner/../../secret/key.wav",
    "..",
    "inner/../..",
    "/etc/passwd",
    "//etc/passwd",
    "file_link.wav",
    "folder_link/key.wav",
    "folder_link/../root/inner/../../secret/key.wav",
    "chain.wav",
    "dangling.wav",
    "./folder_link/./key.wav",
)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("path", LEADING_OUT)
@pytest.mark.fault("manifest")
def test_no_path_leads_out_of_the_root(corpus, path, ending):
    content = f"path\n{path}\n" if ending == "csv" else f'{{"path": "{path}"}}\n'
    said = refused(corpus / f"m.{ending}", content)
    assert f"the path {path!r} leads out of the root {corpus} " in said
    assert "(set `allow_outside: true` if that is meant)" in said


@pytest.mark.parametrize("path", LEADING_OUT)
def test_a_path_may_lead_out_if_that_is_allowed(corpus, path):
    (corpus / "m.csv").write_text(f"path\n{path}\n")
    (found,) = read_list(corpus / "m.csv", allow_outside=True)
    assert found.path == corpus / path


@pytest.mark.parametrize(
    "path", ["inner/a.wav", "./inner/a.wav", "inner/../inner/a.wav", "fine_link.wav", "ABSOLUTE"]
)
def test_paths_that_stay_inside_are_fine_however_they_are_written(corpus, path):
    path = str(corpus / "inner/a.wav") if path == "ABSOLUTE" else path
    (corpus / "m.csv").write_text(f"path\n{path}\n")
    (found,) = read_list(corpus / "m.csv")
    assert found.path.read_bytes() == b"sound"


def test_a_root_that_is_itself_a_link_is_fine(corpus):
    (corpus.parent / "link").symlink_to(corpus)
    (corpus / "m.csv").write_text("path\ninner/a.wav\n")
    (found,) = read_list(corpus.parent / "link/m.csv")
    assert found.path == corpus.parent / "link/inner/a.wav"


@pytest.mark.fault("manifest")
def test_a_neighbour_whose_name_begins_alike_is_outside(corpus):
    (corpus.parent / "root2").mkdir()
    said = refused(corpus / "m.csv", "path\n../root2/a.wav\n")
    assert OUTSIDE in said
