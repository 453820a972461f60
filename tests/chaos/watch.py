# SPDX-License-Identifier: Apache-2.0
"""What a server that is being broken needs and says meanwhile."""

import http.client
import os
import re
import statistics
import threading
import time

from serve_lib import FOLKMOOT


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Samples(threading.Thread):
    """Every so many seconds: memory, descriptors and threads of the processes that outlive the engine."""

    NAMES = ("supervisor_kib", "front_end_kib", "descriptors", "threads", "shared", "files")

    def __init__(self, server, every):
        super().__init__(daemon=True)
        self.server, self.every, self.end = server, every, threading.Event()
        self.begin, self.taken = time.monotonic(), []

    def run(self):
        while not self.end.wait(self.every):
            self.take()

    def take(self):
        self.taken.append((time.monotonic() - self.begin, self.now()))

    def stop(self):
        self.end.set()
        if self.is_alive():
            self.join()

    def now(self):
        total = dict.fromkeys(self.NAMES, 0)
        for pid, environ in self.server.own_processes(os.path.basename(FOLKMOOT)):
            if b"OMPI_COMM_WORLD_RANK" in environ:
                continue
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    status = file.read()
                name = "supervisor_kib" if pid == self.server.process.pid else "front_end_kib"
                total[name] += int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
                total["threads"] += int(re.search(r"Threads:\s+(\d+)", status).group(1))
                total["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
            except (OSError, AttributeError):
                continue
        runs = [name for name in os.listdir(self.server.work) if name.startswith("folkmoot-")]
        total["shared"] = sum(name.startswith(tuple(runs)) for name in os.listdir("/dev/shm"))
        total["files"] = sum(len(files) for _, _, files in os.walk(self.server.work))
        return total

    def slopes(self):
        """Percent an hour: least squares over the later two thirds, relative to their mean."""
        return {name: self.slope(self.taken[len(self.taken) // 3 :], name) for name in self.NAMES}

    @staticmethod
    def slope(samples, name):
        if len(samples) < 3:
            return None
        xs, ys = [s[0] / 3600 for s in samples], [s[1][name] for s in samples]
        mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
        return round(100 * slope / mean_y, 3) if mean_y else 0


class Health(threading.Thread):
    """Twenty times a second: whether /ready says 200."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.end, self.seen = server, threading.Event(), []

    def run(self):
        while not self.end.wait(0.05):
            self.seen.append((time.monotonic(), self.ready()))

    def ready(self):
        try:
            return self.server.get("/ready", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self):
        self.end.set()
        self.join()

    def lies(self, events, strikes):
        """By deed: the seconds of green while clients heard nothing, and of red while they heard something. Nothing is
        heard in the longest gap between the events after a deed and before the next one."""
        green, red = [], []
        for strike, end in zip(strikes, [*strikes[1:], float("inf")]):
            times = [strike, *(t for t in events if strike < t < end)]
            if len(times) < 2:
                continue
            begin, heard = max(zip(times, times[1:]), key=lambda gap: gap[1] - gap[0])
            green.append(self.seconds(True, begin, heard))
            red.append(self.seconds(False, heard, times[-1]))
        return green, red

    def seconds(self, ready, begin, end):
        """How long between these moments it was so."""
        spans = zip(self.seen, self.seen[1:])
        return sum(max(0, min(b, end) - max(a, begin)) for (a, was), (b, _) in spans if was == ready)
