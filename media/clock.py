"""The wall clock of a recording, made to run on where it was set back while the call lasted.

Arrival times and events carry the wall clock. A stream's packets stand in the spool in the order
in which the kernel queued them, so one that is stamped well before its predecessor tells that the
clock was set back, and by how much. Set forward it looks like a silence, and is one.
"""

from dataclasses import replace

import numpy as np

from media.spool import Spool

STEP_NS = 500_000_000
"""Half a second: far beyond what the kernel or a sweep puts out of order."""


def steadied(spool: Spool) -> Spool:
    """The spool with everything after such a step moved on; the spool itself if there is none."""
    arrival = spool.packets["arrival_ns"]
    if (np.diff(arrival) > -STEP_NS).all():
        return spool
    moved = np.zeros(len(arrival), np.int64)
    for stream in np.unique(spool.packets["stream"]):
        rows = np.flatnonzero(spool.packets["stream"] == stream)
        steps = np.diff(arrival[rows], prepend=arrival[rows[0]])
        moved[rows] = np.cumsum(np.where(steps < -STEP_NS, -steps, 0))
    if not moved.any():
        return spool
    packets = spool.packets.copy()
    packets["arrival_ns"] += moved
    so_far = np.append(0, np.maximum.accumulate(moved))
    events = zip(spool.events, so_far[list(spool.rows_before)].tolist(), strict=True)
    return replace(
        spool,
        packets=packets,
        events=tuple(replace(event, at_ns=event.at_ns + later) for event, later in events),
    )
