"""The simulated region: a fictional province whose institutions send files as real ones do, with the truth.

All people are synthetic: their resident numbers carry a division code that no real place has. The
same seed gives the same bytes. `write_front_pages` and `write_lab_results` make single large files
for benchmarks from the same generators, `simulate_registrations` registrations full of errors to link.
"""

from kangshu.simulation.benchmark_files import (
    write_bundles,
    write_front_pages,
    write_lab_results,
    write_messages,
    write_registrations,
)
from kangshu.simulation.errors import SimulationError, SimulationRefusedError
from kangshu.simulation.operations import SimulationSummary, simulate
from kangshu.simulation.region_rows import RegionRows, RegionWithoutFiles
from kangshu.simulation.registrations import Rates, Registrations, simulate_registrations
from kangshu.simulation.truth import AnomalyRows

__all__ = [
    "AnomalyRows",
    "Rates",
    "RegionRows",
    "RegionWithoutFiles",
    "Registrations",
    "SimulationError",
    "SimulationRefusedError",
    "SimulationSummary",
    "simulate",
    "simulate_registrations",
    "write_bundles",
    "write_front_pages",
    "write_lab_results",
    "write_messages",
    "write_registrations",
]
