"""What a long-running process does for its memory."""

from __future__ import annotations

import gc


def spare_collector() -> None:
    """Tell the collector that what was made so far stays, and to look less often.

    A page of 500 rows makes some hundred thousand short-lived objects without a circle among them; looking
    for circles took half of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
