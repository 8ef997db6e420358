"""CPU time of all that this process started, ended processes and PostgreSQL's backends included.

A process's own count and that of its ended, waited-for children are in /proc; what escapes a sum over living processes
are orphans: daemons that left their parent (PostgreSQL), children of killed workers. This process therefore becomes
the one that adopts orphans (PR_SET_CHILD_SUBREAPER), so that everything stays its descendant, and does not wait for
the dead among them, whose counts stay readable.
"""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import psutil

ByProgram: TypeAlias = dict[str, float]
_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""
TRIES = 20


def adopt_orphans() -> None:
    """From now on orphaned descendants become children of this process. Raises OSError where that is not Linux."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "orphans cannot be adopted (PR_SET_CHILD_SUBREAPER)")


def cpu_seconds() -> ByProgram:
    """CPU seconds, user and system, of all descendants living and dead, by program.

    Without this process's own. A look during which processes came or went is repeated: one that ends in between would
    count twice or not at all.
    """
    for _ in range(TRIES):
        before = _descendants()
        counted = _counted(before)
        if counted is not None and [each.pid for each in before] == [each.pid for each in _descendants()]:
            own = os.times()
            counted["ended beside"] = counted.get("ended beside", 0.0) + own.children_user + own.children_system
            return counted
        time.sleep(0.05)
    raise RuntimeError("processes come and go without a pause: their CPU time cannot be counted")


def total(counted: ByProgram) -> float:
    """Of all programs."""
    return sum(counted.values())


def used(work: Callable[[], None]) -> ByProgram:
    """CPU seconds by program that pass while `work` runs.

    One that ends as an orphan moves from its program to `ended beside`: the sum is right, the share may be below zero.
    """
    before = cpu_seconds()
    work()
    after = cpu_seconds()
    return {program: after.get(program, 0.0) - before.get(program, 0.0) for program in sorted({*before, *after})}


def _descendants() -> list[psutil.Process]:
    return sorted(psutil.Process().children(recursive=True), key=lambda each: each.pid)


def _counted(processes: list[psutil.Process]) -> ByProgram | None:
    counted: ByProgram = {}
    parents = {process.pid: process for process in processes}
    try:
        for process in processes:
            times = process.cpu_times()
            spent = times.user + times.system + times.children_user + times.children_system
            program = _program(process, parents)
            counted[program] = counted.get(program, 0.0) + spent
    except psutil.NoSuchProcess:
        return None
    return counted


_PROGRAMS = {
    "supervisor.supervisord": "supervisor",
    "dagster-daemon": "daemon",
    "resources.webserver": "webserver",
    "grpc": "code server and runs",
    "resources.code_server": "code server and runs",
    "api.main:app": "api",
    "database": "database watcher",
}


def _program(process: psutil.Process, known: dict[int, psutil.Process]) -> str:
    """The supervised program that a process belongs to: of its nearest ancestor that is one."""
    current: psutil.Process | None = process
    while current is not None:
        if current.name() == "postgres":
            return "postgresql"
        try:
            words = {Path(word).name for word in current.cmdline()}
        except psutil.ZombieProcess:
            words = set()
        for mark, name in _PROGRAMS.items():
            if mark in words:
                return name
        current = known.get(current.ppid())
    return "ended beside"
