"""Other harnesses run against a server of ours, unchanged and in an environment of their own, and read back.

    ask the server, the python and the files -> write settings -> run the kit -> read its scores and answers

`vlmevalkit` holds the contract with open-compass/VLMEvalKit, `lmms_eval` that with EvolvingLMMs-Lab/lmms-eval. Nothing
of a kit is imported or changed: it is started as its own documents say, and what it wrote is read. Its number stays its
own; where its answers can be scored by our rules as well, ours stands beside it, with an interval.
"""

from stepsight.evaluation.bridge.lmms_eval import run_lmms_eval
from stepsight.evaluation.bridge.results import BridgeResult, BridgeSettings, KitScore
from stepsight.evaluation.bridge.vlmevalkit import run_vlmevalkit

__all__ = ["BridgeResult", "BridgeSettings", "KitScore", "run_lmms_eval", "run_vlmevalkit"]
