"""A Ray cluster of several nodes on this machine, until its input ends: `python ray_nodes.py COUNT`.

Prints the cluster's address and the folder of its logs, each in a line, once all nodes are there. Each line that it
reads has it kill a node and all that runs there, without any notice; it answers `killed`, or `none` if only the head is
left.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# Nothing but what is asked for; a worker is started when it is needed.
os.environ |= {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}

from ray.cluster_utils import Cluster

SETTINGS = {"num_cpus": 1, "object_store_memory": 80 << 20}
QUIET = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}


def kill(cluster: Cluster, victim: Any) -> None:
    """What a power cut does: workers would live on for a second and answer."""
    raylet = victim.all_processes["raylet"][0].process.pid
    # Each thread of the raylet has children of its own.
    lists = Path(f"/proc/{raylet}/task").glob("*/children")
    workers = [pid for listed in lists for pid in listed.read_text().split()]
    for process in (raylet, *map(int, workers)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    cluster.remove_node(victim, allow_graceful=False)


def main() -> None:
    """Start, kill as told, stop."""
    cluster = Cluster()
    nodes = [cluster.add_node(**SETTINGS, **QUIET) for _ in range(int(sys.argv[1]))]
    print(cluster.address, nodes[0].get_logs_dir_path(), sep="\n", flush=True)
    for _ in sys.stdin:
        if len(nodes) > 1:
            kill(cluster, nodes.pop())
            print("killed", flush=True)
        else:
            print("none", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
