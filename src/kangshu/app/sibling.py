"""A further serving process: `python -m kangshu.app.sibling HOME DESCRIPTOR PARENT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kangshu.app.serving import serve_only

if __name__ == "__main__":
    _, home, descriptor, parent = sys.argv
    asyncio.run(serve_only(home=Path(home), descriptor=int(descriptor), parent=int(parent)))
