"""The benchmarks of the platform, each in a home of its own that is gone afterwards.

A benchmark makes its input, runs what a centre runs, and tells the figure with its conditions. `--size`
gives the same at another size, so that the growth is seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from kangshu.app.benchmarks.cards import card_batch, card_scan
from kangshu.app.benchmarks.lanes import front_page_intake, lab_intake
from kangshu.app.benchmarks.linkage import link_batch
from kangshu.app.benchmarks.matching import link_online, match_one
from kangshu.app.benchmarks.messages import bundles, fhir_create, fhir_read, hl7_files, mllp
from kangshu.app.benchmarks.model import Benchmark, Measurement
from kangshu.app.benchmarks.pages import person_page
from kangshu.app.benchmarks.peak import result_peak
from kangshu.app.benchmarks.plausibility import plausible_months
from kangshu.app.benchmarks.quality import findings, front_page_rules, quality_scan
from kangshu.app.benchmarks.scan import rule_scan
from kangshu.app.benchmarks.spark import quality_scan_spark
from kangshu.app.benchmarks.timeline import timeline_page
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
            name="quality-scan",
            about=Text(
                zh="对检验结果检查 20 条规则（含唯一性）：按机构和月份计数并定位问题行，与手写的一条 SQL 及 "
                "pointblank、pandera 对比",
                en="twenty rules (one of them uniqueness) asked of laboratory results, with counts and the "
                "failing rows, beside one statement written by hand, pointblank and pandera",
            ),
            size=10_000_000,
            counted="rows",
            run=quality_scan,
        ),
        Benchmark(
            name="quality-scan-spark",
            about=Text(
                zh="同样的 20 条规则在 Spark（两个执行进程）与 DuckDB 上各算一遍：结果相等，比较每核速度",
                en="the same twenty rules on Spark (two processes) and on DuckDB: equal results, speed per "
                "processor",
            ),
            size=4_000_000,
            counted="rows",
            run=quality_scan_spark,
        ),
        Benchmark(
            name="findings",
            about=Text(
                zh="同样的规则，一成的行有问题：定位问题行与只计数的用时对比",
                en="the same rules where a tenth of the rows is defective: with their places, and without",
            ),
            size=10_000_000,
            counted="rows",
            run=findings,
        ),
        Benchmark(
            name="front-page-rules",
            about=Text(
                zh="首页的全部规则（单行、文件内、全区域；只需首页和机构目录的）一次检查完并定位",
                en="all rules of the front page that need but front pages and the directory, with places",
            ),
            size=1_000_000,
            counted="rows",
            run=front_page_rules,
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
        Benchmark(
            name="hl7-files",
            about=Text(
                zh="从文件采集 HL7 v2 报文：解析、归并居民、存档案、入湖、审计，全部持久提交",
                en="HL7 v2 messages out of a file: parsed, persons linked, recorded, in the lake, audited, "
                "durable",
            ),
            size=10_000,
            counted="persons in the index",
            run=hl7_files,
        ),
        Benchmark(
            name="mllp",
            about=Text(
                zh="同样的报文经 MLLP 的 8 个连接逐条发送，每条等到应答",
                en="the same messages over MLLP on eight connections, each waiting for its acknowledgement",
            ),
            size=10_000,
            counted="persons in the index",
            run=mllp,
        ),
        Benchmark(
            name="fhir-create",
            about=Text(
                zh="经 HTTP 的 8 个连接新建 FHIR 资源：授权、校验、持久提交并审计",
                en="FHIR resources created over HTTP on eight connections: authorised, checked, durable, "
                "audited",
            ),
            size=10_000,
            counted="persons in the index",
            run=fhir_create,
        ),
        Benchmark(
            name="fhir-read",
            about=Text(
                zh="经 HTTP 的 8 个连接按 id 读取 FHIR 资源，每次读取都经授权并记入审计",
                en="FHIR resources read by id over HTTP on eight connections, each authorised and audited",
            ),
            size=10_000,
            counted="persons in the index",
            run=fhir_read,
        ),
        Benchmark(
            name="bundles",
            about=Text(
                zh="从文件采集 FHIR transaction Bundle，每个 Bundle 是一个人的一生",
                en="FHIR transaction Bundles out of files, a whole life in each",
            ),
            size=10_000,
            counted="persons in the index",
            run=bundles,
        ),
        Benchmark(
            name="timeline",
            about=Text(
                zh="打开有 20 年、5,000 条资源的居民档案首页（100 条，含各项计数、授权与审计）",
                en="the first page of a record of twenty years and 5,000 resources: 100 entries, counts, "
                "grant and audit",
            ),
            size=10_000,
            counted="persons in the index",
            run=timeline_page,
        ),
        Benchmark(
            name="card-scan",
            about=Text(
                zh="8 个连接扫电子健康卡动态码：解密、防重放、跟随合并、脱敏、审计、持久提交",
                en="dynamic codes of health cards scanned on eight connections: decrypted, marked, merges "
                "followed, masked, audited, committed durably",
            ),
            size=50_000,
            counted="cards",
            run=card_scan,
        ),
        Benchmark(
            name="card-batch",
            about=Text(
                zh="批量预生成电子健康卡：归并居民、编号、加密、持久提交",
                en="health cards made from a list: persons linked, numbered, sealed, committed durably",
            ),
            size=50_000,
            counted="cards",
            run=card_batch,
        ),
        Benchmark(
            name="result-peak",
            about=Text(
                zh="高峰时居民经 HTTP 申请动态码，每秒 1,944 次，均验签、防重放、写审计；583,200 次即五分钟",
                en="residents ask for their code over HTTP at the peak, 1,944 a second, each signed, checked "
                "against replay and audited; 583,200 are five minutes",
            ),
            size=40_000,
            counted="requests",
            run=result_peak,
        ),
        Benchmark(
            name="plausibility",
            about=Text(
                zh="模拟区域中整月异常（骤降、缺月、重复、照抄上月等）和逐行错误的查全率与查准率",
                en="recall and precision over a simulated region: months wrong as a whole, errors of rows",
            ),
            size=8_000,
            counted="residents",
            run=plausible_months,
        ),
        Benchmark(
            name="match-one",
            about=Text(
                zh="在人员索引中逐条匹配一条登记；另测匹配、登记、事件与持久提交合计用时",
                en="one registration matched against the person index; also with insert, link, event and "
                "durable commit",
            ),
            size=100_000,
            counted="registrations in the index",
            run=match_one,
        ),
        Benchmark(
            name="link-online",
            about=Text(
                zh="多个连接同时把登记归并到人员索引，持久提交",
                en="registrations linked to the person index over several connections, durable",
            ),
            size=50_000,
            counted="registrations in the index",
            run=link_online,
        ),
        Benchmark(
            name="link-batch",
            about=Text(
                zh="批量归并带大量错误的居民登记：规范化、用现有模型归并、先训练再归并的用时，以及与真相对比的准确率",
                en="registrations full of errors linked in batch: normalised, with the stored model, with a "
                "trained one, and how right that is",
            ),
            size=1_000_000,
            counted="records",
            run=link_batch,
        ),
    )
}

__all__ = ["BENCHMARKS", "Benchmark", "Measurement"]
