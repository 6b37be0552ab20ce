"""The 1,000 combinations of the sweep: every engine is given the same."""

WINDOWS = range(10, 60, 5)
ENTERS = (-2.0, -1.75, -1.5, -1.25, -1.0, -0.9, -0.8, -0.7, -0.6, -0.5)
EXITS = (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
COMBINATIONS = [(window, enter, exit) for window in WINDOWS for enter in ENTERS for exit in EXITS]
