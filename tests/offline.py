"""No test and no lesson leaves this machine: sockets to anywhere else are refused.

`refuse_far_sockets` guards the process that calls it; `conftest.py` calls it for
pytest and lets every kernel run this file's source first. Loopback and local
(unix) sockets stay open: kernels and Dask workers need them.
"""

import ipaddress
import socket


def is_near(address) -> bool:
    """Whether a socket address is on this machine: loopback, a unix path, nothing at all."""
    host = address[0] if isinstance(address, tuple) else None
    if host is None:
        return True
    host = host.decode() if isinstance(host, bytes) else host
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def refuse_far_sockets() -> None:
    """From now on, connecting or sending to another machine raises ConnectionRefusedError."""
    def guarded(original, position):
        def call(*args, **kwargs):
            target = args[position] if len(args) > abs(position) else None
            if target is not None and not is_near(target):
                raise ConnectionRefusedError(f"tests and lessons run offline, and this asked for {target}: "
                                             "use the data in data/")
            return original(*args, **kwargs)
        call.is_guarded = True
        return call

    if getattr(socket.socket.connect, "is_guarded", False):
        return
    socket.socket.connect = guarded(socket.socket.connect, 1)
    socket.socket.connect_ex = guarded(socket.socket.connect_ex, 1)
    socket.socket.sendto = guarded(socket.socket.sendto, -1)
    look_up = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if not is_near((host,)):
            raise socket.gaierror(f"tests and lessons run offline, and this looked up {host!r}: use the data in data/")
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
