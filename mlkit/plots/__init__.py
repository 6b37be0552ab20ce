"""Pictures: one quiet style, titles that state what is seen, units on the axes, and words for those who cannot see it.

Every function takes a result and returns a `Plot`; none draws on a global state, none shows
anything by itself; a notebook shows it as a cell's last value.
"""

from mlkit.plots.costs import ENDS, plot_break_even, plot_cost_sensitivity, plot_waterfall, plot_waterfalls
from mlkit.plots.pages import COUNTS, MONEY, PERCENT, format_metric, metrics_table, result_html
from mlkit.plots.models import (binned, draw_folds, fold_words, plot_calibration, plot_fold_map, plot_regimes,
                                plot_reliability, plot_settings)
from mlkit.plots.results import plot_equity, plot_price, plot_result, plot_trades
from mlkit.plots.style import (BLUE, CYCLE, GREEN, GREY, HATCH, ORANGE, RED, Plot, figure, headline, log_labels,
                               log_scale, panels, quiet)
from mlkit.plots.words import describe, digest, faults, lightness

__all__ = ["BLUE", "COUNTS", "CYCLE", "ENDS", "GREEN", "GREY", "HATCH", "MONEY", "ORANGE", "PERCENT", "Plot", "RED",
           "binned", "describe", "digest", "draw_folds", "faults", "figure", "fold_words", "format_metric",
           "headline", "lightness", "log_labels", "log_scale", "metrics_table", "panels", "plot_break_even",
           "plot_calibration", "plot_cost_sensitivity", "plot_equity", "plot_fold_map", "plot_price", "plot_regimes",
           "plot_reliability", "plot_result", "plot_settings", "plot_trades", "plot_waterfall", "plot_waterfalls",
           "quiet", "result_html"]
