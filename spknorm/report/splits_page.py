"""What splits share as an HTML page: one table of folds, examples of each leak, class balance."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from spknorm.protocols.leaks import Fold

_PARTS = ("train", "dev", "test")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem "
    ".6rem;text-align:left;vertical-align:top}.leak{background:#fde8e8;font-weight:600}"
    "small{color:#555}"
)


def splits_page(found: Mapping[str, Sequence[Fold]], remarks: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        found: Folds by the name of their list or corpus.
        remarks: What else there is to say of one.
    """
    body = "".join(
        line for name, folds in found.items() for line in _section(name, folds, remarks.get(name))
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>What splits share</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>What splits share</h1>{body}</html>\n"
    )


def _section(name: str, folds: Sequence[Fold], remark: str | None) -> Iterator[str]:
    num_leaking = sum(bool(fold.leaks) for fold in folds)
    verdict = f"{num_leaking} of {len(folds)} folds leak" if num_leaking else "no fold leaks"
    yield f"<h2>{escape(name)}</h2><p>{verdict}.{f' {escape(remark)}.' if remark else ''}</p>"
    yield "<table><tr><th>fold<th>train / dev / test<th>shared<th>classes: train / dev / test</tr>"
    for fold in folds:
        sizes = " / ".join(str(fold.utterances.get(part, 0)) for part in _PARTS)
        yield (
            f"<tr><td>{escape(fold.name)}<td>{sizes}<td>{_shared(fold)}<td>{_classes(fold)}</tr>"
        )
    yield "</table>"


def _shared(fold: Fold) -> str:
    lines = []
    for one in fold.shared:
        if one.number:
            examples = ", ".join(one.examples) + (", ..." if one.number > len(one.examples) else "")
            text = f"{one.number} of {one.of} {one.what} of {one.second} are in {one.first}"
            mark = " class=leak" if one.is_leak else ""
            lines.append(
                f"<div{mark}>{text} ({one.utterances} utterances)"
                f"<br><small>{escape(examples)}</small></div>"
            )
    if fold.unread:
        lines.append(f"<div>{fold.unread} files could not be compared by content</div>")
    return "".join(lines) or "nothing"


def _classes(fold: Fold) -> str:
    names = sorted({name for counts in fold.classes.values() for name in counts} - {"None"})
    return "<br>".join(
        f"{escape(name)} {' / '.join(str(fold.classes[part].get(name, 0)) for part in _PARTS)}"
        for name in names
    )
