"""Pictures by URL: off unless a host is allowed, and never a way into the server's own network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from stepsight.errors import InputError
from stepsight.serving.refusals import Refused
from stepsight.serving.remote_pictures import AllowedHost, RemotePictures, is_public
from stepsight.testing.processes import png


class Pictures(BaseHTTPRequestHandler):
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        if self.path == "/elsewhere.png":
            self.send_response(302)
            self.send_header("Location", "/red.png")
            self.end_headers()
            return
        if self.path == "/missing.png":
            self.send_error(404)
            return
        if self.path == "/slow.png":
            threading.Event().wait(3)
        self.send_response(200)
        self.end_headers()
        if self.path == "/endless.png":
            with_errors = 0
            while with_errors < 10_000:
                self.wfile.write(b"\0" * 65_536)
                with_errors += 1
        self.wfile.write(png())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def pictures() -> Iterator[int]:
    """A web server with pictures on this machine; its port."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    Pictures.asked.clear()
    with Quiet(("127.0.0.1", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def remote(
    port: int, *, addresses: tuple[str, ...] = ("127.0.0.1",), open_: bool = True, **more: object
) -> RemotePictures:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    allowed = [AllowedHost.parse(f"http://pictures.test:{port}"), AllowedHost.parse("*.photos.test")]
    public = (lambda address: True) if open_ else is_public
    return RemotePictures(allowed, resolve=resolve, public=public, **more)  # type: ignore[arg-type]


async def refused(remote: RemotePictures, url: str) -> Refused:
    with pytest.raises(Refused) as failed:
        await remote.fetch(url)
    assert failed.value.status == 400
    assert "127.0.0.1" not in failed.value.message
    return failed.value


async def test_a_picture_of_an_allowed_host_is_fetched_from_the_address_that_was_looked_at() -> None:
    with pictures() as port:
        data = await remote(port).fetch(f"http://pictures.test:{port}/red.png?size=1")
        assert data == png()
        assert Pictures.asked == [("/red.png?size=1", f"pictures.test:{port}")]


async def test_without_a_list_nothing_is_fetched() -> None:
    with pictures() as port:
        found = await refused(RemotePictures(), f"http://127.0.0.1:{port}/red.png")
        assert found.code == "image_url_not_allowed"
        assert not Pictures.asked


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.0.0.7",),
        ("192.168.1.1",),
        ("172.16.0.1",),
        ("169.254.169.254",),
        ("100.64.0.1",),
        ("0.0.0.0",),
        ("224.0.0.1",),
        ("255.255.255.255",),
        ("::1",),
        ("::",),
        ("fe80::1%eth0",),
        ("fc00::1",),
        ("::ffff:127.0.0.1",),
        ("::ffff:169.254.169.254",),
        ("64:ff9b::7f00:1",),
        ("64:ff9b::a9fe:a9fe",),
        ("2002:7f00:1::",),
        ("ff02::1",),
        ("93.184.216.34", "127.0.0.1"),
        ("not an address",),
        (),
    ],
)
async def test_a_name_that_leads_inside_is_refused(addresses: tuple[str, ...]) -> None:
    with pictures() as port:
        inside = remote(port, addresses=addresses, open_=False)
        assert (await refused(inside, f"http://pictures.test:{port}/red.png")).code == "image_url_not_allowed"
        assert not Pictures.asked


def test_public_addresses_are_public() -> None:
    assert all(is_public(one) for one in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"))


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.test/red.png",  # another port
        "https://pictures.test:{port}/red.png",  # another scheme
        "http://other.test:{port}/red.png",
        "http://127.0.0.1:{port}/red.png",
        "http://pictures.test.evil.test:{port}/red.png",
        "https://photos.test/red.png",  # the star stands for something
        "https://evilphotos.test/red.png",
        "http://user:word@pictures.test:{port}/red.png",
        "http://pictures.test@127.0.0.1:{port}/red.png",
        "http://127.0.0.1:{port}\\@pictures.test:{port}/red.png",
        "http://pictures.test:{port}/a b",
        "http://pictures.test:{port}/\r\nX: y",
        "http://pictures.test:99999/red.png",
        "http://[::1/red.png",
        "file:///etc/passwd",
        "ftp://pictures.test/red.png",
        "gopher://pictures.test:{port}/",
        "//pictures.test:{port}/red.png",
        "",
        "http://pictures.test:{port}/" + "a" * 4000,
    ],
)
async def test_other_urls_are_refused_unasked(url: str) -> None:
    with pictures() as port:
        await refused(remote(port), url.format(port=port))
        assert not Pictures.asked


async def test_redirects_are_not_followed() -> None:
    with pictures() as port:
        assert (await refused(remote(port), f"http://pictures.test:{port}/elsewhere.png")).code == "image_fetch_failed"
        assert [path for path, _ in Pictures.asked] == ["/elsewhere.png"]


async def test_bytes_and_time_are_bounded() -> None:
    with pictures() as port:
        large = await refused(remote(port, most_bytes=1_000_000), f"http://pictures.test:{port}/endless.png")
        assert large.code == "image_too_large"
        slow = await refused(remote(port, seconds=0.3), f"http://pictures.test:{port}/slow.png")
        assert "too long" in slow.message
        assert (await refused(remote(port), f"http://pictures.test:{port}/missing.png")).code == "image_fetch_failed"
    gone = await refused(remote(port), f"http://pictures.test:{port}/red.png")
    assert gone.code == "image_fetch_failed"


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pictures() as port:
        assert await remote(port).fetch(f"http://pictures.test:{port}/red.png") == png()


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.*", "ftp://a.test", "a.test/path", "http://", "u@a.test", "a.test:99999", "a.*.test", "*.", "a?b"],
)
def test_entries_that_name_no_host(text: str) -> None:
    with pytest.raises(InputError):
        AllowedHost.parse(text)


def test_entries_allow_what_they_say() -> None:
    below = AllowedHost.parse("*.photos.test")
    assert below.allows("a.b.photos.test", "https", 443)
    assert not below.allows("photos.test", "https", 443)
    assert not below.allows("a.photos.test", "http", 80)
    assert AllowedHost.parse("http://a.test:8080").allows("a.test", "http", 8080)
    assert not AllowedHost.parse("a.test").allows("a.test", "https", 8443)


async def test_a_name_that_cannot_be_resolved_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.sleep(0)
        raise OSError("no such name")

    nowhere = RemotePictures([AllowedHost.parse("a.test")], resolve=resolve)
    assert (await refused(nowhere, "https://a.test/x.png")).code == "image_fetch_failed"
