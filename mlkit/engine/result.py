"""What a backtest gives back: equity, tables, figures, and where the money went.

Everything is worked out from the `Record` of the run when it is first asked for;
asking costs nothing until then. A table handed out is yours: change it freely.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
import pandas as pd

from mlkit import metrics
from mlkit.engine.books import REVIEW

COSTS = ("delay", "spread", "slippage", "impact", "commission", "borrow")
FILL_COLUMNS = ["timestamp", "symbol", "quantity", "price", "reference", "decision_price", *COSTS[:5], "order_id"]
ORDER_COLUMNS = ["order_id", "timestamp", "symbol", "quantity", "state", "reason", "filled"]
SIGNAL_COLUMNS = ["timestamp", "symbol", "direction", "price", "strength", "model", "outcome"]
TRADE_COLUMNS = ["symbol", "entry_time", "exit_time", "quantity", "entry_price", "exit_price", "net_profit",
                 "bars_held", "open"]
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in one unit of an index
ORDER_BYTES = [("timestamp", "<i8"), ("quantity", "<f8"), ("filled", "<f8"), ("state", "S16"), ("reason", "S16")]


def order_bytes(orders: dict, symbols: list[str], index: pd.DatetimeIndex) -> np.ndarray:
    """The order list as fixed-width rows, whose bytes are hashed; `symbols` is one a row, or one for all."""
    names = [symbol.encode() for symbol in symbols]
    width = max(32, *map(len, names), 0)
    rows = np.zeros(len(orders["clock"]), dtype=[("symbol", f"S{width}"), *ORDER_BYTES])
    rows["timestamp"] = index.asi8[orders["clock"]] * NANOSECONDS[index.unit]
    rows["symbol"] = names
    for name in ("quantity", "filled", "state", "reason"):
        rows[name] = orders[name]
    return rows


def _frame(columns: dict, names: list[str]) -> pd.DataFrame:
    """A table whose text columns are text, rows or none."""
    table = pd.DataFrame({name: columns[name] for name in names})
    return table.astype({name: "str" for name in names if columns[name].dtype == object})


class BacktestResult:
    """One backtest.

    equity : Series, one value a bar from bar 0, account currency, at the closes
    returns : Series, simple, from the first bar that could trade; the first is
        measured from the initial cash
    orders, fills, trades, signals, exits, risk : DataFrames (see mlkit.engine)
    metrics : Series; waterfall : Series, gross profit at decision prices, what each
        cost took from it (signed effect on profit), and net = their sum
    order_hash : sha256 of the order list: the same input gives the same hash
    counts : signals, exits, orders, vetoes; signals + exits = orders + vetoes
    engine : "events" or "replay"; unsafe_same_bar and bankrupt : True when it was so
    """

    def __init__(self, index, record, bars, *, name, cash, start, execution, risk, engine, periods_per_year):
        self._index, self._record, self.bars, self._manager = index, record, bars, risk
        self.name, self.cash, self.execution, self.engine = name, cash, execution, engine
        self.periods_per_year = periods_per_year
        self._start = min(start, len(index))
        self.unsafe_same_bar = execution.unsafe_same_bar
        self.bankrupt = record.bankrupt

    # ---- series and tables

    @property
    def equity(self) -> pd.Series:
        values = np.array(self._record.equity, dtype=float)
        return pd.Series(values, index=self._index[: len(values)].rename("timestamp"), name="equity")

    @property
    def returns(self) -> pd.Series:
        return pd.Series(self._returns.copy(), index=self.equity.index[self._start :], name="return")

    @property
    def orders(self) -> pd.DataFrame:
        return self._table(self._orders, ORDER_COLUMNS)

    @property
    def exits(self) -> pd.DataFrame:
        """Orders that a stop or a target made: order_id, timestamp, symbol, cause, level."""
        columns = {name: values[self._orders["cause"] != "signal"] for name, values in self._orders.items()}
        return self._table(columns, ["order_id", "timestamp", "symbol", "cause", "level"])

    @property
    def fills(self) -> pd.DataFrame:
        return self._table(self._fills, FILL_COLUMNS)

    @property
    def signals(self) -> pd.DataFrame:
        return self._table(self._record.signal_columns(), SIGNAL_COLUMNS)

    @property
    def risk(self) -> pd.DataFrame:
        """What was put before the risk manager: timestamp, symbol, asked, allowed, reason, forecast, realised.

        A row for every order, if the risk manager forecasts; otherwise for those that were cut or vetoed.
        forecast : what it expected at that close (NaN without one); realised : what came, where it is known
        """
        reviews = self._record.review_columns()
        table = self._table(reviews, ["timestamp", *REVIEW[1:]])
        realised = np.full(len(table), np.nan)
        for symbol in dict.fromkeys(table["symbol"]) if hasattr(self._manager, "realised") else ():
            rows = (table["symbol"] == symbol).to_numpy()
            realised[rows] = self._manager.realised(self.bars[symbol]).reindex(table["timestamp"][rows])
        return table.assign(realised=realised)

    @property
    def trades(self) -> pd.DataFrame:
        trips = self._trades
        columns = self._with_symbol(trips, entry_time=self._index.take(trips["entry"]),
                       exit_time=self._index.take(trips["exit"]).where(~trips["open"]))
        columns["bars_held"] = self._bars_held()
        return _frame(columns, TRADE_COLUMNS)

    # ---- figures

    @property
    def waterfall(self) -> pd.Series:
        parts = self._waterfall
        return pd.Series({**parts, "net": sum(parts.values())}, name=self.name)

    @property
    def metrics(self) -> pd.Series:
        return pd.Series(self.figures, name=self.name)

    @cached_property
    def figures(self) -> dict[str, float]:
        """The metrics as a plain dict."""
        start, fills, trades = self._start, self._fills, self._trades
        equity = np.asarray(self._record.equity, dtype=float)[start:]
        return metrics.summary(
            equity, self.cash, trades["net_profit"][~trades["open"]],
            self._exposure(), float(np.abs(fills["quantity"] * fills["price"]).sum()), self._waterfall,
            self.periods_per_year, int(trades["open"].sum()))

    @cached_property
    def order_hash(self) -> str:
        orders = self._record.order_keys()
        symbols = list(self.bars) if len(self.bars) == 1 else orders["symbol"].tolist()
        return hashlib.sha256(order_bytes(orders, symbols, self._index).tobytes()).hexdigest()

    @property
    def counts(self) -> pd.Series:
        outcomes, causes = self._record.signal_columns()["outcome"], self._orders["cause"]
        return pd.Series({"signals": len(outcomes), "exits": int((causes != "signal").sum()), "orders": len(causes),
                          "vetoes": int((outcomes != "order").sum())}, name=self.name)

    # ---- to look at

    def plot(self, benchmark: BacktestResult | None = None):
        """Equity with its drawdown, and trades on price; a matplotlib Figure."""
        from mlkit.plots import plot_result

        return plot_result(self, benchmark)

    def notes(self) -> list[str]:
        """What a reader must know before believing the figures."""
        notes = []
        if self.bankrupt:
            notes.append(f"Bankrupt on {self.equity.index[-1]}: equity fell to {self.equity.iloc[-1]:,.2f} "
                         f"and the run stopped there.")
        if self.unsafe_same_bar:
            notes.append("Unsafe: orders were filled at the close they were decided on. No one can trade there.")
        blind = sum(str(outcome) == "no_forecast" for outcome in self._record.signal_columns()["outcome"])
        if blind:
            notes.append(f"{blind} signals were refused because nothing was forecast at their close (no_forecast).")
        yields = [symbol for symbol, table in self.bars.items() if table.attrs.get("kind") == "rate"]
        if yields:
            notes.append(f"{', '.join(yields)}: a yield is not a price. Nobody can buy it, so nobody can earn this.")
        for symbol, (units, _) in self._record.positions.items():
            last = self.bars[symbol].index[-1]
            if units and last < self.equity.index[-1]:
                notes.append(f"{symbol} has no bar after {last}: {units:,.6g} units are still held, "
                             f"marked at its last close.")
        return notes

    def __repr__(self) -> str:
        figures = self.metrics
        return (f"<BacktestResult {self.name}: {figures['total_return']:+.1%} in {len(self._returns)} bars, "
                f"Sharpe {figures['sharpe']:.2f}, max drawdown {figures['max_drawdown']:.1%}, "
                f"{figures['n_trades']:.0f} trades, {self.engine}>")

    def _repr_html_(self) -> str:
        from mlkit.plots import result_html

        return result_html(self)

    # ---- underneath

    @cached_property
    def _returns(self) -> np.ndarray:
        equity = np.asarray(self._record.equity, dtype=float)[self._start :]
        returns = np.empty(len(equity))
        if len(equity):
            returns[0] = equity[0] / self.cash
            np.divide(equity[1:], equity[:-1], out=returns[1:])
            returns -= 1.0
        return returns

    def _exposure(self) -> float:
        """Share of the bars of the statistics with a position at the close."""
        n, trips = len(self._record.equity), self._trades
        if n <= self._start:
            return np.nan
        leave = np.where(trips["open"], n, trips["exit"])
        if len(self._record.positions) == 1:  # one after another: the spans cannot overlap
            return float((leave - trips["entry"]).sum() / (n - self._start))
        changes = np.zeros(n + 1, dtype=np.int64)
        np.add.at(changes, trips["entry"], 1)
        np.add.at(changes, leave, -1)
        return float((np.cumsum(changes)[self._start : n] > 0).mean())

    @cached_property
    def _orders(self) -> dict:
        return self._record.order_columns()

    @cached_property
    def _fills(self) -> dict:
        return self._record.fill_columns()

    @cached_property
    def _trades(self) -> dict:
        return self._record.trades()

    @cached_property
    def _waterfall(self) -> dict[str, float]:
        fills = self._fills
        gross = float(-(fills["quantity"] * fills["decision_price"]).sum())
        gross += sum(units * mark for units, mark in self._record.positions.values())
        paid = {name: float(fills[name].sum()) for name in COSTS[:5]}
        paid["borrow"] = float(self._record.borrow_columns()["amount"].sum())
        return {"gross": gross, **{name: 0.0 - amount for name, amount in paid.items()}}

    def _table(self, columns: dict, names: list[str]) -> pd.DataFrame:
        columns = self._with_symbol(columns, timestamp=self._index.take(columns["clock"]))
        return _frame(columns, names)

    def _with_symbol(self, columns: dict, **more) -> dict:
        """Columns of one instrument need not repeat its name; a table does."""
        if "symbol" not in columns:
            (symbol,) = self.bars
            more["symbol"] = np.full(len(next(iter(columns.values()))), symbol, dtype=object)
        return {**columns, **more}

    def _bars_held(self) -> np.ndarray:
        """Bars of its own instrument between entry and exit (the last bar for an open trade)."""
        trips, held = self._trades, np.zeros(len(self._trades["entry"]), dtype=np.int64)
        final = len(self._record.equity) - 1
        leave = np.where(trips["open"], final, trips["exit"])
        for symbol, table in self.bars.items():
            rows = slice(None) if len(self.bars) == 1 else trips["symbol"] == symbol
            own = table.index
            held[rows] = (own.searchsorted(self._index.take(leave[rows]), side="right")
                          - own.searchsorted(self._index.take(trips["entry"][rows]), side="right"))
        return held
