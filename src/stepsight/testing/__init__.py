"""Test support for programs that use stepsight: a server with the manners and faults it is told to have, no model.

Nothing in the package imports it, and it needs the core install alone. `python -m stepsight.testing` serves by hand.
"""

from stepsight.testing.manners import Fault, Manners
from stepsight.testing.server import FakeServer

__all__ = ["FakeServer", "Fault", "Manners"]
