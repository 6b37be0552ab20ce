"""Run a command that may do anything: with an environment and a folder of its own, and not beyond its limits."""

import ctypes
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

GLANCE = 0.1  # seconds between two looks at it
BECOME_SUBREAPER = 36  # Linux, prctl: processes whose parent ended become children of this one, not of the first


@dataclass(frozen=True)
class Ended:
    """How a command ended: `stopped` says which limit it broke, and is empty if it ended by itself."""

    status: int
    seconds: float
    stopped: str = ""


def run_watched(command: list[str], *, folder: Path, environment: dict[str, str], seconds: float, memory: int,
                processes: int = 48, errors: Path,
                cancelled: threading.Event | None = None) -> Ended:
    """Run a command, and end it and all it started when it breaks a limit.

    Parameters
    ----------
    command : program and arguments.
    folder : where it runs.
    environment : all of its environment; nothing of the caller's is added.
    seconds : of wall time.
    memory : MB that it and all it started may hold in memory together.
    processes : as many it may have running.
    errors : file for what it writes to stderr; its stdout is lost.
    cancelled : ends it once it is set.
    """
    began = time.monotonic()
    with open(errors, "wb") as told:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=told, start_new_session=True)
    stopped = ""
    try:
        while not stopped:
            try:
                process.wait(GLANCE)
                break
            except subprocess.TimeoutExpired:
                stopped = _broken_limit(process.pid, time.monotonic() - began, seconds, memory, processes)
                if cancelled is not None and cancelled.is_set():
                    stopped = "stopped: grading was interrupted"
    finally:
        end_family(process.pid)
        process.wait()
    return Ended(process.returncode, time.monotonic() - began, stopped)


def _broken_limit(pid: int, gone: float, seconds: float, memory: int, processes: int) -> str:
    if gone > seconds:
        return f"stopped: it ran longer than the {seconds:g} s it may take"
    family = family_of(pid)
    if len(family) > processes:
        return f"stopped: it started more than {processes} processes"
    held = 0
    for member in family:
        try:
            held += member.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return f"stopped: it took more than {memory} MB of memory" if held > memory << 20 else ""


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def end_family(pid: int, itself: bool = True) -> None:
    """End all that descend from a process, and the process itself last, so that nothing is orphaned meanwhile."""
    for _ in range(20):  # one of them may be starting another
        descendants = [member for member in family_of(pid)[1:] if _is_alive(member)]
        if not descendants:
            break
        for member in descendants:
            _end(member)
        time.sleep(0.01)
    for member in family_of(pid)[:1] if itself else []:
        _end(member)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # ended, and only its parent has not asked how
    except psutil.Error:
        return False


def _end(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        pass


def adopt_orphans() -> None:
    """Let what this process's children leave behind become its own children (Linux), so that it can end them."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1, 0, 0, 0)
