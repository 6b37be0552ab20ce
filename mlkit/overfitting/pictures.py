"""The pictures of overfitting: what was best in sample, and what luck alone would have shown."""

from __future__ import annotations

import numpy as np

from mlkit.overfitting.sharpe import expected_max_sharpe
from mlkit.plots import BLUE, GREY, ORANGE, Plot, figure


def plot_degradation(pbo) -> Plot:
    """The metric of the best in sample, out of sample against in sample: a point a split."""
    fig, (axis,) = figure(size=(6.0, 4.4))
    axis.plot(pbo.in_sample, pbo.out_of_sample, ".", color=BLUE, markersize=3, alpha=0.4, markeredgewidth=0)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axline((pbo.in_sample.mean(),) * 2, slope=1.0, color=GREY, linestyle="--", linewidth=1.0,
                label="as good as in sample")
    metric = {"sharpe": "Sharpe ratio", "mean": "mean return"}[pbo.metric]
    axis.set(xlabel=f"{metric} of the best trial in sample, per period", ylabel="the same trial out of sample",
             xlim=_around(pbo.in_sample), ylim=_around(np.concatenate([pbo.out_of_sample, pbo.in_sample, [0.0]])))
    axis.legend(frameon=False, loc="lower left")
    axis.set_title(f"Out of sample, the best of {len(pbo.trials)} trials was no better\n"
                   f"than the median in {100 * pbo.probability:.0f} % of {len(pbo.logits):,} splits", loc="left")
    return fig


def plot_trials(sharpe: np.ndarray, variance: float) -> Plot:
    """Annualised Sharpe ratios of trials in their order, and the best that luck alone would have shown by then."""
    number = np.arange(1, len(sharpe) + 1)
    luck = expected_max_sharpe(number, variance)
    fig, (axis,) = figure()
    axis.plot(number, sharpe, "o", color=BLUE, markersize=3, label="a trial")
    axis.plot(number, luck, color=ORANGE, linewidth=1.5, label="best to expect if none has an edge")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="trials so far", ylabel="Sharpe ratio a year")
    axis.legend(loc="lower right", framealpha=1.0, edgecolor="none")
    axis.set_title(f"The best of {len(sharpe):,} trials has a Sharpe ratio of {np.nanmax(sharpe):.2f}; "
                   f"luck alone would show {luck[-1]:.2f}", loc="left")
    return fig


def _around(values: np.ndarray) -> tuple[float, float]:
    """Limits of an axis that shows all of them."""
    room = 0.05 * (values.max() - values.min()) or 1.0
    return values.min() - room, values.max() + room
