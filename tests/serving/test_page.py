"""The page in a real browser: asked, watched, looked into, compared, reloaded; by keyboard, on a phone, in the dark.

The model is a script, except where it says so; the server is a process of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from tests.serving.browsing import Visit, browsing

from stepsight.stages import STAGES, Stage
from stepsight.testing.processes import MARKED, SERVE, Served, png, served, until

ROOT = Path(__file__).parents[2]
SCRIPTED = (str(ROOT / "tests/serving/scripted_server.py"),)
PHONE = (360, 740)
TEXT = "How many objects are left?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Browser) -> Iterator[Served]:
    with served(SCRIPTED) as server:
        yield server


@dataclass
class Gated:
    """A server that writes a stage when it is let."""

    server: Served
    folder: Path

    def let(self, stage: Stage) -> None:
        (self.folder / stage.value).touch()


@pytest.fixture
def gated(browser: Browser, tmp_path: Path) -> Iterator[Gated]:
    with served(SCRIPTED, "--grace", "0", env={"GATE": str(tmp_path)}) as server:
        yield Gated(server, tmp_path)


@pytest.fixture
def visit(browser: Browser, server: Served) -> Iterator[Visit]:
    with_page = Visit(browser, server)
    yield with_page
    with_page.context.close()


def test_stages_arrive_in_order_before_the_answer_is_whole(browser: Browser, gated: Gated) -> None:
    visit = Visit(browser, gated.server)
    visit.ask(TEXT)
    search, said = visit.search(), visit.page.get_by_role("status")
    for place, stage in enumerate(STAGES):
        expect(said).to_contain_text(f"{stage} is being written")
        expect(search.locator(f'[data-stage="{stage}"]')).to_have_attribute("data-state", "being written")
        states = ["chosen"] * place + ["being written"] + ["to come"] * (3 - place)
        assert [item.get_attribute("data-state") for item in search.locator("[data-stage]").all()] == states
        assert search.get_attribute("aria-busy") == "true"
        expect(search.locator(".node")).to_have_count(4 * place)
        assert search.locator(".answer").inner_text() == ""
        gated.let(stage)
        expect(search.locator(f'[data-stage="{stage}"]')).to_have_attribute("data-state", "chosen")
    visit.over()
    expect(said).to_contain_text("the answer is 1")
    assert search.get_attribute("aria-busy") == "false"
    assert search.locator(".node").count() == 16
    assert search.locator(".node.chosen").count() == 4
    assert search.locator(".edges .chosen").count() == 3
    assert search.locator(".answer").inner_text().startswith("Answer: 1")
    assert "tokens: " in search.locator(".status").inner_text()
    assert visit.complaints == []
    visit.context.close()


def test_a_candidate_is_opened(visit: Visit) -> None:
    visit.draw(5)
    visit.ask(TEXT)
    search = visit.over()
    visit.node(5).click()
    opened = search.locator(".candidate")
    expect(opened.locator("h3")).to_have_text("CAPTION #5 dropped")
    assert opened.locator("mark").all_inner_texts() == ["blue"], "what it says otherwise than the chosen one is marked"
    text = opened.inner_text()
    for fact in (
        "continues #0",
        "34 tokens",
        "place 3 of 4, judge self",
        "after #4: preferred in both orders",
        "B2, D4, E6",
    ):
        assert fact in text
    lit = visit.page.locator(".cell.lit")
    assert {cell.get_attribute("data-cell") for cell in lit.all()} == {"B2", "D4", "E6"}
    opened.get_by_text("D4", exact=True).hover()
    assert {cell.get_attribute("data-cell") for cell in lit.all()} == {"D4"}
    opened.get_by_text("The judge's evidence").click()
    assert '"outcome": "first"' in opened.locator("pre").inner_text()
    visit.node(6).click()
    expect(opened).to_contain_text("The same words as #4")
    assert visit.node(6).get_attribute("aria-selected") == "true"
    assert visit.complaints == []


def test_cells_lie_where_the_world_has_them(visit: Visit) -> None:
    visit.draw(5)
    visit.ask(TEXT)
    visit.over()
    frame = visit.page.locator("#picture img").bounding_box()
    cell = visit.page.locator('.cell.named[data-cell="E6"]').bounding_box()
    assert frame is not None
    assert cell is not None
    across = (cell["x"] + cell["width"] / 2 - frame["x"]) / frame["width"]
    down = (cell["y"] + cell["height"] / 2 - frame["y"]) / frame["height"]
    assert abs(across - 4.5 / 7) < 0.01
    assert abs(down - 5.5 / 7) < 0.01


def test_two_methods_side_by_side(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("Compare with a second method").check()
    second = page.get_by_role("group", name="Second method")
    second.get_by_label("Search").select_option(label="best-of-n")
    second.get_by_label("Width").fill("3")
    visit.ask(TEXT)
    visit.over(place=0)
    visit.over(place=1)
    assert [one.inner_text() for one in page.locator(".search h2").all()] == ["stage-beam:4+self", "best-of-n:3+self"]
    first, other = (visit.search(place).bounding_box() for place in (0, 1))
    assert first is not None
    assert other is not None
    assert abs(first["y"] - other["y"]) < 1, "they stand side by side"
    assert first["x"] + first["width"] <= other["x"]
    assert visit.search(1).locator(".node").count() == 3
    visit.node(1, place=1).click()
    opened = visit.search(1).locator(".candidate")
    assert [one.inner_text().strip() for one in opened.locator(".text .stage").all()] == list(STAGES)
    assert visit.search(0).locator(".candidate").count() == 0, "a candidate is opened in its own answer"


def test_a_reload_brings_back_question_and_answers(visit: Visit) -> None:
    page = visit.page
    visit.draw(5)
    page.get_by_role("group", name="Method", exact=True).get_by_label("Width").fill("3")
    visit.ask(TEXT)
    visit.over()
    page.reload()
    search = visit.over()
    assert page.get_by_label("Question", exact=True).input_value() == TEXT
    assert page.get_by_label("Width").first.input_value() == "3"
    assert page.locator("#picture img").count() == 1
    assert search.locator("h2").inner_text() == "stage-beam:3+self"
    assert search.locator(".answer").inner_text().startswith("Answer: 1")
    assert search.locator(".node").count() == 12
    assert search.locator(".node.chosen").count() == 4
    visit.node(4).click()
    expect(search.locator(".candidate h3")).to_contain_text("CAPTION #4")
    assert visit.complaints == []


def test_a_reload_outlives_what_the_server_kept(visit: Visit) -> None:
    visit.ask(TEXT)
    visit.over()
    gone = {"error": {"message": "there is no trace of this id"}}
    visit.page.route(re.compile("/v1/traces/"), lambda route: route.fulfill(status=404, json=gone))
    visit.page.reload()
    expect(visit.page.get_by_label("Question", exact=True)).to_have_value(TEXT)
    expect(visit.page.locator("#served")).to_have_text("serving scripted")
    assert visit.page.locator(".search").count() == 0
    visit.ask(TEXT)
    visit.over()


def test_a_failing_engine_is_shown_as_such(visit: Visit) -> None:
    visit.ask("Fail at REASONING")
    search = visit.over("failed")
    assert search.get_by_role("alert").inner_text() == "The model failed."
    states = [item.get_attribute("data-state") for item in search.locator("[data-stage]").all()]
    assert states == ["chosen", "chosen", "not written", "not written"], "what was chosen before stays in sight"
    assert search.locator(".answer").inner_text() == ""
    assert "device" not in visit.page.inner_text("body"), "the engine's own words stay with the server"
    visit.ask(TEXT)
    visit.over()


def test_a_request_that_is_refused_says_why(visit: Visit) -> None:
    visit.page.get_by_role("group", name="Method", exact=True).get_by_label("Width").fill("64")
    visit.ask(TEXT)
    search = visit.over("failed")
    assert "would draw 64 candidates at a time" in search.get_by_role("alert").inner_text()


def test_a_server_that_is_gone_is_shown_as_such(browser: Browser, gated: Gated) -> None:
    visit = Visit(browser, gated.server)
    visit.ask(TEXT)
    gated.let(Stage.SUMMARY)
    expect(visit.search().locator('[data-stage="SUMMARY"]')).to_have_attribute("data-state", "chosen")
    gated.server.process.kill()
    search = visit.over("failed")
    assert search.get_by_role("alert").inner_text() == "The connection broke off."
    visit.ask(TEXT)
    search = visit.over("failed")
    assert search.get_by_role("alert").inner_text() == "The server cannot be reached. Is it still running?"
    visit.context.close()


def test_a_stream_that_ends_too_soon_is_no_answer(visit: Visit) -> None:
    chunk = '{"choices": [{"index": 0, "delta": {"content": "<SUMMARY> I count. </SUMMARY>"}}]}'
    headers = {"Content-Type": "text/event-stream"}
    visit.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=f"data: {chunk}\n\n", headers=headers))
    visit.ask(TEXT)
    search = visit.over("failed")
    assert search.get_by_role("alert").inner_text() == "The connection broke off."
    assert search.locator('[data-stage="SUMMARY"]').get_attribute("data-state") == "chosen"


def test_stopping_ends_the_search_on_the_server(browser: Browser, gated: Gated) -> None:
    visit = Visit(browser, gated.server)
    visit.ask(TEXT)
    gated.let(Stage.SUMMARY)
    expect(visit.search().locator('[data-stage="SUMMARY"]')).to_have_attribute("data-state", "chosen")
    assert gated.server.metric("stepsight_searches_running") == 1
    visit.page.get_by_role("button", name="Stop").click()
    visit.over("stopped")
    expect(visit.page.get_by_role("button", name="Ask")).to_be_focused()
    assert until(lambda: gated.server.metric("stepsight_searches_running") == 0)
    assert gated.server.metric('stepsight_searches_total{ended="cancelled",search="stage-beam"}') == 1
    visit.context.close()


def test_phone_width(browser: Browser, server: Served) -> None:
    visit = Visit(browser, server, width=PHONE[0], height=PHONE[1])
    assert not visit.overflows
    visit.draw(5)
    visit.page.get_by_label("Compare with a second method").check()
    visit.page.get_by_role("group", name="Second method").get_by_label("Search").select_option(label="best-of-n")
    visit.page.get_by_role("group", name="Second method").get_by_label("Width").fill("16")
    visit.ask(f"{TEXT} {'x' * 200}")
    visit.over(place=0)
    visit.over(place=1)
    visit.node(5).click()
    visit.node(15, place=1).click()
    visit.search(1).get_by_text("The judge's evidence").click()
    assert not visit.overflows
    tree = visit.search(1).locator(".tree")
    assert tree.evaluate("tree => tree.scrollWidth > tree.clientWidth"), "a wide tree moves by itself"
    picture = visit.page.locator("#picture img").bounding_box()
    assert picture is not None
    assert -1 <= picture["y"] < PHONE[1] / 2, "the picture stays in sight, for cells are lit there"
    visit.context.close()


def test_by_keyboard_alone(visit: Visit) -> None:
    keyboard, focused = visit.page.keyboard, visit.page.locator(":focus")

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if focused.count() and focused.evaluate("(one, selector) => one.matches(selector)", selector):
                return
            keyboard.press("Tab")
        raise AssertionError(f"Tab never comes to {selector}")

    tab_to("#draw")
    keyboard.press("Enter")
    visit.page.locator("#picture img").wait_for()
    tab_to("#question")
    keyboard.press("Control+A")
    keyboard.type(TEXT)
    tab_to("#method-0-search")
    keyboard.type("stage")
    tab_to("#go")
    keyboard.press("Enter")
    search = visit.over()
    assert search.locator('.node[tabindex="0"]').count() == 1, "the tree is one stop of the Tab key"
    tab_to(".node")
    assert visit.node(0).evaluate("node => node === document.activeElement")
    opened = search.locator(".candidate h3")
    for key, expected in (
        ("ArrowDown", "CAPTION #4 chosen"),
        ("ArrowRight", "CAPTION #5 dropped"),
        ("ArrowLeft", "CAPTION #4 chosen"),
        ("ArrowDown", "REASONING #8 chosen"),
        ("ArrowUp", "CAPTION #4 chosen"),
        ("End", "CONCLUSION #12 chosen"),
        ("Home", "SUMMARY #0 chosen"),
        ("ArrowLeft", "SUMMARY #0 chosen"),
    ):
        keyboard.press(key)
        expect(opened).to_have_text(expected)
    assert search.locator('.node[tabindex="0"]').count() == 1, "the tree is one stop of the Tab key"
    outline = focused.locator("circle").evaluate("circle => getComputedStyle(circle).outlineStyle")
    assert outline == "solid", "where the keyboard is can be seen"
    tab_to(".candidate summary")
    keyboard.press("Enter")
    expect(search.locator("pre")).to_be_visible()


def test_dark(browser: Browser, server: Served) -> None:
    visit = Visit(browser, server, color_scheme="dark")
    body = visit.page.locator("body")
    dark, light = "rgb(22, 23, 26)", "rgb(255, 255, 255)"
    switch = visit.page.get_by_role("button", name="Dark")
    expect(body).to_have_css("background-color", dark)
    expect(switch).to_have_attribute("aria-pressed", "true")
    switch.click()
    expect(body).to_have_css("background-color", light)
    visit.page.reload()
    expect(body).to_have_css("background-color", light)
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    expect(body).to_have_css("background-color", dark)
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(browser: Browser, server: Served, scheme: str, width: int) -> None:
    visit = Visit(browser, server, width=width, color_scheme=scheme)
    found = [Axe().run(visit.page)]
    visit.draw(5)
    visit.page.get_by_label("Compare with a second method").check()
    visit.page.get_by_text("More", exact=True).click()
    visit.page.get_by_text("What is true of this picture").click()
    visit.page.get_by_role("button", name="Ask").click()
    visit.over(place=0)
    visit.over(place=1)
    visit.node(5).click()
    visit.search(0).get_by_text("The judge's evidence").click()
    found.append(Axe().run(visit.page))
    visit.ask("Fail at CAPTION")
    visit.over("failed", place=0)
    found.append(Axe().run(visit.page))
    for result in found:
        assert result.violations_count == 0, result.generate_report()
    visit.context.close()


def test_every_way_to_bring_a_picture(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png("#ff0000"))
    bring = """([kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "brought.png", { type: "image/png" }));
        const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.getElementById("question").dispatchEvent(event);
    }"""
    with served(MARKED) as server:
        visit = Visit(browser, server)
        answer = visit.search().locator(".answer")
        visit.page.locator("#file").set_input_files(tmp_path / "red.png")
        expect(visit.page.locator("#picture figcaption")).to_have_text("red.png.")
        visit.ask(TEXT)
        visit.over()
        expect(answer).to_contain_text("#ff0000")
        for kind, colour in (("paste", "#00ff00"), ("drop", "#0000ff")):
            visit.page.evaluate(bring, [kind, list(png(colour))])
            expect(visit.page.locator("#picture figcaption")).to_have_text("brought.png.")
            visit.ask(TEXT)
            visit.over()
            expect(answer).to_contain_text(colour)
        visit.page.evaluate(
            bring.replace("image/png", "text/plain").replace("brought.png", "words.txt"), ["drop", [65]]
        )
        expect(visit.page.locator("#trouble")).to_have_text("What was dropped is no picture.")
        assert visit.complaints == []
        visit.context.close()


def test_the_key_is_asked_for_and_stays_in_the_tab(browser: Browser) -> None:
    key = "a-key-for-the-page"
    with served(SCRIPTED, env={"STEPSIGHT_SERVE_KEY": key}) as server:
        visit = Visit(browser, server)
        field = visit.page.get_by_label("This server wants an API key.")
        expect(field).to_be_focused()
        visit.page.keyboard.type("another-key")
        visit.page.keyboard.press("Enter")
        expect(field).to_have_value("")
        expect(field).to_be_visible()
        field.fill(key)
        visit.page.get_by_role("button", name="Use it").click()
        expect(visit.page.locator("#served")).to_have_text("serving scripted")
        expect(field).to_be_hidden()
        visit.ask(TEXT)
        visit.over()
        visit.page.reload()
        visit.over()
        assert not any(key in url for url in visit.asked)
        assert key not in str(visit.page.evaluate("Object.values(localStorage).join() + document.cookie"))
        with visit.page.expect_download() as saving:
            visit.page.get_by_role("button", name="Save as one HTML file").click()
        assert "SUMMARY" in saving.value.path().read_text(encoding="utf-8")
        visit.context.close()


def test_a_search_is_saved_as_one_file_that_needs_no_server(visit: Visit, tmp_path: Path) -> None:
    visit.draw(5)
    visit.ask(TEXT)
    visit.over()
    with visit.page.expect_download() as saving:
        visit.page.get_by_role("button", name="Save as one HTML file").click()
    assert saving.value.suggested_filename == "stepsight-scripted-stage-beam-4.html"
    path = tmp_path / "search.html"
    saving.value.save_as(path)
    visit.context.set_offline(True)
    visit.page.goto(path.as_uri())
    assert visit.page.locator("h1").inner_text() == TEXT
    assert visit.page.locator("article").count() == 16
    assert visit.page.locator(".cell.named").count() == 3, (
        "the cells of the caption are marked in the saved picture too"
    )


def test_html_of_a_model_stays_text(visit: Visit) -> None:
    visit.ask("Write HTML")
    search = visit.over()
    visit.node(4).click()
    assert 'onerror="document.title=1"' in search.locator(".candidate").inner_text()
    assert visit.page.locator("#bold").count() == 0
    assert visit.page.title() == "stepsight"
    assert not any("nothing.png" in url for url in visit.asked)


def test_nothing_is_loaded_from_elsewhere(visit: Visit) -> None:
    visit.draw(5)
    visit.ask(TEXT)
    visit.over()
    assert all(url.startswith((f"{visit.root}/", "data:", "blob:")) for url in visit.asked)
    reply = visit.page.request.get(f"{visit.root}/")
    policy = reply.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert visit.complaints == []


def test_pico_answers_a_drawn_question(browser: Browser) -> None:
    with served(SERVE) as server:
        visit = Visit(browser, server)
        visit.draw(5)
        question = visit.page.get_by_label("Question", exact=True).input_value()
        assert question.endswith("How many objects are left?")
        visit.page.get_by_role("button", name="Ask").click()
        search = visit.over()
        expect(search.locator(".answer")).to_have_text("Answer: 3 right; known answer: 3")
        assert search.locator(".node").count() == 16
        names = [node.get_attribute("aria-label") or "" for node in search.locator(".node.chosen").all()]
        assert [name.split(",")[0] for name in names] == list(STAGES)
        assert "true of the picture" in names[1], "the caption is held against the drawn scene"
        assert visit.complaints == []
        visit.context.close()


def test_the_pages_files_hold_no_inline_code_and_name_no_other_server() -> None:
    folder = ROOT / "src/stepsight/serving/page"
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert len(text.splitlines()) <= 300, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|new Function", text), path.name
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script>", html)
    assert os.path.getsize(folder / "index.html") < 10_000
