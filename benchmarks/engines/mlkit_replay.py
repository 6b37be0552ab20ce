"""mlkit's replay."""

import common
import mlkit_events

from mlkit.engine import MeanReversion

if __name__ == "__main__":
    common.main(mlkit_events.preparing(MeanReversion(common.WINDOW), engine="replay"))
