"""The command line. Verbs live in one file each and import what they need when they run."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line of this process and leave it with the right exit code."""
    # Before anything is imported: these two are read by the libraries when they are, and keep their loading bars and
    # warnings out of our output. Whoever sets them has the last word.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")
    try:
        from stepsight.cli.app import INTERRUPTED, run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        # An engine may be in the middle of a long computation in a thread; waiting for it is not what was asked.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
