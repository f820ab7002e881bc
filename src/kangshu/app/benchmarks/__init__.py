"""The benchmarks of the platform, each in a home of its own that is gone afterwards.

A benchmark makes its input, runs what a centre runs, and tells the figure with its conditions. `--size`
gives the same at another size, so that the growth is seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from kangshu.app.benchmarks.lanes import front_page_intake, lab_intake
from kangshu.app.benchmarks.model import Benchmark, Measurement
from kangshu.app.benchmarks.pages import person_page
from kangshu.app.benchmarks.scan import rule_scan
from kangshu.kernel.texts import Text

BENCHMARKS: Mapping[str, Benchmark] = {
    one.name: one
    for one in (
        Benchmark(
            name="front-page-intake",
            about=Text(
                zh="一份病案首页文件（135 个字段、全部规则）从磁盘上的字节到提交，居民已归并",
                en="one file of discharge front pages (135 fields, all rules) from its bytes to the commit, "
                "persons linked",
            ),
            size=100_000,
            counted="rows",
            run=front_page_intake,
        ),
        Benchmark(
            name="lab-intake",
            about=Text(
                zh="一份检验结果文件（20 个字段）从磁盘上的字节到提交，居民已归并",
                en="one file of laboratory results (20 fields) from its bytes to the commit, persons linked",
            ),
            size=1_000_000,
            counted="rows",
            run=lab_intake,
        ),
        Benchmark(
            name="rule-scan",
            about=Text(
                zh="对已定型的首页数据逐行检查全部规则，与手写的一条 SQL 对比",
                en="all rules asked of typed front pages, beside one statement written by hand",
            ),
            size=300_000,
            counted="rows",
            run=rule_scan,
        ),
        Benchmark(
            name="person-page",
            about=Text(
                zh="从大型数据湖中打开有 500 行记录的居民页面（含授权与审计）",
                en="the page of a person with 500 rows out of a large lake, with grant and audit",
            ),
            size=50_000_000,
            counted="rows in the lake",
            run=person_page,
        ),
    )
}

__all__ = ["BENCHMARKS", "Benchmark", "Measurement"]
