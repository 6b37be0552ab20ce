"""What `OutOfSample` looks like: train and test score fold by fold, and a table."""

from __future__ import annotations

from html import escape

from mlkit.plots import BLUE, GREY, ORANGE, figure


def plot_folds(found):
    """Train and test score of each fold over the time it was tested."""
    fig, (axis,) = figure()
    folds, is_direction = found.folds, found.task == "direction"
    middle = folds["test_from"] + (folds["test_to"] - folds["test_from"]) / 2
    axis.plot(middle, folds["train_score"], color=ORANGE, marker="s", linestyle="--", label="on the rows it learned from")
    axis.plot(middle, folds["test_score"], color=BLUE, marker="o", label="on rows it had not seen")
    axis.axhline(0.5 if is_direction else 0.0, color=GREY, linewidth=1, linestyle=":", label="knowing nothing")
    score = "accuracy" if is_direction else "R2"
    means = folds[["train_score", "test_score"]].mean()
    axis.set(xlabel="date, the middle of what was tested", ylabel=f"{score} of the fold")
    axis.set_title(f"{score} {means['train_score']:.3f} in training, {means['test_score']:.3f} out of sample: the folds' "
                   "means", loc="left")
    axis.legend(frameon=False)
    return fig


def out_of_sample_html(found) -> str:
    table = found.folds.copy()
    for name in table.columns[table.columns.str.contains("_from|_to|known_by")]:
        table[name] = table[name].dt.strftime("%Y-%m-%d" if (table[name] == table[name].dt.normalize()).all()
                                              else "%Y-%m-%d %H:%M")
    return f"<p>{escape(repr(found))}</p>" + table.to_html(float_format="{:.3f}".format, border=0)
