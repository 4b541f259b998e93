"""The page as a browser shows it: nothing missing, nothing cut off, nothing run.

These tests fail without a Chromium; SPKNORM_BROWSER_TESTS=0 leaves them out, and says so.
"""

import base64
import json
import os

import pytest
from fake_results import make_bench, write

from spknorm import report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("SPKNORM_BROWSER_TESTS") == "0", reason="SPKNORM_BROWSER_TESTS=0"
    ),
]
HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=2>\"'>"
CONTRAST = """
(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => {
    v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
  let worst = 99;
  const kinds = 'h1, h2, p, li, a, td, th, caption, figcaption, code';
  for (const e of document.querySelectorAll(kinds)) {
    if (!e.textContent.trim() || e.className === 'skip') continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    worst = Math.min(worst, (a + .05) / (b + .05)); }
  return worst; })()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with everything in it."""
    folder = make_bench(
        tmp_path_factory.mktemp("bench"),
        upstreams=("hubert_base", "hubert_large_ll60k"),
        erasures=("leace", "znorm"),
        shuffled=True,
        num_folds=2,
        pending=3,
        failed=1,
    )
    report.build(folder)
    return folder / "report.html"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_at_both_widths_in_both_schemes(chromium, page, width, scheme):
    chromium.open(page, width=width, scheme=scheme)
    assert chromium.complaints() == []
    assert {url.partition(":")[0] for url in chromium.requests()} <= {"file", "data"}
    assert chromium.ask("document.images.length") > 8
    assert chromium.ask("[...document.images].every(i => i.complete && i.naturalWidth > 600)")
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    boxes = "[...document.querySelectorAll('table')].map(t => t.parentElement)"
    assert chromium.ask(f"{boxes}.every(b => getComputedStyle(b).overflowX === 'auto')")
    assert chromium.ask(f"{boxes}.every(b => b.getBoundingClientRect().right <= {width})")
    sizes = "[...document.querySelectorAll('td, th, figcaption, code')]"
    assert (
        chromium.ask(f"Math.min(...{sizes}.map(e => parseFloat(getComputedStyle(e).fontSize)))")
        >= 13
    )
    assert chromium.ask(CONTRAST) >= 4.5


def test_at_1280_pixels_the_tables_of_results_fit_without_scrolling(chromium, page):
    chromium.open(page, width=1280)
    wide = (
        "[...document.querySelectorAll('section:not(#origins) table')]"
        ".filter(t => t.scrollWidth > t.parentElement.clientWidth).map(t => t.id)"
    )
    assert chromium.ask(wide) == []


def test_at_400_pixels_pictures_stay_large_enough_to_read(chromium, page):
    chromium.open(page, width=400)
    widths = chromium.ask("[...document.images].map(i => i.getBoundingClientRect().width)")
    assert min(widths) >= 560  # they scroll inside their box


def test_the_first_tab_leads_past_the_header_and_the_focus_is_seen(chromium, page):
    chromium.open(page, width=1280)
    chromium.press("Tab")
    assert chromium.ask("document.activeElement.className") == "skip"
    assert chromium.ask("document.activeElement.getBoundingClientRect().left") >= 0
    chromium.press("Tab")
    picture = "Figure: Accuracy per method and leakage, si5"
    assert chromium.ask("document.activeElement.getAttribute('aria-label')") == picture
    assert chromium.ask("document.activeElement.getBoundingClientRect().top") < 300
    assert chromium.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_screen_reader_finds_names_for_tables_and_pictures(chromium, page):
    chromium.open(page, width=1280)
    chromium.call("Accessibility.enable")
    nodes = chromium.call("Accessibility.getFullAXTree")["nodes"]
    named = {}
    for node in nodes:
        if not node.get("ignored"):
            kind = node["role"]["value"]
            named.setdefault(kind, []).append(node.get("name", {}).get("value", ""))
    for kind in ("table", "image", "main", "navigation", "region"):
        kind = kind if kind in named or kind != "image" else "img"
        assert named[kind], kind
        if kind not in ("main",):
            assert all(named[kind]), kind
    assert named["columnheader"]
    assert named["rowheader"]


def test_the_page_prints(chromium, page):
    chromium.open(page, width=1280)
    printed = chromium.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
    document = base64.b64decode(printed["data"])
    assert document.startswith(b"%PDF")
    assert 5 < document.count(b"/Type /Page\n") + document.count(b"/Type /Page ") < 60


def test_markup_from_result_files_stays_inert(chromium, tmp_path):
    make_bench(tmp_path, methods=(("none", 0.0), ("TAP", 1e-3)), num_folds=2, features=False)
    for path in tmp_path.rglob("result.json"):
        content = json.loads(path.read_text())
        content |= {
            "upstream": HOSTILE,
            "task": HOSTILE,
            "protocol": HOSTILE,
            "fold": HOSTILE + path.parent.name,
        }
        content["versions"] = {HOSTILE: HOSTILE}
        write(path, content)
    report.build(tmp_path)
    chromium.open(tmp_path / "report.html", width=1280)
    assert chromium.ask("window.hit === undefined")
    assert chromium.ask("document.scripts.length") == 0
    assert chromium.complaints() == []
    assert HOSTILE in chromium.ask("document.body.textContent")
