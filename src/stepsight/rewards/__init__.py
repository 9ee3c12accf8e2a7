"""Public reward models as `protocols.RewardModel`: behind an endpoint, or in a process of their own."""

from stepsight.rewards.connecting import connect
from stepsight.rewards.endpoint import EndpointReward
from stepsight.rewards.process import KINDS, ProcessReward, RemoteChoice

__all__ = ["KINDS", "EndpointReward", "ProcessReward", "RemoteChoice", "connect"]
