"""What people may change at the door of health cards: how often, how much."""

CALLS_PER_SECOND = 4000.0
"""Of one signing key: twice the highest rate that a province was seen to ask for (7 million an hour)."""
CALLS_BURST = 8000.0
FAILED_SIGNATURES_PER_MINUTE = 60.0
"""From one network address; then nothing from there is looked at for a while."""
MISSES_PER_MINUTE = 30.0
"""Codes, cards or document numbers that lead to no card, asked by one institution: above is guessing."""
MISSES_BURST = 60.0
BODY_MOST = 1 << 20
BATCH_BODY_MOST = 8 << 20
KEY_CACHE_SECONDS = 5.0
"""So long a withdrawn key stays good."""
