"""LSTM: a small recurrent network that reads the last rows before it answers. Optional (torch, skorch).

Part of `mlkit.models`, and a sequence model: row t of what it predicts uses rows t-sequence+1 to t
of X; the first rows, which have fewer, read the first row several times. Features should be of
one size: `make_model` puts a StandardScaler before it.

    model = make_model("lstm", sequence=10).fit(X_train, y_train)     # after make course DEEP=1
    model.predict_proba(X)                                            # rows before the test as context
"""

from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class _LSTM(BaseEstimator):
    """What the two have in common.

    sequence : rows read for one answer
    hidden : width of the memory. epochs : the most passes over the training rows; batch_size,
    learning_rate, weight_decay : of the optimiser (AdamW)
    validation : share of the training rows, the last in time, held back; patience : epochs without
        a lower loss on them after which training ends, and the best weights are kept
    random_state : seed of weights and batches; the same seed gives the same bits on one machine

    Learnt, as plain arrays: `weights_`, by torch's names. `n_epochs_` is how many were run.

    Hochreiter & Schmidhuber (1997), Long Short-Term Memory.
    """

    def __init__(self, sequence=20, hidden=16, epochs=20, batch_size=256, learning_rate=0.003, weight_decay=0.01,
                 validation=0.2, patience=3, random_state=0):
        self.sequence = sequence
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation = validation
        self.patience = patience
        self.random_state = random_state

    @property
    def context(self) -> int:
        """Earlier rows that a prediction needs."""
        return self.sequence - 1

    def _fit(self, windows, target, n_outputs: int, loss):
        import torch
        from skorch import NeuralNet
        from skorch.callbacks import EarlyStopping
        n_training = len(windows) - max(1, round(self.validation * len(windows)))
        if n_training < 1:
            raise ValueError(f"{len(windows)} rows are too few to train on the first of them and stop by the last.")

        def first_and_last(rows, y=None):
            return (torch.utils.data.Subset(rows, range(n_training)),
                    torch.utils.data.Subset(rows, range(n_training, len(windows))))

        with _repeatable(self.random_state):
            net = NeuralNet(self._network(windows.shape[2], n_outputs), loss, optimizer=torch.optim.AdamW,
                            lr=self.learning_rate, optimizer__weight_decay=self.weight_decay,
                            max_epochs=self.epochs, batch_size=self.batch_size, iterator_train__shuffle=True,
                            train_split=first_and_last, verbose=0,
                            callbacks=[EarlyStopping(patience=self.patience, load_best=True, sink=lambda text: None)])
            net.fit(windows, target)
        self.weights_ = {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}
        self.n_epochs_ = len(net.history)
        return self

    def _outputs(self, X) -> np.ndarray:
        """What the network says of each row of X: (n, outputs)."""
        check_is_fitted(self)
        import torch
        windows = self._windows(validate_data(self, X, reset=False, dtype=np.float64))
        with _repeatable(self.random_state), torch.no_grad():
            network = self._network(windows.shape[2], len(self.weights_["output.bias"]))
            network.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights_.items()})
            return network(torch.from_numpy(windows)).numpy()

    def _network(self, n_features: int, n_outputs: int):
        """Weights in float64: a row's answer then does not depend, to 1e-12, on how many others are asked for."""
        from torch import nn

        class Network(nn.Module):
            def __init__(self, hidden):
                super().__init__()
                self.memory = nn.LSTM(n_features, hidden, batch_first=True)
                self.output = nn.Linear(hidden, n_outputs)

            def forward(self, windows):
                return self.output(self.memory(windows)[0][:, -1])

        return Network(self.hidden).double()

    def _windows(self, X) -> np.ndarray:
        """The rows up to each row of X (n, k), oldest first: (n, sequence, k)."""
        padded = np.concatenate([np.repeat(X[:1], self.context, axis=0), X])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.sequence, axis=0)
        return np.ascontiguousarray(windows.swapaxes(1, 2))


class LSTMRegressor(RegressorMixin, _LSTM):
    __doc__ = "A number from the last rows.\n" + _LSTM.__doc__

    def fit(self, X, y):
        from torch import nn
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.mean_, self.scale_ = float(np.mean(y)), float(np.std(y)) or 1.0
        target = ((np.asarray(y, dtype=float) - self.mean_) / self.scale_)[:, None]
        return self._fit(self._windows(X), target, 1, nn.MSELoss)

    def predict(self, X) -> np.ndarray:
        return self._outputs(X)[:, 0] * self.scale_ + self.mean_


class LSTMClassifier(ClassifierMixin, _LSTM):
    __doc__ = "The probability of each class from the last rows.\n" + _LSTM.__doc__

    def fit(self, X, y):
        from torch import nn
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._fit(self._windows(X), codes.astype(np.int64), len(self.classes_), nn.CrossEntropyLoss)

    def predict_proba(self, X) -> np.ndarray:
        outputs = self._outputs(X)
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@contextmanager
def _repeatable(seed: int):
    """Torch with this seed, one thread and deterministic sums; afterwards as it was."""
    import torch
    was_deterministic, n_threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_deterministic)
            torch.set_num_threads(n_threads)
