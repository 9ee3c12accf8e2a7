"""A kit in an environment of its own: what is installed there, and a run of it as a process."""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stepsight.engines.openai.address import Key
from stepsight.engines.openai.link import Link, Server
from stepsight.engines.openai.listing import listed_models
from stepsight.engines.openai.retrying import Backoff
from stepsight.errors import EngineError, InputError

DISTRIBUTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables by which a kit would take itself for a part of something larger."""

_LAST_LINES = 12
_PATIENCE = 60.0
"""Seconds that looking for a package may take; nothing of it is imported."""
_GRACE = 10.0

_LOOK = """
import importlib.metadata as metadata, importlib.util as util, json, platform, sys
spec = util.find_spec(sys.argv[1])
folder = next(iter(spec.submodule_search_locations or [None])) if spec else None
try:
    version = metadata.version(sys.argv[1])
except metadata.PackageNotFoundError:
    version = ""
print(json.dumps({"folder": folder, "version": version, "python": platform.python_version()}))
"""


@dataclass(frozen=True)
class Installed:
    """A package that a python can import: its folder, its version if it tells one, and that of the python."""

    command: Path
    folder: Path
    version: str
    python: str


def find_installed(python: Path, package: str, *, install: str) -> Installed:
    """Look for a package in the environment of another python, without importing it.

    Args:
        python: the path of the interpreter, such as `kit/.venv/bin/python`.
        package: the name of its top package.
        install: how it is installed, for the hint.

    Raises:
        InputError: there is no such interpreter, it cannot be run, or it has no such package.
    """
    try:
        # The working folder is on its path, and ours could hold a package of that name.
        run = subprocess.run(
            [str(python.absolute()), "-c", _LOOK, package],
            cwd=python.absolute().parent,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{error.strerror}" if isinstance(error, OSError) else f"no answer within {_PATIENCE:g} s"
        raise InputError(
            f"{python} cannot be run: {why}", hint="name the python of the kit's environment with --kit-python"
        ) from error
    try:
        found = json.loads(run.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = " ".join(run.stderr.split())[-200:]
        raise InputError(f"{python} is no usable python: {said}", hint="it must be Python 3.8 or newer") from error
    if not found["folder"]:
        raise InputError(f"{python} has no package {package}", hint=install)
    return Installed(python.absolute(), Path(found["folder"]), found["version"], found["python"])


async def see_server(settings_server: str, model: str, key: Key) -> str:
    """Make sure that the server is there before a kit spends an hour on asking nobody.

    Returns:
        What a reader must know: that the server does not list the model. Empty if it does, or lists nothing.

    Raises:
        StepsightError: nobody answers, or the key is refused.
    """
    link = Link(Server(settings_server, model, key, timeout=30.0, backoff=Backoff(attempts=2, cap=2.0, patience=10.0)))
    try:
        listed = await listed_models(link)
    finally:
        await link.aclose()
    if not listed or model in listed or model.partition("@")[0] in listed:
        return ""
    return f"the server lists no model {model!r}"


def environment(set_: Mapping[str, str], dropped: Collection[str], server: str) -> dict[str, str]:
    """The variables that a kit runs with: ours, without those that would change it in silence, with `set_`.

    A server on this machine is asked without a proxy.
    """
    known = {name: value for name, value in os.environ.items() if name not in dropped}
    host = urlsplit(server).hostname or ""
    if host in ("127.0.0.1", "localhost", "::1"):
        for name in ("NO_PROXY", "no_proxy"):
            known[name] = ",".join(filter(None, (known.get(name, ""), host)))
    return {**known, **set_}


def run_kit(
    name: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    folder: Path,
    log: Path,
    hear: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a kit to its end; what it prints goes to `log` and, line by line, to `hear`.

    If the caller is interrupted, so is the kit, and it gets ten seconds to end by itself.

    Raises:
        EngineError: it cannot be started, or ends with another code than 0; its last lines are in the message.
    """
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        process = subprocess.Popen(
            command,
            env=dict(variables),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise EngineError(f"{name} cannot be started: {error.strerror}", hint="see --kit-python") from error
    try:
        with log.open("a", encoding="utf-8") as kept:
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                if line.strip():
                    last.append(line.rstrip())
                    hear(line.rstrip())
        code = process.wait()
    finally:
        _end(process)
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise EngineError(f"{name} {how}; its last lines: {' | '.join(last) or 'none'}", hint=f"all of it is in {log}")


def last_lines(log: Path) -> str:
    """The last lines of a kit's log, in one."""
    with log.open(encoding="utf-8") as stream:
        return " | ".join(deque((line.strip() for line in stream if line.strip()), maxlen=_LAST_LINES))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
