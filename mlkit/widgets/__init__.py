"""What a learner moves: a prediction made before the answer is shown, and sliders under a figure.

All of it works where nothing can be moved (papermill, nbval, a page in a browser): a prediction is then
the value given in the notebook, and sliders are the sentence that says what they would do.

    predict_first  asks, and scores the answer once the truth is known
    slider         redraws a figure of settings: slider(draw, horizon=[1, 5, 20])
    ..._explorer   such figures, each a plain function of data and settings -> `mlkit.plots.Plot`

>>> guess = predict_first("On what share of days is the model right?", 0.55, low=0, high=1, unit="%")
>>> guess.reveal(0.503)
You said 55 %; it is 50.3 %. Off by 4.7 percentage points.
"""

from mlkit.widgets.learning import capacity_explorer, leak_switchboard, trials_explorer, window_explorer
from mlkit.widgets.money import Decided, cost_explorer, size_explorer, threshold_explorer
from mlkit.widgets.predictions import Prediction, predict_first
from mlkit.widgets.sliders import VIEW, Sliders, slider

__all__ = ["Decided", "Prediction", "Sliders", "VIEW", "capacity_explorer", "cost_explorer", "leak_switchboard",
           "predict_first", "size_explorer", "slider", "threshold_explorer", "trials_explorer", "window_explorer"]
