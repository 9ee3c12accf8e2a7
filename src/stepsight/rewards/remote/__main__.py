"""Serves one public reward model over HTTP; run by an interpreter that has the libraries this model needs.

    OTHER_PYTHON stepsight/rewards/remote --kind KIND --model ID_OR_FOLDER [--port 0] [--trust-remote-code] ...

It needs torch, transformers and Pillow, nothing of stepsight, and no newer Python than 3.8, for released models are
tied to old versions of libraries. The port is the first line it prints, once the model is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
import threading
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
if not __package__:  # run as a folder or a file: run it again as the package it is, so that its files find each other
    sys.path[0] = str(HERE.parent)
    runpy.run_module(HERE.name, run_name="__main__", alter_sys=True)

from .models import KINDS, Refused, loaded  # noqa: E402
from .serving import serve  # noqa: E402


def parsed(words: list[str]) -> argparse.Namespace:
    """The options; see the head of this file."""
    parser = argparse.ArgumentParser("stepsight/rewards/remote", description="Serve one reward model over HTTP.")
    parser.add_argument("--kind", required=True, choices=sorted(KINDS))
    parser.add_argument("--model", required=True, help="a hub id, or a folder")
    parser.add_argument("--revision")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; auto: a GPU if there is one")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "float16", "bfloat16"))
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the model")
    parser.add_argument("--hd-num", type=int, default=9, help="ixc: most pieces of a picture")
    parser.add_argument("--steps", default="mean", choices=("mean", "last"), help="visualprm: which score of its steps")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    return parser.parse_args(words)


def end_with_stdin() -> None:
    """Whoever started this holds the other end of the pipe; should they die, however, it closes."""
    while os.read(0, 4096):  # not through sys.stdin, whose lock would stand in the way of an orderly exit
        pass
    os._exit(0)


def main(words: list[str]) -> int:
    """Load, say the port, serve until stopped; 2 if it cannot be started."""
    options = parsed(words)
    # Modules beside this folder must not stand in for those that a model's own code imports.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]
    said = os.dup(1)
    os.dup2(2, 1)  # libraries print too, and the first line is ours
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # remote code takes a GPU whenever it sees one
    if options.end_with_stdin:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    try:
        server = serve(loaded(options), f"{options.kind}:{options.model}", options.host, options.port)
    except Exception as error:
        if not isinstance(error, Refused):
            traceback.print_exc()
        message = (str(error) or type(error).__name__).splitlines()[0]
        print(f"error: {message}", file=sys.stderr)
        return 2
    os.write(said, f"{server.server_address[1]}\n".encode())
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
