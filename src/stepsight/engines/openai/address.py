"""Where the server is and how it is reached: a checked base URL, and a key that nobody gets to see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from stepsight.errors import InputError

KEY_VARIABLES = ("STEPSIGHT_API_KEY", "OPENAI_API_KEY")
"""The environment variables that may hold the key; the first that is set is used, the second for OpenAI only."""


def checked_url(url: str) -> str:
    """The base URL without a slash at its end, such as `http://localhost:8000/v1`.

    A lone `host:port` is not completed: whether it means http or https is not ours to guess.

    Raises:
        InputError: it is no http(s) URL, or holds a name and password, a query or a fragment.
    """
    example = "give something like http://localhost:8000/v1"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise InputError(f"the server's address cannot be read: {error}", hint=example) from None
    if parts.username is not None or parts.password is not None:
        # The address gets into errors and results; so must nothing secret.
        raise InputError(
            "the server's address holds a name or password", hint=f"put the key into {KEY_VARIABLES[0]} instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InputError(f"{url!r} is no address of a server", hint=example)
    if parts.query or parts.fragment:
        raise InputError(f"{url!r} has something behind its path", hint=example)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path}"


class Key:
    """An API key, or none. It shows itself to nobody but the request it is sent with."""

    def __init__(self, value: str = "", source: str = "") -> None:
        self._value = value
        self.source = source

    @classmethod
    def from_environment(cls, url: str, environment: Mapping[str, str] | None = None) -> Key:
        """Take the key for a server from the first of `KEY_VARIABLES` that is set and not blank.

        `OPENAI_API_KEY` is set for many other programs; it goes to OpenAI's own hosts and to nobody else.

        Raises:
            InputError: it holds a character that cannot be sent; the message names the variable alone.
        """
        variables = os.environ if environment is None else environment
        host = urlsplit(url).hostname or ""
        theirs = host == "openai.com" or host.endswith(".openai.com")
        for name in KEY_VARIABLES if theirs else KEY_VARIABLES[:1]:
            value = variables.get(name, "").strip()
            if value:
                if not value.isascii() or not value.isprintable() or " " in value:
                    raise InputError(f"{name} holds a character that no key has", hint="set it anew, in one line")
                return cls(value, name)
        return cls()

    def headers(self) -> dict[str, str]:
        """What a request is sent with."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hidden_in(self, text: str) -> str:
        """The text with the key taken out, wherever a server repeated it."""
        return text.replace(self._value, "[key]") if self._value else text

    def __repr__(self) -> str:
        return f"Key({'hidden' if self._value else 'none'})"
