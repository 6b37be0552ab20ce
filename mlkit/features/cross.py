"""A feature from another instrument, aligned by the time its value was known.

>>> import pandas as pd
>>> dollar = pd.DataFrame({"close": [1.0, 1.1]}, index=pd.date_range("2024-01-01", periods=2))
>>> euro = pd.DataFrame({"close": [2.0, 2.0]}, index=pd.to_datetime(["2024-01-02", "2024-01-05"]))
>>> CrossReturn(dollar, name="dollar_return_1")(euro)["dollar_return_1"].round(3).tolist()
[0.1, 0.1]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlkit.features.indicators import Feature, price_column, returns_over, whole_number


@dataclass(frozen=True, repr=False, eq=False, init=False)
class CrossReturn(Feature):
    """Another instrument's last return known by then, a fraction: USDCAD_return_1.

    other_bars : its bars table, copied; attrs["symbol"] (else "cross") heads the column's name,
        unless `name` is given.
    periods : the return is over so many of its own bars.
    known_delay : hours (or a Timedelta) by which its value of a stamp is known later than ours of
        the same stamp, negative for earlier. The ECB fixes at 14:15 in Frankfurt, the Federal
        Reserve's H.10 at noon in New York, some 4 hours later: with 4, an ECB bar is given H.10's
        return of the day before. 0 unless said; it must be said between a daily and an intraday
        table, a date being midnight UTC: with 21, intraday bars know a daily return from 21:00.

    Each bar takes the last return known at its own time or before, however old (holidays); of our
    own bars only the stamp is used. Raises ValueError for stamps that do not increase or clocks
    that cannot be compared.
    """

    def __init__(self, other_bars: pd.DataFrame, periods=1, known_delay=None, name=None):
        returns = returns_over(price_column(other_bars, positive=True), whole_number(periods, "periods"))
        if not (_nanoseconds(other_bars)[1:] > _nanoseconds(other_bars)[:-1]).all():
            raise ValueError("The other table's timestamps have to increase, each one once.")
        number = isinstance(known_delay, (int, float, np.number)) and not isinstance(known_delay, bool)
        delay = None if known_delay is None else pd.Timedelta(known_delay, *["h"] * number)
        if delay is pd.NaT:
            raise ValueError(f"known_delay is a number of hours or a Timedelta, not {known_delay!r}.")
        self._promise([name or f"{other_bars.attrs.get('symbol', 'cross')}_return_{periods}"], lookback=1,
                      periods=int(periods), known_delay=delay, _returns=pd.Series(returns, other_bars.index))

    def _columns(self, bars):
        own, other = _nanoseconds(bars), _nanoseconds(self._returns)
        daily = [table.index.tz is None and not (stamps % pd.Timedelta("1D").as_unit("ns").value).any()
                 for table, stamps in ((bars, own), (self._returns, other))]
        if self.known_delay is None and daily[0] != daily[1]:
            raise ValueError(f"{self}: one table is daily, the other intraday. Say with known_delay how many hours "
                             "after midnight UTC of its date a daily bar is known (if that is ours: minus so many).")
        delay = 0 if self.known_delay is None else self.known_delay.as_unit("ns").value
        return [np.append(np.nan, self._returns)[np.searchsorted(other + delay, own, side="right")]]

    def __eq__(self, other) -> bool:
        return repr(self) == repr(other) and self._returns.equals(other._returns)

    def __repr__(self) -> str:
        delay = "" if self.known_delay is None else f", known_delay={str(self.known_delay)!r}"
        return f"CrossReturn(<{len(self._returns)} bars>, {self.periods}{delay}, name={self.names[0]!r})"


def _nanoseconds(bars) -> np.ndarray:
    """The stamps since 1970 in UTC; a date without a zone is midnight UTC."""
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError("A cross return is aligned by time: its bars need a DatetimeIndex.")
    return bars.index.as_unit("ns").asi8
