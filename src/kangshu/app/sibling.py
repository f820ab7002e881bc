"""A further serving process: `python -m kangshu.app.sibling HOME DESCRIPTOR`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kangshu.app.serving import serve_only

if __name__ == "__main__":
    asyncio.run(serve_only(home=Path(sys.argv[1]), descriptor=int(sys.argv[2])))
