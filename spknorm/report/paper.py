"""The paper's numbers, each with how sure we are of it, to stand in grey beside ours.

Source: Gat, Aronowitz, Zhu, Morais, Hoory, "Speaker Normalization for Self-supervised Speech
Emotion Recognition", ICASSP 2022 (arXiv 2202.01252). Accuracies are percentages of utterances (WA).
Nothing else in the report holds a number that no result file holds.
"""

from typing import NamedTuple

from spknorm.report.methods import Method

CITATION = "Gat et al., ICASSP 2022, arXiv 2202.01252"
READ_OFF = "read off the paper's own table"
DIGITISED = "digitised from the paper's Figure 2, to about 0.1"
SECOND_HAND = "from a written summary of the paper, not from the paper itself"
CORPUS = "iemocap"
NUM_POINTS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)


class PaperRow(NamedTuple):
    """A row of the paper's Table 1, in percent; `strategy` is None for other people's systems."""

    name: str
    upstream: str | None
    strategy: str | None
    si5_wa: float | None
    sd_wa: float | None
    auc: float | None


TABLE_1 = (
    PaperRow("MDRE", None, None, None, 71.8, None),
    PaperRow("DS-LSTM", None, None, None, 72.7, None),
    PaperRow("MOMA", None, None, None, 74.8, None),
    PaperRow("WISE", None, None, 66.5, None, None),
    PaperRow("wav2vec2-PT", None, None, 67.2, None, None),
    PaperRow("ACTC", None, None, 69.0, None, None),
    PaperRow("AttPool", None, None, 71.7, None, None),
    PaperRow("HuBERT Base", "HuBERT Base", "none", 68.9, 71.2, 61.0),
    PaperRow("HuBERT Base + SNP", "HuBERT Base", "SNP", 69.0, 72.8, 61.6),
    PaperRow("HuBERT Base + TAP", "HuBERT Base", "TAP", 69.9, 72.4, 62.7),
    PaperRow("HuBERT Large", "HuBERT Large", "none", 71.9, 78.3, 63.9),
    PaperRow("HuBERT Large + SNP", "HuBERT Large", "SNP", 73.9, 79.9, 64.2),
    PaperRow("HuBERT Large + TAP", "HuBERT Large", "TAP", 74.2, 81.0, 64.9),
)

CURVES = {
    "none": (57.2, 59.0, 63.2, 66.1, 67.9, 67.1, 69.0, 69.9, 71.1, 70.8, 71.4),
    "SNP": (54.2, 59.6, 64.2, 65.7, 67.9, 67.8, 70.2, 69.2, 70.3, 72.2, 72.0),
    "TAP": (58.9, 60.6, 64.6, 66.9, 68.1, 68.9, 69.9, 70.8, 71.4, 72.1, 72.1),
}
"""Figure 2 (HuBERT Large): WA at each of `NUM_POINTS` samples per label."""

LEAKAGE = {"before": 60.7, "after": 45.9}
"""Speaker-ID accuracy of a head on frozen HuBERT Large; corpus and head are not known."""

_BASE = ("hubert", "hubert_base", "hubert_base_ls960", "hubert_ls960")
_UPSTREAMS = {**dict.fromkeys(_BASE, "HuBERT Base"), "hubert_large_ll60k": "HuBERT Large"}


def published(method: Method, protocol: str) -> float | None:
    """Return the paper's WA of a method that it has a row for, in percent."""
    if method.erasure or method.shuffled or method.frozen or protocol not in ("si5", "sd"):
        return None
    wanted = (method.strategy, _UPSTREAMS.get(method.upstream))
    found = {(line.strategy, line.upstream): line for line in TABLE_1 if line.strategy}
    line = found.get(wanted)
    return line and (line.si5_wa if protocol == "si5" else line.sd_wa)
