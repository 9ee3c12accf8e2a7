"""What the files for deployment say is true of this package; the proxy of docs/deploy.md runs where nginx is there.

No image is built here: the files are read, and what they name is looked for.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.test_docs import blocks, check_stepsight

from stepsight.cli.serve import KEY_VARIABLE, access_of
from stepsight.serving.limits import Limits
from stepsight.testing.processes import MARKED, Served, data_url, messages, png, served

ROOT = Path(__file__).parent.parent
PORT = "8400"
DEPLOY = ROOT / "docs/deploy.md"


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each instruction of the Containerfile."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def last(name: str) -> str:
    return [rest for one, rest in instructions() if one == name][-1]


def extras() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return set(tomllib.load(stream)["project"]["optional-dependencies"])


# The image.


def test_the_image_is_built_from_what_is_there() -> None:
    known = {
        "ARG",
        "FROM",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {name for name, _ in instructions()} <= known
    assert sum(name == "FROM" for name, _ in instructions()) == 2
    sources = [
        word for name, rest in instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert set(sources) == {"pyproject.toml", "constraints.txt", "LICENSE", "src"}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(sources), "what is copied is what is sent"
    assert all((ROOT / name).exists() for name in sources)


def test_the_image_installs_extras_that_there_are() -> None:
    (asked,) = (rest.partition("=")[2] for name, rest in instructions() if name == "ARG" and rest.startswith("EXTRAS="))
    named = {*asked.split(","), *re.search(r"EXTRAS=([a-z,]+)", (ROOT / "Containerfile").read_text())[1].split(",")}  # type: ignore[index]
    assert named <= extras()
    assert "serve" in asked.split(",")
    assert any(
        name == "RUN" and ".[${EXTRAS}]" in rest and "-c constraints.txt" in rest for name, rest in instructions()
    )


def test_the_image_runs_as_a_user_of_its_own_and_needs_a_key() -> None:
    names = [name for name, _ in instructions()]
    assert last("USER") not in ("root", "0")
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert json.loads(last("ENTRYPOINT")) == ["stepsight"]
    command = json.loads(last("CMD"))
    check_stepsight(command)
    host = command[command.index("--host") + 1]
    with pytest.raises(Exception, match="API key"):
        access_of(host, "", [], [])
    assert access_of(host, "a-key-of-eight", [], []).hosts is None, "its own health check asks under 127.0.0.1"


def test_the_image_asks_for_its_health_where_it_answers() -> None:
    assert last("EXPOSE") == PORT
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert check[:2] == ["python", "-c"]
    with served(MARKED, "--host", "0.0.0.0", env={KEY_VARIABLE: "a-key-of-eight"}) as server:
        port = server.url.rpartition(":")[2].removesuffix("/v1")
        code = check[2].replace(f":{PORT}/", f":{port}/")
        assert code != check[2]
        assert subprocess.run(["python3", "-c", code], check=False, timeout=60).returncode == 0
    assert subprocess.run(["python3", "-c", code], check=False, capture_output=True, timeout=60).returncode != 0


# The services.


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def filled(text: str) -> str:
    """With the defaults of variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_the_services_speak_to_each_other(services: dict[str, Any]) -> None:
    ours, model = services["stepsight"], services["model"]
    command = [filled(word) for word in ours["command"]]
    check_stepsight(command)
    options = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
    theirs = dict(word.removeprefix("--").split("=", 1) for word in model["command"] if "=" in word)
    (port,) = model["expose"]
    assert options["server"] == f"http://model:{port}/v1"
    assert options["model"] == theirs["served-model-name"]
    assert json.loads(theirs["limit-mm-per-prompt"])["image"] >= Limits().pictures
    assert ours["depends_on"] == {"model": {"condition": "service_healthy"}}
    assert f":{port}/" in model["healthcheck"]["test"][-1]
    assert int(ours["stop_grace_period"].removesuffix("s")) > int(options["grace"])


def test_the_services_are_closed(services: dict[str, Any]) -> None:
    ours, model = services["stepsight"], services["model"]
    assert ours["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert "ports" not in model
    assert set(ours["environment"]) == {KEY_VARIABLE}
    assert ours["environment"][KEY_VARIABLE].startswith(f"${{{KEY_VARIABLE}:?"), "it does not start without a key"
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert (ROOT / ours["build"]["dockerfile"]).is_file()
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    assert named == {"MODEL", "VLLM", "NAME", KEY_VARIABLE}
    assert all(f"`{name}`" in DEPLOY.read_text(encoding="utf-8") for name in named)


# The page on deployment.


def block(begins: str) -> str:
    (found,) = (text for _, text in blocks(DEPLOY) if text.startswith(begins))
    return found


def test_the_unit_starts_what_there_is() -> None:
    lines = dict(
        line.split("=", 1) for line in block("[Unit]").splitlines() if "=" in line and not line.startswith("#")
    )
    words = shlex.split(lines["ExecStart"])
    assert words[0].endswith("/bin/stepsight")
    check_stepsight(words[1:])
    assert int(lines["TimeoutStopSec"]) > int(words[words.index("--grace") + 1])


def test_the_proxy_lets_through_what_the_server_takes() -> None:
    found = re.search(r"client_max_body_size (\d+)m;", block("server {"))
    assert found is not None
    assert int(found[1]) >= Limits().body_mb
    patience = re.search(r"proxy_read_timeout (\d+)s;", block("server {"))
    assert patience is not None
    assert int(patience[1]) > Limits().queue_seconds + Limits().search_seconds


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def proxied(server: Served, folder: Path) -> Iterator[str]:
    """The nginx block of the docs in front of a server; its URL."""
    nginx, openssl = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin"), shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx and openssl are not both installed; Debian: apt-get install nginx-light openssl")
    port = free_port()
    certificate, key = folder / "fullchain.pem", folder / "key.pem"
    request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    made = [openssl, *request.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    text = block("server {")
    for said, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("stepsight.example.com", "localhost"),
        ("/etc/ssl/stepsight/fullchain.pem", str(certificate)),
        ("/etc/ssl/stepsight/key.pem", str(key)),
        ("http://127.0.0.1:8400", server.root),
    ):
        assert said in text
        text = text.replace(said, here)
    under = f"location /answers/ {{ proxy_pass {server.root}/; proxy_set_header Host $http_host; }}"
    text = text.replace("    location / {", f"    {under}\n    location / {{")
    temporary = " ".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    process = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        for _ in range(100):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.1)
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_the_proxy_of_the_docs(tmp_path: Path) -> None:
    pause = 0.5
    with served(MARKED, env={"MARKED_PAUSE": str(pause)}) as server, proxied(server, tmp_path) as url:
        trusted = ssl.create_default_context(cafile=tmp_path / "fullchain.pem")

        def fetched(path: str, data: bytes | None = None) -> Any:
            headers = {"Content-Type": "application/json", "Origin": url}
            return urllib.request.urlopen(
                urllib.request.Request(url + path, data, headers), timeout=60, context=trusted
            )

        for path in ("/", "/main.js", "/answers/", "/answers/v1/models", "/v1/models"):
            with fetched(path) as reply:
                assert reply.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched("/metrics")

        body = {"model": "marked@stage-beam:2", "messages": messages(png()), "stream": True}
        times = []
        with fetched("/v1/chat/completions", json.dumps(body).encode()) as reply:
            for line in reply:
                if b"reasoning_content" in line or b'"content": "#' in line:
                    times.append(time.monotonic())
        assert len(times) >= 4
        assert times[-1] - times[0] > 2 * pause, "stages come one by one, not together at the end"

        # As large as a body may be.
        large = data_url(png() + bytes(11_000_000))
        asked = [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": large}}, {"type": "text", "text": "?"}],
            }
        ]
        data = json.dumps({"model": "marked@greedy", "messages": asked}).encode()
        assert len(data) > 14_000_000
        with fetched("/v1/chat/completions", data) as reply:
            assert json.load(reply)["choices"][0]["message"]["content"] == "#ff0000"
