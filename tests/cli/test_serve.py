"""`stepsight serve`: what is said before anything is loaded, and what becomes of its options."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

import pytest
from tests.scripts import scripted_model

from stepsight.cli import serve
from stepsight.cli.app import run
from stepsight.serving.gate import Access
from stepsight.serving.limits import Limits


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "has no API key"),
        (["--host", "::"], "has no API key"),
        (["--host", "0.0.0.0", "--api-key", "short"], "too short"),
        (["--api-key", "with blanks in it"], "blanks"),
        (["--host", "no.such.host.test", "--api-key", "sk-long-enough"], "no address"),
        (["--reasoning-field", "thoughts"], "reasoning_content"),
        (["--log-level", "loud"], "debug"),
        (["--allow-images-from", "*"], "names no host"),
        (["--allow-origin", "example.com"], "no origin"),
        (["--allow-origin", "https://example.com/"], "no origin"),
        (["--max-searches", "0"], "--max-searches"),
        (["--search-seconds", "0"], "search_seconds"),
        (["--width", "20"], "16 at most"),
        (["--search", "stage-been"], "stage-beam"),
        (["--judge", "nobody"], "no judge"),
        (["--name", "a@b"], "cannot be served"),
        (["--port", "70000"], "--port"),
        (["--judge", "reward"], "--reward"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(serve.KEY_VARIABLE, raising=False)
    assert run(["serve", "--port", "0", *options], model=scripted_model()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "--port", str(taken.getsockname()[1])], model=scripted_model()) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "fastapi" else find(name, *more)
    )
    assert run(["serve"], model=scripted_model()) == 1
    assert "pip install 'stepsight[serve]'" in capsys.readouterr().err


def test_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def create_app(service: Any, access: Access) -> str:
        given.update(service=service, access=access)
        return "app"

    def serving(app: object, sock: socket.socket, *, grace: float, ready: object) -> None:
        given.update(app=app, address=sock.getsockname(), grace=grace)
        given["service"].shelf.close()

    monkeypatch.setattr("stepsight.serving.app.create_app", create_app)
    monkeypatch.setattr("stepsight.serving.running.run", serving)
    monkeypatch.setenv("MY_KEY", "sk-from-elsewhere")
    options = ["--host", "0.0.0.0", "--port", "0", "--api-key-env", "MY_KEY", "--name", "mine", "--search", "vote"]
    more = ["--width", "5", "--max-queue", "3", "--max-body-mb", "2", "--allow-host", "Box.Local", "--pass-system"]
    images = ["--allow-images-from", "example.com", "--reasoning-field", "both", "--grace", "7"]
    assert run(["serve", *options, *more, *images], model=scripted_model()) == 0
    service, access = given["service"], given["access"]
    assert (given["address"][0], given["grace"]) == ("0.0.0.0", 7)
    assert access == Access("sk-from-elsewhere", frozenset({"box.local"}))
    (served,) = service.catalogue.models.values()
    assert (served.name, served.plan.search, served.plan.settings.width) == ("mine", "vote", 5)
    assert service.limits == Limits(queue=3, body_mb=2)
    assert (service.passes_system, service.reasoning_field) == (True, "both")
    assert [host.name for host in service.remote._allowed] == ["example.com"]


def test_on_this_machine_alone_a_key_is_not_needed_and_names_are_checked() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"):
        access = serve.access_of(host, "", ["box"], [])
        assert access.key == ""
        assert {"localhost", "127.0.0.1", "::1", "box"} <= (access.hosts or frozenset())
    assert serve.access_of("0.0.0.0", "sk-long-enough", [], ["https://a.test"]).hosts is None


def test_a_model_is_served_under_the_last_part_of_its_name() -> None:
    for name, own in (("pico", "pico"), ("owner/model", "model"), ("/home/me/my model/", "my model"), ("a@b", "a-b")):
        assert serve._own_name(scripted_model(name=name)) == own
