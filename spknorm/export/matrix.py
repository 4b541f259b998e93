"""What each family of upstreams can do here, as docs/s3prl.md shows it: matrix.md.j2, filled."""

from spknorm.report.tables import filled
from spknorm.upstreams import FAMILIES


def matrix() -> str:
    """Return the table of families and what does not work, as Markdown."""
    return filled("export/matrix.md.j2", families=FAMILIES) + "\n"
