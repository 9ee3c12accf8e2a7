"""The engine that runs several copies of a model, each in a process of its own; needs the extra `local`."""

from stepsight.engines.replicas.engine import ReplicatedEngine

__all__ = ["ReplicatedEngine"]
