"""Rule scanning (规则扫描): a data set's rules become one statement that counts and locates in one pass.

`compile_scan` makes it of the declared rules, `run_scan` runs it on the lake's engine, and what comes back
tells for each institution, month and rule how many rows break it, and which: a file's rows by their numbers.
"""

from kangshu.quality.scanning.compiling import Scan, compile_scan
from kangshu.quality.scanning.masks import BITS, places_of_bits
from kangshu.quality.scanning.running import FoundRows, Scanned, run_scan

__all__ = ["BITS", "FoundRows", "Scan", "Scanned", "compile_scan", "places_of_bits", "run_scan"]
