"""Models on disk, without code in them: skops, and a list of the types a file may hold.

Part of `mlkit.models`. A pickle runs what it holds; a skops file names types, and only these are
made: numbers, arrays, what skops itself knows to be harmless (most of scikit-learn), and `TRUSTED` below.

    save_model(model, "model.skops")
    load_model("model.skops").predict(X)          # the same bits
"""

import zipfile
from pathlib import Path

TRUSTED = frozenset({
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor",
    "mlkit.models.adapters.CheckedPipeline", "mlkit.models.adapters.EarlyStoppedClassifier",
    "mlkit.models.adapters.EarlyStoppedRegressor", "mlkit.models.adapters.EncodedClassifier",
    "mlkit.models.adapters.LinearProbability",
    "mlkit.models.arima.ArimaClassifier", "mlkit.models.arima.ArimaRegressor",
    "mlkit.models.lstm.LSTMClassifier", "mlkit.models.lstm.LSTMRegressor",
    "mlkit.models.prophet.ProphetClassifier", "mlkit.models.prophet.ProphetRegressor",
    "mlkit.models.scoring.Schedule",
    "mlkit.models.volatility.EWMA", "mlkit.models.volatility.GARCH", "mlkit.models.volatility.HAR",
    "mlkit.models.volatility.Naive",
})


def save_model(model, path) -> Path:
    """Write a fitted model of the catalogue, or a Schedule of them; gives the path.

    Raises ValueError for one that `load_model` would refuse, and writes nothing then.
    """
    data, path = dump_model(model), Path(path)
    path.write_bytes(data)
    return path


def load_model(path):
    """The model in a file of `save_model`.

    Raises ValueError, naming the type, for a file with anything but arrays and trusted types, and
    for one that is no such file; FileNotFoundError where there is none.
    """
    path = Path(path)
    return parse_model(path.read_bytes(), path)


def dump_model(model) -> bytes:
    """What `save_model` writes. Raises ValueError as it does."""
    import skops.io  # here, as it imports most of scikit-learn
    data = skops.io.dumps(model)
    _refuse_untrusted(skops.io.get_untrusted_types(data=data), type(model).__name__)
    return data


def parse_model(data: bytes, place):
    """The model in these bytes, which came from `place`. Raises ValueError as `load_model`."""
    import skops.io
    try:
        held = skops.io.get_untrusted_types(data=data)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{place} holds no model that save_model wrote: {error}") from error
    _refuse_untrusted(held, place)
    return skops.io.loads(data, trusted=sorted(TRUSTED))


def _refuse_untrusted(held: list[str], place) -> None:
    unknown = sorted(set(held) - TRUSTED)
    if unknown:
        raise ValueError(f"{place} holds {', '.join(unknown)}, which no model of the catalogue is made of, and what it "
                         "would do when loaded nobody knows: store and load models made by make_model.")
