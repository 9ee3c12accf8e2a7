"""Pictures that lie elsewhere: fetched from hosts on an allow list alone, and never from inside the server's network.

the host must be on the list, over https (http only where the list says so), at the port that the list names
its name is resolved here, once; every address it has must be a public one
the connection goes to that very address, so that a second look at the name cannot lead elsewhere
a redirect is refused, not followed; so is a proxy of the environment
bytes are counted as they come, compressed replies are not asked for, and all of it has its time
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx2

from stepsight.errors import InputError
from stepsight.serving.refusals import invalid

Resolve = Callable[[str, int], Awaitable[list[str]]]
_SECONDS = 10.0
_LONGEST_URL = 2048


@dataclass(frozen=True)
class AllowedHost:
    """One entry of the list: `example.com`, `*.example.com` (all below it), `http://example.com:8080`."""

    name: str
    scheme: str
    port: int

    @classmethod
    def parse(cls, text: str) -> AllowedHost:
        """Read an entry.

        Raises:
            InputError: it is none.
        """
        whole = text if "://" in text else f"https://{text}"
        fault = InputError(
            f"{text!r} names no host", hint="write it as example.com, *.example.com or http://example.com:8080"
        )
        try:
            parts = urlsplit(whole)
            port = parts.port
        except ValueError:
            raise fault from None
        name = (parts.hostname or "").rstrip(".")
        bare = name.removeprefix("*.")
        if (
            parts.scheme not in ("http", "https")
            or not bare
            or "*" in bare
            or parts.path
            or parts.query
            or "@" in whole
        ):
            raise fault
        return cls(name, parts.scheme, port or _PORTS[parts.scheme])

    def allows(self, host: str, scheme: str, port: int) -> bool:
        """Whether a URL's host may be asked."""
        below = self.name.startswith("*.") and host.endswith(self.name[1:])
        return (host == self.name or below) and (scheme, port) == (self.scheme, self.port)


_PORTS = {"http": 80, "https": 443}


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet: not private, local, reserved, or such a one in disguise."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        # Old and new ways to write an IPv4 address into an IPv6 one: what counts is where the packet ends up.
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class RemotePictures:
    """Fetches pictures by URL; without hosts on the list it refuses all."""

    def __init__(
        self,
        allowed: Sequence[AllowedHost] = (),
        *,
        most_bytes: int = 20_000_000,
        seconds: float = _SECONDS,
        resolve: Resolve = resolved,
        public: Callable[[str], bool] = is_public,
    ) -> None:
        """Take the list, the bounds, and (for tests) how names are resolved and which addresses are public."""
        self._allowed = tuple(allowed)
        self._most = most_bytes
        self._seconds = seconds
        self._resolve = resolve
        self._public = public

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a URL.

        Raises:
            Refused: it is not allowed, or nothing usable came of it.
        """
        parts, port = self._checked(url)
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(self._seconds):
                address = await self._address(host, port)
                return await self._get(parts, host, port, address)
        except TimeoutError:
            raise invalid("the picture took too long to fetch", "messages", "image_fetch_failed") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError, ValueError):
            raise invalid("the picture could not be fetched", "messages", "image_fetch_failed") from None

    def _checked(self, url: str) -> tuple[SplitResult, int]:
        if not self._allowed:
            why = "pictures by URL are not fetched here; send the picture itself, as a data URL or an upload"
            raise invalid(why, "messages", "image_url_not_allowed")
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise invalid("the URL of a picture cannot be read", "messages", "invalid_image_url") from None
        host = (parts.hostname or "").rstrip(".")
        fine = len(url) <= _LONGEST_URL and url.isascii() and url.isprintable() and "\\" not in url and " " not in url
        if not fine or parts.username is not None or parts.password is not None:
            raise invalid("the URL of a picture cannot be read", "messages", "invalid_image_url")
        if not any(one.allows(host, parts.scheme, port) for one in self._allowed):
            raise invalid("pictures are not fetched from this host", "messages", "image_url_not_allowed")
        return parts, port

    async def _address(self, host: str, port: int) -> str:
        addresses = await self._resolve(host, port)
        if not addresses or not all(self._public(address) for address in addresses):
            raise invalid("pictures are not fetched from this host", "messages", "image_url_not_allowed")
        return addresses[0]

    async def _get(self, parts: SplitResult, host: str, port: int, address: str) -> bytes:
        shown = f"[{address}]" if ":" in address else address
        target = f"{parts.scheme}://{shown}:{port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        named = host if port == _PORTS[parts.scheme] else f"{host}:{port}"
        headers = {"Host": named, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "stepsight"}
        # The certificate is checked against the name, not the address.
        extensions = {"sni_hostname": host}
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=self._seconds) as client,
            client.stream("GET", target, headers=headers, extensions=extensions) as reply,
        ):
            if reply.status_code != 200:
                raise invalid("the picture could not be fetched", "messages", "image_fetch_failed")
            data = bytearray()
            async for chunk in reply.aiter_raw():
                data += chunk
                if len(data) > self._most:
                    raise invalid("the picture behind a URL is too large", "messages", "image_too_large")
        return bytes(data)


def is_remote(url: str) -> bool:
    """Whether a picture's URL leads elsewhere."""
    return not url[:5].lower().startswith("data:")
