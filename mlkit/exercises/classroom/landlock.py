"""Take this process's rights to files and to the network away, by Linux's Landlock: no administrator is needed.

    restrict(readable=["/usr", sys.prefix], writable=["/tmp/mine"])

From then on this process and all it starts read and run only what is below the one, write only below the
other, open no TCP connection, and send no signal to other processes. There is no way back. Sources: Linux's
`Documentation/userspace-api/landlock.rst` and `include/uapi/linux/landlock.h`. Needs Linux 5.13 or newer with
Landlock switched on; the network needs 6.7, the signals 6.12; before 6.2 it can empty files of yours (`lacking`
says what is open).
"""

import ctypes
import os
import sys

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
VERSION, PATH_BENEATH = 1, 1
NO_NEW_PRIVILEGES = 38
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, DEVICE_CONTROL = 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_CONTROL  # the others are those of a folder
READING = EXECUTE | READ_FILE | READ_FOLDER
RIGHTS_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}  # by version; later: 16 of them
CONNECT = 1 << 1
ABSTRACT_SOCKETS, SIGNALS = 1, 1 << 1


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr"""

    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr"""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def _call(number: int, *arguments) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def version() -> int:
    """The version of Landlock here; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _call(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    except OSError:
        return 0


def lacking(known: int) -> str:
    """What a submission can do under this version of Landlock that the newest keeps from it; "" if nothing."""
    if not known:
        return "read and write what you can, the solutions among it, and use the network"
    able = ["empty files of yours (from Linux 6.2 on it cannot)"] if known < 3 else []
    able += ["open TCP connections (from Linux 6.7 on it cannot)"] if known < 4 else []
    able += ["send signals to your processes (from Linux 6.12 on it cannot)"] if known < 6 else []
    return " and ".join(able)


def restrict(readable, writable) -> bool:
    """Let this process read only what is below `readable`, and read and write what is below `writable`.

    Call it before there are threads: those that run already keep their rights. Paths that are not there count
    for nothing. Returns False, with nothing changed, where there is no Landlock.
    """
    known = version()
    if not known:
        return False
    rights = RIGHTS_KNOWN.get(known, (1 << 16) - 1)
    ruleset = Ruleset(rights, CONNECT if known >= 4 else 0, ABSTRACT_SOCKETS | SIGNALS if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    handle = _call(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    for path, allowed in [*((path, READING) for path in readable), *((path, rights) for path in writable)]:
        _allow(handle, path, allowed & rights)
    if ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError("Landlock: new privileges could not be given up")
    _call(RESTRICT_SELF, handle, 0)
    os.close(handle)
    return True


def _allow(handle: int, path, allowed: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        allowed &= FILE_RIGHTS
    rule = Beneath(allowed, folder)
    _call(ADD_RULE, handle, PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(folder)
