"""Trials are counted: whoever tries often finds something, so every try has to be on the table.

While a `TrialLedger` is open, each backtest and each combination of a sweep is a trial in it,
whichever engine ran it and however many processes worked at the sweep. With a path it is a
file (SQLite) that later runs add to, several at once if they like; running the same again
does not count again.

>>> from mlkit import MeanReversion, backtest, random_walk
>>> with TrialLedger() as ledger:
...     for window in (5, 10, 5):
...         result = backtest(random_walk(300, seed=1), MeanReversion(window))
>>> ledger.trials[["description", "times"]]
                                      description  times
0   MeanReversion(window=5, enter=-1.0, exit=0.0)      2
1  MeanReversion(window=10, enter=-1.0, exit=0.0)      1
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit import metrics
from mlkit.overfitting.sharpe import deflated_sharpe

OURS = 0x6D6C6B74  # the application id of the file: "mlkt"
VERSION = 1
WAIT = 60.0  # seconds for another process to finish its writing
COLUMNS = {"strategy": "TEXT", "description": "TEXT", "symbol": "TEXT", "first": "TEXT", "last": "TEXT",
           "execution": "TEXT", "sharpe": "REAL", "periods_per_year": "REAL", "n_bars": "INTEGER", "order_hash": "TEXT"}
CREATE = (f"CREATE TABLE trials (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
          f"{', '.join(map(' '.join, COLUMNS.items()))}, times INTEGER NOT NULL DEFAULT 1)")
ADD = (f"INSERT INTO trials (key, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))}) "
       f"ON CONFLICT (key) DO UPDATE SET times = times + 1")
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")  # in the repr of an object that has none of its own

_open: list[TrialLedger] = []  # of the whole process: a backtest in any thread is a trial


class TrialLedger:
    """Counts the backtests run while it is open; a context manager, which may be opened again, and nested.

    path : the file to keep the trials in, made if it is not there; None = in memory
    trials : DataFrame, one row a trial in the order they were first run: strategy (the name it
        ran under), description (class and parameters), symbol, first and last (of the bars),
        execution, sharpe (a year), sharpe_per_period, periods_per_year, n_bars (returns it rests
        on), order_hash, times (how often it was run)
    len(ledger) : how many trials

    A trial is a strategy with its parameters, on certain bars (symbols, dates, closes), under certain
    costs and latency, and what came of it (orders, Sharpe ratio). Two strategies with the same
    orders are two trials, the same one run again is one; other sizes, limits or cash make another
    when they change what comes of it. One that never traded is a trial too, without a Sharpe ratio.

    In processes that you start yourself, open a ledger with the same path. Raises ValueError for
    a file that is no ledger, and leaves it as it is.
    """

    def __init__(self, path=None):
        self.path = None if path is None else Path(path)
        self._file = self.path and self.path.absolute()  # the same file, wherever the process goes
        self._lock = threading.Lock()
        self._memory = None
        if path is None:
            self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._memory.close)
        with self._database() as database:
            _prepare(database, self.path)

    def __enter__(self) -> TrialLedger:
        _open.append(self)
        return self

    def __exit__(self, *_) -> None:
        _open.remove(self)

    def __len__(self) -> int:
        with self._database() as database:
            return database.execute("SELECT count(*) FROM trials").fetchone()[0]

    def __repr__(self) -> str:
        return f"<TrialLedger {self.path or 'in memory'}: {len(self):,} trials>"

    @property
    def trials(self) -> pd.DataFrame:
        names = [*COLUMNS, "times"]
        with self._database() as database:
            rows = database.execute(f"SELECT {', '.join(names)} FROM trials ORDER BY number").fetchall()
        table = pd.DataFrame(rows, columns=names)
        table = table.astype({name: {"TEXT": "str", "REAL": float, "INTEGER": int}[kind]
                              for name, kind in COLUMNS.items()} | {"times": int})
        table.insert(list(table).index("sharpe") + 1, "sharpe_per_period",
                     table["sharpe"] / np.sqrt(table["periods_per_year"]))
        return table

    def deflated_sharpe(self, result, convention="2014") -> float:
        """Probability, 0 to 1, that this result is more than luck after all these trials (`deflated_sharpe`).

        result : BacktestResult, or a Series of returns a bar on its dates

        The number of trials and the variance of their Sharpe ratios are the ledger's, skew and raw
        kurtosis the result's own. A result that is not among the trials (none has its Sharpe ratio
        and its number of returns) counts as one more; those without a Sharpe ratio count, but have
        no part in the variance. A single trial is not deflated: its probabilistic Sharpe ratio.

        Raises ValueError for a result without a Sharpe ratio, and when several trials do not have
        two that differ: nobody can say then what luck would do.
        """
        returns, periods = _returns(result)
        sharpe = metrics.sharpe(returns, 1.0)
        if not np.isfinite(sharpe):
            raise ValueError(f"these {len(returns)} returns are constant, too few or not all there: they have no "
                             "Sharpe ratio to deflate.")
        trials = self.trials
        ratios = trials["sharpe"].to_numpy() / np.sqrt(periods)  # a year is the same for all, a bar may not be
        among = np.isclose(ratios, sharpe, rtol=1e-9, atol=0.0) & (trials["n_bars"] == len(returns))
        if not among.any():
            ratios = np.append(ratios, sharpe)
        standard = (returns - returns.mean()) / returns.std()
        variance = np.nan if len(ratios) == 1 else _variance(ratios)
        return deflated_sharpe(sharpe, len(returns), n_trials=len(ratios), variance=variance, convention=convention,
                               skew=(standard**3).mean(), kurtosis=(standard**4).mean())

    def plot(self):
        """The trials' Sharpe ratios, and the best that luck alone would have shown; a matplotlib Figure."""
        from mlkit.overfitting.pictures import plot_trials

        sharpe = self.trials["sharpe"].to_numpy()
        return plot_trials(sharpe, _variance(sharpe))

    def _add(self, rows: list[tuple]) -> None:
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(ADD, rows)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A connection, for one thing: a file may be used by other threads and processes, and by a fork of this one."""
        with self._lock:
            try:
                database = self._memory or sqlite3.connect(self._file, timeout=WAIT, isolation_level=None)
                try:
                    # A killed process loses nothing so. Only a power cut might: waiting for the disk takes
                    # longer than a backtest.
                    database.execute("PRAGMA synchronous = OFF")
                    with database:  # commits, or rolls back
                        yield database
                finally:
                    if self._memory is None:
                        database.close()
            except sqlite3.Error as error:
                raise ValueError(f"{self.path} cannot be used as a trial ledger ({error}): name another file, in a "
                                 "folder that is there and can be written to.") from error


@contextmanager
def uncounted() -> Iterator[None]:
    """No backtest in this block is a trial: an audit runs a strategy again on changed bars, and chooses nothing by it."""
    paused, _open[:] = _open[:], []
    try:
        yield
    finally:
        _open[:0] = paused


def is_counting() -> bool:
    """Whether a ledger is open."""
    return bool(_open)


def trials_so_far() -> int | None:
    """How many trials are in the fullest of the open ledgers; None when none is open."""
    return max(map(len, _open), default=None)


def note_trials(bars, runs: Iterable[tuple]) -> None:
    """Called by the engine: writes runs over these bars into every open ledger.

    runs : (strategy, execution, row) of each; row is a dict with strategy (the name it ran
        under), sharpe (a year), periods_per_year, n_bars and order_hash, among others
    """
    texts, markets, rows = {}, {}, []
    for strategy, execution, row in runs:
        if strategy.symbol not in markets:
            markets[strategy.symbol] = _market(bars, strategy.symbol)
        *market, digest = markets[strategy.symbol]
        description = _description(strategy, texts)
        handler = _text(execution, texts)
        what = (description, *market, digest, handler, row["order_hash"], f"{row['sharpe']:.9g} {row['n_bars']:.0f}")
        key = hashlib.blake2b("\n".join(what).encode(), digest_size=16).digest()
        rows.append((key, row["strategy"], description, *market, handler, row["sharpe"], row["periods_per_year"],
                     int(row["n_bars"]), row["order_hash"]))
    for ledger in dict.fromkeys(_open):
        ledger._add(rows)


def _market(bars, symbol: str | None) -> tuple[str, str, str, str]:
    """Symbols, first and last date of the bars, and a digest of the closes."""
    tables = bars if isinstance(bars, dict) else {symbol or bars.attrs.get("symbol") or "ASSET": bars}
    digest = 0
    for table in tables.values():
        digest = zlib.crc32(np.ascontiguousarray(table["close"], dtype=float), digest)
    return (", ".join(tables), str(min(table.index[0] for table in tables.values())),
            str(max(table.index[-1] for table in tables.values())), str(digest))


def _description(strategy, texts: dict) -> str:
    """Class and parameters."""
    parameters = [f"{name}={_text(value, texts)}" for name, value in vars(strategy).items()
                  if value is not None and name[0] != "_" and name not in ("lookback", "model_name")]
    return f"{type(strategy).__name__}({', '.join(parameters)})"


def _text(value, texts: dict) -> str:
    """Its repr, worked out once: that of a model may take longer than its backtest."""
    text = texts.get(id(value))
    if text is None:
        text = texts[id(value)] = ADDRESS.sub("", repr(value))
    return text


def _returns(result) -> tuple[np.ndarray, float]:
    """Returns (n,) of a result or a Series, and how many there are a year."""
    if isinstance(result, pd.Series) and isinstance(result.index, pd.DatetimeIndex):
        return result.to_numpy(dtype=float), metrics.periods_per_year(result.index)
    if not hasattr(result, "order_hash"):
        raise ValueError("a BacktestResult or a Series of returns on its dates is needed here, not a "
                         f"{type(result).__name__}; mlkit.overfitting.deflated_sharpe takes the figures themselves.")
    return result.returns.to_numpy(dtype=float), result.periods_per_year


def _variance(ratios: np.ndarray) -> float:
    """Of the trials' Sharpe ratios, those that have none left out."""
    known = ratios[np.isfinite(ratios)]
    if len(known) < 2 or np.ptp(known) <= 1e-9 * np.abs(known).max():
        raise ValueError(f"of {len(ratios)} trials no two have Sharpe ratios that differ: what luck would make of so "
                         "many cannot be said. Run what else was tried, or call mlkit.overfitting.deflated_sharpe "
                         "with a variance of your own.")
    return float(known.var(ddof=1))


def _prepare(database: sqlite3.Connection, path: Path | None) -> None:
    """Make the table of a new file; raise ValueError for a file that holds something else."""

    def state() -> tuple[int, int, int]:
        """Application id, version, number of tables."""
        ask = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        return tuple(database.execute(each).fetchone()[0] for each in ask)

    if state() == (0, 0, 0):
        database.execute("BEGIN IMMEDIATE")
        if state() == (0, 0, 0):  # still: nobody else has made it meanwhile
            database.execute(CREATE)
            database.execute(f"PRAGMA application_id = {OURS}")
            database.execute(f"PRAGMA user_version = {VERSION}")
    ours, version, _ = state()
    if (ours, version) != (OURS, VERSION):
        what = "no trial ledger but another database"
        if ours == OURS:
            what = f"a trial ledger of version {version}, not {VERSION}"
        raise ValueError(f"{path} is {what}: name another file. Nothing was written to it.")
