"""Where the hub's library keeps the files of a model that was loaded."""

from __future__ import annotations

from pathlib import Path


def cached_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model's files, which is called by its commit; None if nothing of it lies here.

    Nothing is downloaded.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None
