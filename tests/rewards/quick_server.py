"""What the real child does, without a model and its packages: scores are the lengths of the answers."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any


class Lengths:
    """As long as it is good."""

    scale = "unbounded"

    def score(self, items: list[dict[str, Any]]) -> list[tuple[float, int]]:
        return [(float(len(item["answer"])), 1) for item in items]


def end() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


sys.path.insert(0, sys.argv[1])  # the folder that the real child would run
server = importlib.import_module("serving").serve(Lengths(), "quick", "127.0.0.1", 0)
threading.Thread(target=end, daemon=True).start()
print(server.server_address[1], flush=True)
server.serve_forever()
