"""Replies of a judge of answers, kept on disk by what was asked, so that nothing is ever paid for twice.

Each is a file of its own, named by the SHA-256 of its request, and written whole: a run that is killed loses none that
it had, and several runs may share a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepsight.files import whole_file


class Verdicts:
    """A folder of replies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, request: Mapping[str, Any]) -> str | None:
        """The reply to that very request, if there was one; a file that cannot be read is none."""
        try:
            held = json.loads(self._path(request).read_bytes())
        except (OSError, ValueError):
            return None
        known = isinstance(held, dict) and held.get("request") == request and isinstance(held.get("reply"), str)
        return str(held["reply"]) if known else None

    def keep(self, request: Mapping[str, Any], reply: str) -> None:
        """Keep a reply beside its request."""
        with whole_file(self._path(request)) as stream:
            stream.write(json.dumps({"request": request, "reply": reply}, indent=1).encode() + b"\n")

    def _path(self, request: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"
