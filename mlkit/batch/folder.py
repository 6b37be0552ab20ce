"""Where executed notebooks lie: a folder, or an object store by URL; a file is there whole or not at all. Part of
`mlkit.batch`.

    place = open_folder("runs/costs")           # or "s3://bucket/costs", "gs://...", "abfs://...", "memory://..."
    place.write("a.ipynb", text)
    place.tails(["a.ipynb", "b.ipynb"])         # {'a.ipynb': b'...'}: the last 64 KB of those that are there
"""

import contextlib
import os
import re
import secrets
import socket
import time
from pathlib import Path

from mlkit.batch.plan import BatchError

TAIL = 65_536           # bytes at a file's end that hold a run's record (mlkit.batch.task)
LOCK = ".batch-lock"
OWNER = ".batch"        # holds the name of the batch that was begun there last
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{12}\.new")


def open_folder(place):
    """The folder of a path, or the store of a URL; nothing is made or asked yet.

    Raises BatchError for a URL whose scheme is unknown, or whose store needs a package that is not installed.
    """
    text = str(place)
    if text.startswith("file://"):
        from urllib.parse import unquote, urlsplit
        from urllib.request import url2pathname

        return LocalFolder(url2pathname(unquote(urlsplit(text).path)))
    return Store(text) if "://" in text else LocalFolder(text)


class LocalFolder:
    """A folder of this machine, or one that several machines share under the same path."""

    def __init__(self, path):
        self.path = Path(path).absolute()

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.is_dir()

    def prepare(self) -> None:
        """Make the folder if need be and see that one can write into it. Raises BatchError, leaving nothing behind."""
        self.made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(".probe", "")
            self.remove(".probe")
        except OSError as error:
            self.leave()
            raise BatchError(f"cannot write into {self.path}: {error.strerror or error}; choose another output "
                             "folder") from error

    def leave(self) -> None:
        """Take away again what `prepare` has made, if nothing is in it."""
        for folder in self.made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def names(self) -> list[str]:
        """The files there are, hidden ones left out."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def tails(self, names) -> dict[str, bytes]:
        """The end of each file, of those that are there."""
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError), open(self.path / name, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL))
                found[name] = file.read()
        return found

    def write(self, name: str, text: str) -> None:
        """Put a file there in one step: beside its place first, on the disk, then moved."""
        beside = self.path / f".{name}.{secrets.token_hex(6)}.new"
        try:
            with open(beside, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path / name)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self):
        """Hold the folder for one batch; what a killed one left half written is removed.

        The lock is the system's: it ends with the process that holds it, however that ends.
        Raises BatchError if another batch holds it.
        """
        with open(self.path / LOCK, "a+", encoding="utf-8") as lock:
            if not _locked(lock):
                lock.seek(0)
                holder = lock.read() or "it does not say which"
                raise BatchError(f"another batch is writing into {self.path} ({holder}): let it end, or choose another "
                                 "output folder")
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            lock.flush()
            for entry in list(os.scandir(self.path)):
                if UNFINISHED.fullmatch(entry.name):
                    self.remove(entry.name)
            yield


def _locked(file) -> bool:
    """Whether this process now holds the lock on a file. True, too, where the file system has no locks."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(1 << 20)      # far behind the text, which stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


class Store:
    """An object store, through fsspec and the package it names for the URL's scheme: a write is one object, whole.

    There is no lock: a batch that is begun while another writes there takes the place over, and the other one stops.
    """

    def __init__(self, url: str):
        try:
            import fsspec

            self.files, self.path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise BatchError(f"{url} cannot be opened: {error} (fsspec comes with requirements-cluster.txt; "
                             "the store's own package with it: s3fs, gcsfs, adlfs)") from error
        self.url = url.rstrip("/")

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        self.files.invalidate_cache()
        return self.files.exists(self.path)

    def prepare(self) -> None:
        """See that one can write there; a bucket is not made. Raises BatchError."""
        try:
            self.write(".probe", "")
            self.remove(".probe")
        except Exception as error:      # each store has errors of its own
            raise BatchError(f"cannot write to {self.url}: {type(error).__name__}: {error}") from error

    def leave(self) -> None:
        """A store has no folders."""

    def names(self) -> list[str]:
        self.files.invalidate_cache()
        try:
            paths = self.files.ls(self.path, detail=False)
        except FileNotFoundError:       # in a store a folder without a file is none
            paths = []
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in paths)
        return sorted(name for name in names if not name.startswith("."))

    def read(self, name: str) -> bytes:
        return self.files.cat_file(f"{self.path}/{name}")

    def tails(self, names) -> dict[str, bytes]:
        """The end of each file, of those that are there; many at once where the store can."""
        paths = {f"{self.path}/{name}": name for name in names}
        found = self.files.cat_ranges(list(paths), [-TAIL] * len(paths), [None] * len(paths), on_error="return")
        tails = {}
        for name, content in zip(paths.values(), found):
            with contextlib.suppress(FileNotFoundError):
                # a store that does not count from the end gives the whole
                tails[name] = content if isinstance(content, bytes) else self.read(name)
        return tails

    def write(self, name: str, text: str) -> None:
        self.files.pipe_file(f"{self.path}/{name}", text.encode())

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.files.rm_file(f"{self.path}/{name}")

    @contextlib.contextmanager
    def alone(self):
        yield
