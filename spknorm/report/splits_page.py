"""What splits share as an HTML page: one table of folds, examples of each leak, class balance."""

from collections.abc import Mapping, Sequence

from spknorm.protocols.leaks import Fold
from spknorm.report.words import engine


def splits_page(found: Mapping[str, Sequence[Fold]], remarks: Mapping[str, str]) -> str:
    """Return the page, splits.html.j2.

    Args:
        found: Folds by the name of their list or corpus.
        remarks: What else there is to say of one.
    """
    known = {name: remarks.get(name, "") for name in found}
    parts = ("train", "dev", "test")
    page = engine(autoescape=True).get_template("splits.html.j2")
    return f"{page.render(found=found, remarks=known, parts=parts, classes_of=_classes)}\n"


def _classes(fold: Fold) -> list[str]:
    return sorted({name for counts in fold.classes.values() for name in counts} - {"None"})
