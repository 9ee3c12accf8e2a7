"""Environments of their own in which the kits seem to be installed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def python_with(folder: Path, path: Path) -> Path:
    """A python that has `path` on its own path."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


def vlmevalkit(folder: Path, md5: Mapping[str, str] | None = None) -> Path:
    """A clone of VLMEvalKit, installed from its sources; `md5` are the sums of the published files."""
    clone = folder / "VLMEvalKit"
    (clone / "vlmeval").mkdir(parents=True)
    (clone / "vlmeval" / "__init__.py").write_text('raise SystemExit("only the kit itself may import this")\n')
    shutil.copy(HERE / "vlmevalkit_run.py", clone / "run.py")
    (clone / "md5.json").write_text(json.dumps(md5 or {}))
    return python_with(folder, clone)


def lmms_eval(folder: Path) -> Path:
    """An installed lmms-eval."""
    package = folder / "site" / "lmms_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copy(HERE / "lmms_eval_main.py", package / "__main__.py")
    return python_with(folder, folder / "site")
