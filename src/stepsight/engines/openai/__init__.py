"""Any server that speaks OpenAI's chat protocol as an engine, as far as a probe has seen it able to be one."""

from stepsight.engines.openai.engine import OpenAIEngine
from stepsight.engines.openai.findings import Ability, Finding, ProbeReport
from stepsight.engines.openai.link import Server
from stepsight.engines.openai.probing import connect, connected, probe, probe_server

__all__ = [
    "Ability",
    "Finding",
    "OpenAIEngine",
    "ProbeReport",
    "Server",
    "connect",
    "connected",
    "probe",
    "probe_server",
]
