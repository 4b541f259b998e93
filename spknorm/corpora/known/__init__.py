"""The corpora by name: one row each, in one table. Nothing here reads a file.

A new corpus is one file with its reader and one row here. The settings take their names from this
table, so that it comes before `spknorm.schema`; words.py says which words are which classes, and
the rows of corpora whose file names say everything are in layouts.py.
"""

from spknorm.corpora.known.corpus import Corpus
from spknorm.corpora.known.iemocap import IEMOCAP
from spknorm.corpora.known.layouts import LAYOUTS
from spknorm.corpora.known.speakers import SPEAKERS
from spknorm.corpora.known.tables import WITH_TABLES

_DOORS = (
    Corpus(
        name="manifest", title="a manifest", reader="spknorm.corpora.manifest",
        takes=("manifest", "allow_outside"),
    ),
)  # fmt: skip
_DEMO = Corpus(name="demo", title="the demo", reader="spknorm.corpora.demo", scale=(1.0, 5.0))
_CODED = tuple(
    Corpus(
        name=name,
        title=one.title,
        reader="spknorm.corpora.coded",
        variable=f"{name.upper()}_ROOT",
        counts=one.counts,
        num_utterances=one.total,
        num_speakers=one.num_speakers,
        language=one.language,
        licence=one.licence,
        source=one.source,
        example=one.example,
        compared=False,
    )
    for name, one in LAYOUTS.items()
)

CORPORA: dict[str, Corpus] = {
    one.name: one for one in (IEMOCAP, *_CODED, *WITH_TABLES, *SPEAKERS, *_DOORS, _DEMO)
}
"""Every corpus by its name."""


def names_for(role: str) -> tuple[str, ...]:
    """Return the names of the corpora that can serve as `emotion` or `speaker`."""
    return tuple(name for name, one in CORPORA.items() if role in one.roles)
