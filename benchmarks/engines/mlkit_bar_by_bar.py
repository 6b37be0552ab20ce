"""mlkit's event loop as a learner would use it: one event a bar through `handle_market`."""

import common
import mlkit_events

from mlkit.engine import MeanReversion


class BarByBar(MeanReversion):
    """The shipped rule without its `decide`, which says all decisions at once."""

    decide = None
    handle_market = MeanReversion.handle_market


if __name__ == "__main__":
    common.main(mlkit_events.preparing(BarByBar(common.WINDOW), engine="events"))
