"""Seeds that depend only on what they are for.

A candidate's seed comes from the run, the question, the stage and the slot, so a result does not depend on what else
was in the batch, on the order of questions, or on the process (Python's own `hash` of a string does).
"""

from __future__ import annotations

import hashlib
import json


def derive_seed(run_seed: int, question_id: str, stage: str, slot: int) -> int:
    """Return the seed of one candidate: a stable number from 0 to 2**63 - 1.

    `stage` is a stage's name, or any other fixed word for what is drawn (`"whole"` for a whole answer). The bound
    keeps the seed within what torch generators and every server accept.
    """
    # JSON keeps the four parts apart: ("a", "b1") and ("ab", "1") must not meet.
    identity = json.dumps([run_seed, question_id, str(stage), slot])
    return int.from_bytes(hashlib.sha256(identity.encode("ascii")).digest()[:8], "big") >> 1
