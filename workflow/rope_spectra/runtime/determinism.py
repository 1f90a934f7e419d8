"""Settings of the process that make its arithmetic repeatable."""

import os


def pin_arithmetic() -> None:
    """Make MKL give the same bits at any memory alignment and load; call before torch is imported.

    Without it 2 of about 50 repeated trainings of the demo ended with other bits (2 threads); with
    it none of 6 did.
    """
    # A user who sets these variables knows better.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("MKL_DYNAMIC", "FALSE")
