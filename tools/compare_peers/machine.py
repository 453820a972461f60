# SPDX-License-Identifier: Apache-2.0
"""Is the machine quiet? What it is, and what others took of it while a program ran (Linux)."""
import os
import resource
import subprocess
import tempfile
import time
from typing import NamedTuple

# Of all cores: a run in which others took more is marked as disturbed.
MOST_FOREIGN, MOST_STOLEN = 0.02, 0.05
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else os.uname().machine


def cpu_seconds():
    """(busy, stolen by the hypervisor) since boot, of all cores together."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def own_seconds():
    """CPU time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Load(NamedTuple):
    """Shares of all cores over some time."""
    seconds: float
    foreign: float  # taken by processes that are not ours
    stolen: float   # by the hypervisor, for others

    @property
    def quiet(self):
        return self.foreign <= MOST_FOREIGN and self.stolen <= MOST_STOLEN

    def __str__(self):
        return f"{100 * self.foreign:.1f} % by others, {100 * self.stolen:.1f} % stolen"


class Watch:
    """Measures the load from here to stop()."""

    def __init__(self):
        self._begin = time.monotonic(), *cpu_seconds(), own_seconds()

    def stop(self):
        elapsed, busy, stolen, own = (
            now - then for now, then in
            zip((time.monotonic(), *cpu_seconds(), own_seconds()), self._begin))
        cores = (os.cpu_count() or 1) * max(elapsed, 1e-9)
        return Load(elapsed, max(0.0, (busy - own) / cores), max(0.0, stolen / cores))


def idle_load(seconds=2.0):
    watch = Watch()
    time.sleep(seconds)
    return watch.stop()


class RunFailed(Exception):
    """A program that failed, or printed nothing of use."""


def message_in(stderr):
    """The line that says most: the last of an error, else the last one with words."""
    lines = [line.strip() for line in stderr.splitlines() if any(map(str.isalpha, line))]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[-1][:200]


class Runner:
    """Runs programs, and again while others disturbed them."""

    def __init__(self, retries, timeout, say):
        self._retries, self._timeout, self._say = retries, timeout, say
        self._folder = tempfile.TemporaryDirectory(prefix="compare-peers-")  # for stray log files

    def run(self, argv, with_stderr=False):
        """(output, Load) of the first quiet run, or of the last one."""
        for attempt in range(self._retries + 1):
            out, load = self._once(argv, with_stderr)
            if load.quiet or attempt == self._retries:
                return out, load
            self._say(f"disturbed ({load}), again: {' '.join(argv)}")
            self._wait_for_quiet()

    def _wait_for_quiet(self):
        end = time.monotonic() + 60
        while not idle_load(1.0).quiet and time.monotonic() < end:
            time.sleep(1)

    def _once(self, argv, with_stderr):
        watch = Watch()
        try:
            done = subprocess.run(argv, cwd=self._folder.name, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, errors="replace",
                                  timeout=self._timeout, check=False)
        except OSError as problem:
            raise RunFailed(str(problem)) from problem
        except subprocess.TimeoutExpired as problem:
            raise RunFailed(f"no end after {self._timeout:.0f} s") from problem
        load = watch.stop()
        if done.returncode != 0:
            raise RunFailed(f"exit status {done.returncode}: {message_in(done.stderr)}")
        return done.stdout + done.stderr * with_stderr, load
