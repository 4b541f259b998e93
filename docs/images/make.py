"""Take the README's pictures of a finished benchmark's report; needs a Chromium.

./run_downstream.sh                      # the demo: result/demo
python docs/images/make.py result/demo   # report.png and table.png beside this file
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from browser import Browser  # noqa: E402

PICTURES = {"report.png": "header", "table.png": "#table-accuracy-si5"}
WIDTH, COLOURS = 1100, 64


def picture_of(browser, selector):
    """Return the part of the page from the first to the last element of a CSS selector."""
    box = browser.ask(
        f"""(() => {{
            const boxes = [...document.querySelectorAll({selector!r})].map(
                one => one.getBoundingClientRect());
            const top = Math.min(...boxes.map(one => one.top)) + window.scrollY;
            const bottom = Math.max(...boxes.map(one => one.bottom)) + window.scrollY;
            return [top, bottom - top];
        }})()"""
    )
    clip = {"x": 0, "y": box[0] - 8, "width": WIDTH, "height": box[1] + 16, "scale": 1}
    shot = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def main():
    """Write the pictures of the report of the folder that is named."""
    page = Path(sys.argv[1]).resolve() / "report.html"
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            browser.open(page, width=WIDTH)
            for name, selector in PICTURES.items():
                picture_of(browser, selector).quantize(COLOURS).save(HERE / name, optimize=True)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
