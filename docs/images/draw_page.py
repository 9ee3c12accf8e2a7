"""Take the README's pictures of the page of `stepsight serve`, in a headless Chromium, with pico: `make screenshots`.

PYTHONPATH=. python docs/images/draw_page.py docs/images
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from tests.serving.browsing import Visit, browsing

from stepsight.files import whole_file
from stepsight.testing.processes import SERVE, served

SEED = 57
"""Of the hard split: pico writes captions that differ, and the judge leaves the false one out."""
COLOURS = 160


def main(folder: Path) -> None:
    with browsing() as browser, served(SERVE) as server:
        # The first search of a process is slower than those after it.
        warm = Visit(browser, server)
        warm.ask("How many objects are there?")
        warm.over()
        warm.context.close()
        for name, width, height, scheme in (
            ("page-light", 1280, 980, "light"),
            ("page-dark", 1280, 980, "dark"),
            ("page-phone", 390, 844, "light"),
        ):
            visit = Visit(browser, server, width=width, height=height, color_scheme=scheme)
            visit.page.locator("#split").select_option("hard")
            visit.draw(SEED)
            if name == "page-dark":
                visit.page.get_by_label("Compare with a second method").check()
            visit.page.get_by_role("button", name="Ask").click()
            visit.over()
            if name == "page-dark":
                visit.over(place=1)
            visit.page.locator(".answer .good, .answer .bad").first.wait_for()
            dropped = visit.search().locator(".node:not(.chosen):not(.twin)").last
            dropped.click()
            visit.page.mouse.move(0, 0)
            if name == "page-phone":
                visit.search().locator(".tree").evaluate("tree => tree.scrollIntoView({ block: 'center' })")
            else:
                visit.page.evaluate("window.scrollTo(0, 0)")
            # Few colours: these are pictures of flat surfaces, and they go into the repository.
            shot = Image.open(io.BytesIO(visit.page.screenshot()))
            with whole_file(folder / f"{name}.png") as stream:
                shot.convert("RGB").quantize(COLOURS).save(stream, format="PNG", optimize=True)
            visit.context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
