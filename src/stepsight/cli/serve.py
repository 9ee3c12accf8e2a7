"""`stepsight serve`: the searches behind OpenAI's chat protocol, for any client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.limit_options import choose_limits
from stepsight.cli.model_options import brought_model, choose_model
from stepsight.cli.search_options import choose_search
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel, ModelChoice, SearchChoice
    from stepsight.serving.gate import Access
    from stepsight.serving.limits import Limits
    from stepsight.serving.served import ServedModel

KEY_VARIABLE = "STEPSIGHT_SERVE_KEY"
"""Where the key is looked for that clients must send."""

_SERVER = "Server"
_ACCESS = "Access"
_LEVELS = ("debug", "info", "warning", "error")


@takes(choice=choose_model, plan=choose_search, limits=choose_limits)
def serve_command(
    context: typer.Context,
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; any other than this machine's own needs a key.", rich_help_panel=_SERVER
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535, rich_help_panel=_SERVER)] = 8400,
    name: Annotated[
        str, typer.Option(help="What clients call the model. Default: its own name.", rich_help_panel=_SERVER)
    ] = "",
    choice: ModelChoice,
    plan: SearchChoice,
    limits: Limits,
    api_key: Annotated[
        str,
        typer.Option(
            help=f"The key that clients must send. Other users of this machine can see it; {KEY_VARIABLE} is safer.",
            rich_help_panel=_ACCESS,
            show_default=False,
        ),
    ] = "",
    api_key_env: Annotated[
        str, typer.Option(help="The environment variable that holds the key.", rich_help_panel=_ACCESS)
    ] = KEY_VARIABLE,
    allow_images_from: Annotated[
        list[str] | None,
        typer.Option(
            help="Fetch pictures from this host: example.com, *.example.com, http://example.com:8080; repeatable.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name under which clients ask this server (Host header); repeatable.", rich_help_panel=_ACCESS
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Let pages of this origin ask (CORS), such as https://example.com; repeatable.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    reasoning_field: Annotated[
        str,
        typer.Option(
            help="What the stages before the CONCLUSION are called: reasoning_content, reasoning, both or none.",
            rich_help_panel=_SERVER,
        ),
    ] = "reasoning_content",
    pass_system: Annotated[
        bool,
        typer.Option("--pass-system", help="Give messages of the system to the model.", rich_help_panel=_SERVER),
    ] = False,
    grace: Annotated[
        float, typer.Option(help="Seconds for answers under way when it is stopped.", min=0, rich_help_panel=_SERVER)
    ] = 30.0,
    log_level: Annotated[
        str,
        typer.Option(help="debug, info, warning or error; debug may write what was asked.", rich_help_panel=_SERVER),
    ] = "info",
) -> None:
    """Serve a model with its searches over OpenAI's chat protocol, until Ctrl-C; prints its URL.

    Clients choose the search in the model's name: pico@stage-beam:4, pico@adaptive:2000tok, pico@best-of-n:8+reward.
    """
    from importlib.util import find_spec

    from stepsight.errors import InputError, MissingExtraError

    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingExtraError(package.replace("_", "-"), "serve")

    from stepsight.assembly import load_model
    from stepsight.serving.app import create_app
    from stepsight.serving.chat_replies import FIELDS
    from stepsight.serving.remote_pictures import AllowedHost, RemotePictures
    from stepsight.serving.running import bind, run, url_of
    from stepsight.serving.served import Catalogue, ServedModel
    from stepsight.serving.service import Service

    # 1. What can be wrong without a model.
    if reasoning_field not in FIELDS:
        raise InputError(f"there is no reasoning field {reasoning_field!r}", hint=f"choose one of {', '.join(FIELDS)}")
    if log_level not in _LEVELS:
        raise InputError(f"there is no log level {log_level!r}", hint=f"choose one of {', '.join(_LEVELS)}")
    access = access_of(host, api_key or os.environ.get(api_key_env, ""), allow_host or [], allow_origin or [])
    hosts = [AllowedHost.parse(one) for one in allow_images_from or []]
    limits.check_search(plan)
    sock = bind(host, port)
    try:
        # 2. The model, and the judge of the search that is asked for if a client names none.
        model = brought_model(context) or load_model(choice)
        served = ServedModel(name or _own_name(model), model, plan)
        prepare(served)
        # 3. Serving.
        remote = RemotePictures(hosts, most_bytes=limits.body_bytes)
        service = Service(Catalogue([served]), limits, remote, reasoning_field, pass_system)
        log_to_stderr(log_level)
        url = url_of(host, sock)
        run(create_app(service, access), sock, grace=grace, ready=lambda: typer.echo(f"{url}/v1"))
    finally:
        sock.close()


def access_of(host: str, key: str, hosts: list[str], origins: list[str]) -> Access:
    """Who may ask a server on `host`.

    Raises:
        InputError: it can be reached from elsewhere and has no key, or the key or an origin is none.
    """
    from urllib.parse import urlsplit

    from stepsight.errors import InputError
    from stepsight.serving.gate import Access, loopback_names
    from stepsight.serving.running import is_loopback

    if key and (len(key) < 8 or not key.isascii() or not key.isprintable() or " " in key):
        raise InputError("the API key is too short, or holds blanks or special signs", hint="take 8 letters or more")
    local = is_loopback(host)
    if not local and not key:
        raise InputError(
            f"a server on {host} can be reached by others, and has no API key",
            hint=f"set {KEY_VARIABLE}, or listen on 127.0.0.1",
        )
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or origin != origin.lower():
            raise InputError(f"{origin!r} is no origin", hint="write it as https://example.com")
    names = loopback_names(host, hosts) if local else frozenset(one.lower() for one in hosts) or None
    return Access(key, names, frozenset(origins))


def prepare(served: ServedModel) -> None:
    """Have the judge of the default search ready before the first request.

    Raises:
        StepsightError: it cannot be had.
    """
    from stepsight.assembly import build_judge
    from stepsight.serving.methods import Method

    plan = served.planned(Method())
    build_judge(plan.judge, served.model, search=plan.search, width=plan.settings.width)


def log_to_stderr(level: str) -> None:
    """Write what the server has to say to stderr."""
    import logging

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="WARNING")
    logging.getLogger("stepsight.serving").setLevel(level.upper())


def _own_name(model: LoadedModel) -> str:
    """The last part of the model's name: folders and owners of hub models have no place in what clients ask for."""
    return model.card.name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].replace("@", "-") or "model"
