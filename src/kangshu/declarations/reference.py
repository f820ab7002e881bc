"""The reference page of each data set, written from its declaration alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kangshu.declarations.fhir import FhirField, FhirResource
from kangshu.declarations.model import CodeTable, Dataset, Field, FieldType, Obligation, Pack, Rule
from kangshu.declarations.quality import Measure
from kangshu.declarations.quality_reference import quality_page

_OBLIGATIONS = {
    Obligation.REQUIRED: "必填 required",
    Obligation.CONDITIONAL: "条件 conditional",
    Obligation.OPTIONAL: "选填 optional",
}


def reference_pages(pack: Pack) -> dict[str, str]:
    """Return the Markdown pages of a pack by path: one for each data set, their index, and quality."""
    pages = {
        f"datasets/{dataset.name}.md": "\n".join(_dataset_page(dataset, pack))
        for dataset in pack.datasets.values()
    }
    pages["datasets/README.md"] = "\n".join(_index(pack))
    pages["quality.md"] = "\n".join(quality_page(pack))
    return pages


def _index(pack: Pack) -> Iterator[str]:
    yield f"# 数据集 Data sets of {pack.title.zh} ({pack.edition})"
    yield ""
    yield "Written by `kangshu datasets reference` from the declarations; do not edit."
    yield ""
    yield "| 数据集 | data set | 名称 name | 字段 fields | 规则 rules | FHIR | 标准 source |"
    yield "|---|---|---|---:|---:|---|---|"
    for dataset in pack.datasets.values():
        link = f"[{dataset.title.zh}]({dataset.name}.md)"
        figures = f"{len(dataset.fields)} | {len(dataset.rules)} | {_anchor(dataset)}"
        yield f"| {link} | {dataset.title.en} | `{dataset.name}` | {figures} | {_cell(dataset.source)} |"
    yield ""


def _dataset_page(dataset: Dataset, pack: Pack) -> Iterator[str]:
    yield f"# {dataset.title.zh} {dataset.title.en}"
    yield ""
    yield "Written by `kangshu datasets reference` from the declaration; do not edit."
    yield ""
    yield dataset.description.zh
    yield ""
    yield dataset.description.en
    yield ""
    yield f"- 名称 name: `{dataset.name}` · 版本 edition: {dataset.edition}"
    yield f"- 起用 valid from: {dataset.valid_from}"
    yield f"- 标准 source: {dataset.source}"
    if dataset.key:
        yield f"- 主键 key: {', '.join(f'`{name}`' for name in dataset.key)}"
    if dataset.event_time:
        yield f"- 业务时间 event time: `{dataset.event_time}`"
    if dataset.absent_marks:
        marks = " ".join(f"`{mark}`" for mark in dataset.absent_marks)
        yield f"- 表示“无”的写法 cells that state none: {marks}"
    yield ""
    yield from _field_table(dataset)
    yield from _rule_table(dataset)
    yield from _looks(dataset)
    yield from _measures(dataset)
    yield from _mapping(dataset)
    yield from _code_tables(dataset, pack)


def _field_table(dataset: Dataset) -> Iterator[str]:
    yield f"## 字段 Fields ({len(dataset.fields)})"
    yield ""
    yield "| # | 代码 code | 中文名 | name | 填报 obligation | 类型 type | 代码表 value set | 说明 note |"
    yield "|---:|---|---|---|---|---|---|---|"
    for number, field in enumerate(dataset.fields, start=1):
        note = " ".join(one for one in (field.note.zh, field.note.en) if one)
        value_set = f"[{field.value_set}](#{field.value_set})" if field.value_set else ""
        yield (
            f"| {number} | {field.code or ''} | {field.title.zh} | `{field.name}` {field.title.en} "
            f"| {_OBLIGATIONS[field.obligation]} | {_shape(field)} | {value_set} | {_cell(note)} |"
        )
    yield ""


def _rule_table(dataset: Dataset) -> Iterator[str]:
    if not dataset.rules:
        return
    yield f"## 规则 Rules ({len(dataset.rules)})"
    yield ""
    yield "| 规则 rule | 级别 severity | 维度 dimension | 范围 scope | 要求 | demands | 条件 predicate |"
    yield "|---|---|---|---|---|---|---|"
    for rule in dataset.rules:
        yield (
            f"| {rule.id} | {rule.severity} | {rule.dimension} | {rule.scope} | {_cell(rule.message.zh)} "
            f"| {_cell(rule.message.en)} | {_predicate(rule)} |"
        )
    yield ""


def _looks(dataset: Dataset) -> Iterator[str]:
    rules = [rule for rule in dataset.rules if rule.looks]
    if not rules:
        return
    yield "## 关联查询 Looks at other rows"
    yield ""
    yield "`here.x` 是规则所在的行 is the rule's own row · `name.rows` 是关联到的行数 counts the rows found"
    yield ""
    yield "| 规则 rule | 名称 name | 数据集 data set | 关联 on | 条件 where | 取值 take |"
    yield "|---|---|---|---|---|---|"
    for rule in rules:
        for look in rule.looks:
            on = "<br>".join(f"`{_cell(own)}` = `{_cell(theirs)}`" for own, theirs in look.on)
            take = "<br>".join(f"`{name}` = `{_cell(sql)}`" for name, sql in look.take)
            where = f"`{_cell(look.where)}`" if look.where else ""
            link = f"[{look.dataset}]({look.dataset}.md)"
            yield f"| {rule.id} | `{look.name}` | {link} | {on} | {where} | {take} |"
    yield ""


def _measures(dataset: Dataset) -> Iterator[str]:
    if not dataset.measures:
        return
    yield f"## 度量 Measures ({len(dataset.measures)})"
    yield ""
    yield "每机构每月的数，供范围为 cell 的规则使用。Figures of a month, for rules of scope cell."
    yield ""
    yield "| 名称 name | | | 算法 how |"
    yield "|---|---|---|---|"
    for measure in dataset.measures:
        of = measure.share_of
        titles = f"{_cell(measure.title.zh)}{f'（占{_cell(of.zh)}）' if of else ''} | "
        titles += f"{_cell(measure.title.en)}{f' (of {_cell(of.en)})' if of else ''}"
        yield f"| `{measure.name}` | {titles} | {_how(measure)} |"
    yield ""


def _how(measure: Measure) -> str:
    if measure.sql:
        return f"`{_cell(measure.sql)}`"
    alike = ", ".join(f"`{_cell(sql)}`" for sql in measure.fingerprint)
    return f"{measure.months_back} 个月前同样的 as {measure.months_back} month(s) before: {alike}"


def _anchor(dataset: Dataset) -> str:
    if not dataset.fhir:
        return ""
    return dataset.fhir[0].type if dataset.fhir[0].messages else f"({dataset.fhir[0].type})"


def _mapping(dataset: Dataset) -> Iterator[str]:
    if not dataset.fhir:
        return
    yield "## FHIR 映射 Mapping to FHIR R4"
    yield ""
    first = dataset.fhir[0].type
    if dataset.fhir[0].messages:
        yield f"消息中的每个 {first} 成为一行；每一行显示为 {first}。"
        yield ""
        yield f"Each {first} of a message is a row; a row shows as one."
    else:
        yield f"每一行显示为 {first}；消息不成为本数据集的行。"
        yield ""
        yield f"A row shows as {first}; messages make no rows of this data set."
    yield ""
    yield "`?` 只读 only read · `!` 只写 only written · `$name` 见 see `fhir.toml`"
    yield ""
    roles = [f"`{field.name}`" for field in dataset.fields if field.role and not _is_placed(dataset, field)]
    if roles:
        yield f"按角色取自机构、患者 by role, from the sender and the Patient: {', '.join(roles)}"
        yield ""
    titles = {field.name: field.title.zh for field in dataset.fields}
    for resource in dataset.fhir:
        yield from _resource(resource, titles)


def _is_placed(dataset: Dataset, field: Field) -> bool:
    return any(place.name == field.name for resource in dataset.fhir for place in resource.fields)


def _resource(resource: FhirResource, titles: Mapping[str, str]) -> Iterator[str]:
    yield f"### {resource.type} · `{resource.name}`"
    yield ""
    facts = [
        ("每行有多个 several for one row", "`each`" if resource.each else ""),
        ("被引用于 referred to by", _quoted(resource.texts["referred"])),
        ("引用 refers by", _quoted(resource.texts["refers"])),
        ("所属 linked with", f"`{resource.parent}`" if resource.parent else ""),
        ("条件 when", "; ".join(f"`{one.text}`" for one in resource.when)),
        ("撤销 withdrawn", "; ".join(f"`{one.text}`" for one in resource.withdrawn)),
        ("至少一项 one of", ", ".join(f"`{name}`" for name in resource.one_of)),
        ("常量 constants", "; ".join(f"`{one.text}`" for one in resource.constants)),
    ]
    for title, text in facts:
        if text:
            yield f"- {title}: {text}"
    yield ""
    if resource.fields:
        yield "| 字段 field | | 位置 places |"
        yield "|---|---|---|"
        for place in resource.fields:
            yield f"| `{place.name}` | {titles[place.name]} | {_terms(place)} |"
        yield ""


def _terms(place: FhirField) -> str:
    return "<br>".join(f"`{_cell(term.text)}`" for term in place.terms)


def _quoted(text: str) -> str:
    return f"`{text}`" if text else ""


def _code_tables(dataset: Dataset, pack: Pack) -> Iterator[str]:
    names = dict.fromkeys(field.value_set for field in dataset.fields if field.value_set)
    if not names:
        return
    yield "## 代码表 Code tables"
    yield ""
    for name in names:
        yield from _code_table(pack.codes[name])


def _code_table(table: CodeTable) -> Iterator[str]:
    yield f"### {table.name}"
    yield ""
    part = "" if table.complete else " · 仅为样例 a sample only, not enforced"
    yield f"{table.title.zh} {table.title.en} · {table.edition}{part}"
    yield ""
    shown = table.codes[:60]
    more = f" … ({len(table.codes)})" if len(table.codes) > len(shown) else ""
    yield "; ".join(f"`{code.code}` {_cell(code.title.zh)}" for code in shown) + more
    yield ""


def _shape(field: Field) -> str:
    parts = [str(field.type)]
    if field.type is FieldType.DECIMAL:
        parts.append(f"({field.length},{field.scale})")
    elif field.length:
        parts.append(f"{'=' if field.exact_length else '≤'}{field.length}")
    if field.minimum is not None or field.maximum is not None:
        low = "" if field.minimum is None else f"{field.minimum:g}"
        high = "" if field.maximum is None else f"{field.maximum:g}"
        parts.append(f"[{low}..{high}]")
    if field.unit:
        parts.append(field.unit)
    if field.repeat > 1:
        parts.append(f"×{field.repeat}")
    return _cell(" ".join(parts))


def _predicate(rule: Rule) -> str:
    if rule.unique:
        return _cell("unique " + ", ".join(f"`{name}`" for name in rule.unique))
    parts = [f"`{_cell(rule.sql)}`"]
    if rule.applies:
        parts.append(f"适用 applies: `{_cell(rule.applies)}`")
    if rule.suspects:
        parts.append(f"可疑 suspects: `{_cell(rule.suspects)}`")
    return "<br>".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
