"""x"""

from typing import Any


def write_front_pages(**_: Any) -> None: ...
def write_lab_results(**_: Any) -> None: ...
