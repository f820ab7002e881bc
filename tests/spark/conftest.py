"""What the tests on Spark ask for: a session of several processes, a region in a lake, both engines on it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from spark_region import Region, add_wrong_rows, take_in_region

from kangshu.app.platform import open_platform
from kangshu.lake import SparkEngine
from kangshu.storage import embedded

MASTER = os.environ.get("KANGSHU_SPARK_MASTER", "local-cluster[2,1,1024]")
"""Two executors of one processor and one GiB each, beside this process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here, and skip them all, saying why, where Spark cannot run."""
    missing = _missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.spark)
            item.add_marker(pytest.mark.timeout(3600))
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


def _missing() -> str:
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: pip install 'kangshu[spark]'"
    java = shutil.which("java") or shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin")
    return "" if java else "Java is not installed: Spark needs Java 17"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """Spark on an empty lake; it keeps the processes alive for all tests."""
    with SparkEngine(tmp_path_factory.mktemp("spark") / "home", master=MASTER) as engine:
        yield engine


@pytest.fixture(scope="session")
def region(spark: SparkEngine) -> Iterator[Region]:
    # Not under pytest's own folder: the next session closes that one to the user that runs the server.
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))
    home = place / "home"
    try:
        with asyncio.Runner() as runner, SparkEngine(home, master=MASTER) as engine:
            context = open_platform(home)
            platform = runner.run(context.__aenter__())
            try:
                runner.run(take_in_region(platform, place / "region"))
                runner.run(add_wrong_rows(platform))
                yield Region(runner=runner, platform=platform, spark=engine)
            finally:
                runner.run(context.__aexit__(None, None, None))
    finally:
        embedded.stop(home)
        shutil.rmtree(place, ignore_errors=True)
