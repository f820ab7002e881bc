"""Rows with awkward values and expressions over them, to be computed on both engines; nobody's data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

SHAPE = (
    ("n", "BIGINT"),
    ("i", "BIGINT"),
    ("k", "BIGINT"),
    ("d", "DECIMAL(12,2)"),
    ("e", "DECIMAL(18,4)"),
    ("f", "DOUBLE"),
    ("s", "VARCHAR"),
    ("p", "VARCHAR"),
    ("digits", "VARCHAR"),
    ("codes", "VARCHAR"),
    ("a", "DATE"),
    ("b", "DATE"),
    ("t", "TIMESTAMP"),
    ("u", "TIMESTAMP"),
    ("y", "BOOLEAN"),
    ("z", "BOOLEAN"),
    ("xs", "VARCHAR[]"),
    ("ns", "BIGINT[]"),
)

_TEXTS = [
    "", " ", "-", "—", "a", "A", "abc", "abc\n", "\nabc", "a\r", "a\u2028b", "中", "中国人民", "中I10", "I10中", "I10 ",
    "王小明", "é", "Z37.2", "Z37.200", "x Z37.0", "O80", "中O80", "N40.x00", "I63.900x007", "A17.000+G01*", "36.0700x004",
    "a%b", "a_b", "a\\b", "a\\%b", "\\", "'", '"', "`", "$1", "^a$", "(a)", "[a]", "{a}", "a|b", "a.b", "\t", "a\tb", "\u3000中\u3000",
    "\u00a0x\u00a0", "\x0bx", "𠮷野家", "👩‍⚕️", "true", "T", "yes", "no", "0", "1", "on", " true", "ABC", "aBc", "aaa", "abab", "b c d", "b  c",
    "100200", "2026-01-05", "T88.6", "T88.600", "S06.000", "M80100/3", "010101", "０１２", "Ａ", "a中b国c",
]  # fmt: skip
_NUMBERS = [
    "0", "1", "-1", "+5", " 12 ", "1.5", "2.5", "-1.5", "-2.5", "1e3", "1e-1", "1.5e1", "1.55e1", "1_000", "0x1F", "0b101", "",
    "1.", ".5", "-", "12a", "１２", "99999999999", "2147483647", "2147483648", "2147483647.4", "2147483647.5", "-2147483648",
    "9223372036854775807", "9223372036854775808", "12\t", "\n12", "1e", "001", "- 1", "--1", "true", "inf", "-inf", "nan", "NaN", "Infinity",
    "1d", "1f", ".", "1_0.5", "1__0", "_1", "1_", "123456789.125", "1.005", "-1.005", "0.125", "1e18", "1e19", "1e20", "1e300", "1e-300", "1e400",
    "11010519491231002", "20260305", "19491231", "0000", "2026-1-5", "2026-01-05", "2026/01/05", "2026-02-30", "2026-13-01", "2026-01",
    "20260105", " 2026-01-05 ", "2026-01-05 10:00", "2026-01-05T10:00:00", "2026-01-05 10:00:00.5", "2026-01-05 25:00:00", "2026-01-05 10",
    "2026-01-05 10:00:61", "1-1-1", "0001-01-01", "2026-1/5", "2026-01-05 abc", "2026-01-05T1", "2026-01-05  ", "2026-01-05-1", "\t2026-01-05",
    "2026\\01\\05", "2026 01 05", "2026-01-05\n", "2026-01-05 10:00:00 ", "2026-01-05  10:00:00", "2026-01-05 24:00:00",
    "2026-01-05 24:00:01", "2026-01-05 1:2", "2026-01-05 10:00:00.", "2026-01-05 10:00:00.1234567891", "2026-01-05 10:00Z", "2026-01-05 10:00:00Z",
    "2026-01-05 10:00:00+08:00", "2026-01-5 3:04:05", "02026-01-05", "2026-001-05",
]  # fmt: skip
_CODES = [
    "", "-", "I10", "I10 I10", "I63.900 I63.900x007 -", "I64.x00 A17.000+G01*", "I63.900 中", "- -", "— —", "Z37.0", "O80", "C61 N40",
    "N80", "C51.000 -", "I10\n", "I10 ", " I10", "36.0700 36.0700x004", "17.912A0", "74.1x01", "1", "39.5000 37.3400", "I63.900 I63.900",
    "A00 B00 C00", "T88.6", "S06.000", "a\u00a0b", "V01", "D48.9", "D49", "t99", "U07.100",
]  # fmt: skip


def make_rows(count: int = 600) -> pa.Table:
    """Return rows of all the awkward values in changing company."""
    dice = random.Random(20261122)
    rows: list[dict[str, Any]] = []
    for number in range(count):

        def some(values: Sequence[Any], *, absent: float = 0.12) -> Any:
            return None if dice.random() < absent else dice.choice(values)

        day = date(2026, 1, 1) + timedelta(days=dice.randint(-40000, 4000))
        moment = datetime(2026, 1, 1) + timedelta(
            seconds=dice.randint(-(10**9), 10**8), microseconds=dice.choice([0, 1, 500_000, 999_999])
        )
        near = moment + timedelta(minutes=dice.randint(-200000, 200000))
        cents = dice.choice([0, 1, -1, 5, 50, 150, 250, -250, 1050, 99, 10**9, dice.randint(-(10**9), 10**9)])
        rows.append(
            {
                "n": number,
                "i": some([0, 1, -1, 2, 7, -7, 100, 365, 20260305, 2**31 - 1, 2**31, -(2**31), dice.randint(-9999, 9999)]),
                "k": some([1, 2, 3, 0, -3, 10, 50]),
                "d": some([Decimal(cents).scaleb(-2)]),
                "e": some([Decimal(dice.randint(-10**9, 10**9)).scaleb(-4), Decimal("0.5000"), Decimal("1.5000"), Decimal("2.5000")]),
                "f": some([0.0, 0.5, 1.5, 2.5, -2.5, 1e10, -1e-7, 2.345, 1.005, float("nan"), float("inf"), dice.uniform(-1000, 1000)]),
                "s": _TEXTS[number % len(_TEXTS)] if number % 9 else None,
                "p": some(_TEXTS),
                "digits": _NUMBERS[number % len(_NUMBERS)] if number % 11 else None,
                "codes": _CODES[number % len(_CODES)] if number % 13 else None,
                "a": some([day, date(2024, 2, 29), date(2023, 12, 31), date(2024, 1, 1), date(1970, 1, 1)]),
                "b": some([day + timedelta(days=dice.randint(-800, 800)), date(2025, 2, 28), date(2024, 2, 29)]),
                "t": some([moment, datetime(2024, 2, 29, 23, 59, 59, 999_999), datetime(1969, 12, 31, 23, 59, 59)]),
                "u": some([near, datetime(2024, 3, 1)]),
                "y": some([True, False]),
                "z": some([True, False]),
                "xs": some([[], ["a"], ["a", None, "b"], [None], ["b", "a", "a"], ["I10", "-", "中"], ["中", "", "中"]]),
                "ns": some([[], [1], [3, None, 2], [None], [5, 5, -1], list(range(10))]),
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_schema())


def _schema() -> pa.Schema:
    kinds = {
        "BIGINT": pa.int64(),
        "DECIMAL(12,2)": pa.decimal128(12, 2),
        "DECIMAL(18,4)": pa.decimal128(18, 4),
        "DOUBLE": pa.float64(),
        "VARCHAR": pa.string(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "BOOLEAN": pa.bool_(),
        "VARCHAR[]": pa.list_(pa.string()),
        "BIGINT[]": pa.list_(pa.int64()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in SHAPE])


VALUES = """
i // 7 | i // -3 | i // k | i / 4 | i / k | d / 3 | d / k | f / 2 | d / d | i % 7 | i % k | d % 3
i + 1 | i - k | i * 3 | d + i | d - e | d * 2 | d * e | -d | f + d | f * 2.5 | abs(i) | abs(d) | sign(d) | -i
i & 7 | i | 8 | xor(i, 5) | ~i | 1::BIGINT << 40 | i >> 2 | bit_count(i)
round(d) | round(d, 1) | round(e, 2) | floor(d) | ceil(d) | floor(f) | ceil(f) | round(f) | floor(e) | round(e)
sqrt(abs(f)) | ln(abs(i) + 1) | log(abs(i) + 1) | exp(k / 10) | pow(k, 2) | power(2, k) | log2(abs(k) + 1)
greatest(i, k) | least(i, k, NULL) | greatest(d, i) | least(s, p) | greatest(a, b) | greatest(s, p)
coalesce(i, 0) | coalesce(d, 0.00) | ifnull(s, '') | nullif(i, 1) | nullif(s, '') | coalesce(s, p, 'x') | coalesce(a, b)
if(y, i, k) | if(i > 0, s, p) | CASE WHEN i > 0 THEN d WHEN k > 0 THEN i ELSE 0 END | CASE k WHEN 1 THEN 'a' WHEN 2 THEN 'b' END
CASE s WHEN 'a' THEN p END | CASE WHEN y THEN a ELSE b END | i IS NULL | y IS TRUE | y IS NOT FALSE | y IS NOT NULL
y AND z | y OR z | NOT y | (i > 0) = y | i = k | i <> k | i IS DISTINCT FROM k | i IS NOT DISTINCT FROM k | i < d | d >= f | f > 1.5
i BETWEEN 0 AND 100 | d BETWEEN -5 AND i | a BETWEEN DATE '1990-01-01' AND b | s BETWEEN 'A' AND 'b' | i NOT BETWEEN k AND 10
i IN (1, 2, NULL) | i NOT IN (1, 2) | s IN ('a', '中') | s NOT IN ('', '-', '—') | d IN (0.5, 1, 2.50) | a IN (DATE '2024-02-29')
s = p | s < p | s || p | s || i | s || NULL | s || d | '中' || s | s || y | s || a
length(s) | len(s) | char_length(s) | upper(codes) | lower(codes) | upper('中ａb') | trim(s) | ltrim(s) | rtrim(s) | rtrim(digits, '0') | ltrim(s, 'ab')
substr(s, 1, 2) | substr(s, 2) | substr(s, 0, 2) | substr(s, -2, 1) | substr(s, -5, 3) | substr(s, 2, k) | substr(s, k, 2) | substr(s, k)
substr(s, 1, length(s) - 1) | substr(s, 3, -2) | substring(s, 1, 1) | s[1] | s[2] | s[-1] | left(s, 2) | right(s, 1) | repeat(s, 2)
replace(s, 'a', '中') | replace(s, '', 'x') | replace(s, '\\', '/') | lpad(s, 5, '*') | rpad(s, 3, '中') | translate(s, 'ab', 'xy')
starts_with(s, 'a') | starts_with(s, p) | ends_with(s, '*') | contains(s, 'a') | contains(s, p) | prefix(s, '中') | suffix(s, 'c')
instr(s, 'b') | strpos(s, '国') | position('c' IN s) | instr(s, '') | instr(s, p) | ascii(s) | chr((abs(k) + 20000)::INTEGER) | chr(50 - ascii(s) % 2) | chr(65)
s LIKE 'a%' | s LIKE '%中_' | s LIKE 'a\\%' | s LIKE 'a\\_b' | s LIKE '\\' | s LIKE 'a\\%%' ESCAPE '\\' | s LIKE 'a!%b' ESCAPE '!' | s ILIKE 'ABC%' | s NOT LIKE '%a%'
concat(s, p) | concat(s, 'x', i) | concat_ws(' ', s, p) | concat_ws('-', s, i, d) | concat_ws(' ', s, NULL, '')
md5(s) | md5_number_lower(s) | md5_number_upper(s) | sha256(s) | md5_number_lower(s || p)
regexp_matches(s, 'a') | regexp_matches(s, '^a') | regexp_matches(s, 'c$') | regexp_matches(s, '\\bI') | regexp_matches(s, 'I10\\b') | regexp_matches(s, '\\B1')
regexp_matches(s, '.') | regexp_matches(s, '^.$') | regexp_matches(s, '\\s') | regexp_matches(s, '^\\S+$') | regexp_matches(s, '\\w') | regexp_matches(s, '\\W') | regexp_matches(s, '\\d')
regexp_matches(s, 'A', 'i') | regexp_matches(s, '(?i)B') | regexp_matches(s, 'a(?i)B') | regexp_matches(s, '^a.b', 's') | regexp_matches(s, '[[:alpha:]]') | regexp_matches(s, '[^[:ascii:]]') | regexp_matches(s, '\\p{Han}')
regexp_matches(s, '[\\[\\]]') | regexp_matches(s, '[a&&b]') | regexp_matches(s, '[]a]') | regexp_matches(s, '[^]a]') | regexp_matches(s, '\\x{4e2d}') | regexp_matches(s, '[\\x{4e00}-\\x{9fff}]{2}') | regexp_matches(s, '[\\w%]') | regexp_matches(s, '[^\\s]')
regexp_matches(s, '\\Qa.b\\E') | regexp_matches(s, 'a{2}') | regexp_matches(s, '{a}') | regexp_matches(s, '(?:a|b)+') | regexp_matches(s, '(?P<x>a)b') | regexp_matches(s, '\\v') | regexp_matches(s, '\\A\\z') | regexp_matches(s, '')
regexp_full_match(s, '[a-z]+') | regexp_full_match(s, 'a|abc') | regexp_full_match(s, '\\d{6}') | regexp_full_match(s, '.*') | s ~ 'a.*' | s SIMILAR TO 'a.*' | s !~ 'a.*' | regexp_full_match(codes, '(([A-Z]\\d{2})( |$))*')
regexp_extract(s, '[0-9]+') | regexp_extract(s, '([A-Z])(\\d)', 2) | regexp_extract(s, 'z') | regexp_replace(s, 'a', '中') | regexp_replace(s, '[ab]', 'x', 'g') | regexp_replace(s, '^', 'x') | regexp_replace(s, '\\s+$', '')
string_split(s, ' ') | string_split(s, 'b') | string_split(s, '中') | string_split(s, '.') | len(string_split(codes, ' ')) | string_split(codes, ' ')[1] | array_to_string(xs, ' ') | array_to_string(xs, '')
year(a) | month(a) | day(a) | year(t) | hour(t) | minute(t) | second(t) | quarter(a) | dayofweek(a) | isodow(a) | week(a) | dayofyear(t) | dayofmonth(t)
extract(year FROM t) | extract(dow FROM a) | date_part('month', t) | date_part('doy', a) | extract(epoch FROM t) | epoch(t) | epoch(a) | epoch_ms(t) | last_day(a) | last_day(t) | make_date(2024, 2, 29)
date_trunc('month', t) | date_trunc('month', a) | date_trunc('year', t) | date_trunc('week', t) | date_trunc('day', t) | date_trunc('hour', t) | date_trunc('quarter', a)
date_diff('day', a, b) | date_diff('day', t, u) | date_diff('month', t, u) | date_diff('year', a, b) | date_diff('hour', t, u) | date_diff('minute', t, u) | date_diff('second', t, u) | date_diff('quarter', a, b) | datediff('day', a, t::DATE)
a - b | t::DATE - a | a - 1 | a + k::INTEGER | b - k::INTEGER | a + INTERVAL 1 DAY | a + INTERVAL 1 MONTH | t + INTERVAL 3 MONTHS | t - INTERVAL 2 HOURS | t + INTERVAL (k) DAY | t + to_days(k) | u - INTERVAL 1 YEAR | t + INTERVAL 1 WEEK | t + INTERVAL 90 SECONDS
t <= u + INTERVAL 30 DAY | t - u <= INTERVAL 30 DAY | t - u > INTERVAL 2 HOUR | t = a | a <= t | t::DATE = a | a < '2000-01-01' | t >= '2020-01-01' | t >= TIMESTAMP '2020-01-01 10:00:00' | epoch(t) - epoch(u) | (a - b) // 365 | (year(a) * 10000 + month(a) * 100 + day(a)) // 10000
strftime(t, '%Y-%m-%d %H:%M:%S') | strftime(a, '%Y%m') | strftime(a, '%Y年%m月%d日')
i::VARCHAR | d::VARCHAR | e::VARCHAR | y::VARCHAR | a::VARCHAR | t::VARCHAR | y::INTEGER | y::BIGINT | i::DOUBLE | d::DOUBLE | d::INTEGER | e::BIGINT | try_cast(f AS INTEGER) | try_cast(f AS BIGINT) | try_cast(i AS INTEGER) | try_cast(d AS TINYINT) | i::BOOLEAN | d::BOOLEAN | t::DATE | a::TIMESTAMP | i::DECIMAL(18,2) | e::DECIMAL(18,1) | try_cast(d AS DECIMAL(5,1)) | d::DECIMAL(20,4) | k::HUGEINT | s::VARCHAR(10)
try_cast(digits AS INTEGER) | try_cast(digits AS BIGINT) | try_cast(digits AS DOUBLE) | try_cast(digits AS DECIMAL(8,2)) | try_cast(digits AS DECIMAL(18,0)) | CASE WHEN digits NOT ILIKE '%inf%' THEN try_cast(digits AS DATE) END | CASE WHEN digits NOT ILIKE '%inf%' THEN try_cast(digits AS TIMESTAMP) END | try_cast(s AS BOOLEAN) | try_cast(digits AS BOOLEAN) | try_cast(substr(digits, 1, 3) AS INTEGER) | try_cast(digits AS SMALLINT)
TRY(digits::INTEGER) | TRY(i * 9223372036854775807) | TRY(digits::INTEGER + 1) > 3 | TRY(i + 9223372036854775800)
xs[1] | xs[2] | xs[-1] | xs[k] | ns[1] | len(xs) | length(xs) | array_length(ns) | list_contains(xs, 'a') | list_contains(xs, s) | list_contains(ns, NULL) | list_position(xs, 'a') | list_position(ns, 5) | list_position(xs, NULL) | contains(xs, '中')
list_transform(ns, lambda x: x + 1) | list_transform(ns, lambda x, place: x * place) | list_filter(ns, lambda x: x > 1) | list_filter(xs, lambda x, place: place > 1) | list_filter(xs, lambda x: x = s) | list_transform(xs, lambda x: length(x)) | len(list_filter(xs, lambda x: x IS NULL))
list_min(ns) | list_max(ns) | list_max(xs) | list_sum(ns) | list_sort(list_distinct(ns)) | len(list_distinct(xs)) | list_unique(xs) | list_sort(ns) | list_has_any(ns, [1, 2]) | list_has_any(xs, ['a']) | list_concat(ns, [7]) | ns || [8] | [i, k] | [s, 'x'][2] | list_transform([i], lambda n: n + n)[1] | list_first(xs) | list_last(ns) | len([1, 2, 3])
1.5 | 100 | 1e3 | 'a\\nb' | 'it''s' | -5 | .5 | 9223372036854775807 | true | NULL | 0.1 + 0.2 | 3000000000 | DATE '2026-01-05' | TIMESTAMP '2026-01-05 10:00:00'
"""
"""Expressions over one row, parted by ` | ` (a bitwise or among them is written without blanks)."""


def expressions() -> list[str]:
    """Return the expressions of `VALUES`, one by one."""
    found: list[str] = []
    for line in VALUES.replace("\\\\", "\\").strip().splitlines():
        parts = line.split(" | ")
        found += [part.strip() for part in parts]
    return found


AGGREGATES = [
    "count(*)", "count(i)", "count(DISTINCT s)", "count(DISTINCT k) FILTER (WHERE y)", "count(*) FILTER (WHERE i > 0)", "sum(k)", "sum(d)", "sum(e)",
    "sum(y::INTEGER)", "sum(y)", "sum(i) FILTER (WHERE z)", "avg(k)", "avg(d)", "avg(e)", "min(i)", "max(s)", "min(a)", "max(t)", "min(d)", "bool_and(y)",
    "bool_or(y)", "bit_or(k)", "bit_and(abs(k))", "bit_or(CASE WHEN y THEN 1::BIGINT << 3 ELSE 0 END)", "stddev(k)", "stddev_pop(d)", "var_samp(k)",
    "quantile_cont(k, 0.5)", "quantile_cont(k, 0.25) FILTER (WHERE y)", "quantile_cont(d, 0.5)", "quantile_cont(d::DOUBLE, 0.9)", "median(k)", "median(d)",
    "quantile_disc(k, 0.5)", "quantile_cont(k, [0.1, 0.5])",
    "count_if(y)", "max_by(n, i * 1000 + n)", "arg_min(n, CASE WHEN y THEN n END)", "sum(CASE WHEN y THEN d ELSE 0 END)", "count(*) // 7", "count(i) / count(*)",
    "sum(d) / nullif(count(*), 0)", "avg(length(s))", "list(n) FILTER (WHERE n % 50 = 0 AND n < 0)", "len(list(n))", "len(list(i))", "string_agg(DISTINCT p, ',' ORDER BY p)",
    "string_agg(s, ',' ORDER BY n)", "max(y::INTEGER)", "sum(DISTINCT k)", "coalesce(sum(d), 0.00)", "max(list_max(ns))", "list(n ORDER BY n)",
]  # fmt: skip

WINDOWS = [
    "count(*) OVER (PARTITION BY k)", "count(*) OVER (PARTITION BY s, y)", "row_number() OVER (PARTITION BY k ORDER BY n)", "rank() OVER (PARTITION BY y ORDER BY i)",
    "dense_rank() OVER (ORDER BY k DESC)", "lag(n) OVER (PARTITION BY k ORDER BY n)", "lead(s, 2) OVER (ORDER BY n)", "lag(i, 1, 0) OVER (PARTITION BY y ORDER BY n)",
    "sum(k) OVER (PARTITION BY y ORDER BY n ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)", "max(i) OVER (PARTITION BY k)", "count(*) FILTER (WHERE y) OVER (PARTITION BY k)",
    "sum(i) FILTER (WHERE z) OVER (PARTITION BY k)", "count(DISTINCT s) OVER (PARTITION BY k)", "first_value(n) OVER (PARTITION BY k ORDER BY n)",
    "last_value(i IGNORE NULLS) OVER (PARTITION BY k ORDER BY n)", "lag(i IGNORE NULLS) OVER (ORDER BY n)", "quantile_cont(k, 0.5) OVER (PARTITION BY y)",
    "avg(d) OVER (PARTITION BY k)", "min(t) OVER (PARTITION BY k ORDER BY t)", "count(*) OVER (PARTITION BY k ORDER BY a RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW)",
    "ntile(4) OVER (ORDER BY n)", "percent_rank() OVER (ORDER BY n)", "rank() OVER w",
]  # fmt: skip

QUERIES = [
    "SELECT k, count(*) AS c FROM rows GROUP BY k HAVING count(*) > 50",
    "SELECT k, y, count(*) FROM rows GROUP BY ALL",
    "SELECT k + 1 AS g, sum(i) FROM rows WHERE g > 2 GROUP BY g",
    "SELECT k, y, sum(i) AS s FROM rows GROUP BY ROLLUP (k, y)",
    "SELECT k, y, count(*) FROM rows GROUP BY GROUPING SETS ((k), (y), ())",
    "SELECT n FROM rows ORDER BY i, n LIMIT 20",
    "SELECT n FROM rows ORDER BY i DESC NULLS FIRST, n LIMIT 20 OFFSET 5",
    "SELECT n FROM rows ORDER BY s DESC, n",
    "SELECT DISTINCT k, y FROM rows",
    "SELECT * FROM rows WHERE n < 5",
    "SELECT * EXCLUDE (xs, ns, f) FROM rows WHERE n < 50",
    "SELECT here.*, 1 AS one FROM rows AS here WHERE n < 5",
    "SELECT * REPLACE (n + 1 AS n) FROM rows WHERE n < 5",
    "FROM rows SELECT n WHERE n < 3",
    "WITH a AS (SELECT k, count(*) AS c FROM rows GROUP BY k), b (x) AS (SELECT c FROM a) SELECT sum(x) FROM b",
    "SELECT l.n, r.n AS m FROM rows AS l LEFT JOIN (SELECT n, k FROM rows WHERE n % 40 = 0) AS r ON l.k = r.k WHERE l.n < 100",
    "SELECT l.n FROM rows AS l SEMI JOIN (SELECT k FROM rows WHERE n < 2) AS r ON l.k = r.k",
    "SELECT l.n FROM rows AS l ANTI JOIN (SELECT k FROM rows WHERE n < 2) AS r ON l.k IS NOT DISTINCT FROM r.k",
    "SELECT count(*) FROM rows AS l JOIN rows AS r USING (n)",
    "SELECT n, l.i, r.k FROM rows AS l JOIN (SELECT n, k FROM rows) AS r USING (n) WHERE n < 9",
    "SELECT count(*) FROM rows AS l FULL JOIN (SELECT n + 300 AS n FROM rows) AS r ON l.n = r.n",
    "SELECT n FROM rows WHERE k IN (SELECT k FROM rows WHERE n < 3) AND EXISTS (SELECT 1 FROM rows AS o WHERE o.n = rows.n + 1)",
    "SELECT n, (SELECT max(i) FROM rows AS o WHERE o.k = rows.k) AS top FROM rows WHERE n < 50",
    "SELECT n FROM rows QUALIFY row_number() OVER (PARTITION BY k ORDER BY n) = 1",
    "SELECT n, rank() OVER (PARTITION BY k ORDER BY n) AS place FROM rows QUALIFY place <= 2",
    "SELECT n FROM rows WHERE n < 4 UNION ALL SELECT i FROM rows WHERE n < 4 UNION ALL SELECT 7",
    "SELECT k FROM rows UNION SELECT i FROM rows",
    "SELECT k FROM rows EXCEPT SELECT i FROM rows",
    "SELECT k FROM rows INTERSECT SELECT i FROM rows",
    "(SELECT k FROM rows ORDER BY n LIMIT 3) UNION ALL (SELECT i FROM rows ORDER BY n LIMIT 3)",
    "SELECT x, count(*) FROM rows, unnest(xs) AS u(x) GROUP BY x",
    "SELECT a.v, b.w FROM (VALUES (1, 'x'), (2, NULL)) AS a(v, t), (VALUES (1.5), (2)) AS b(w)",
    "SELECT range FROM range(10)",
    "SELECT r FROM range(2, 5) AS t(r)",
    "SELECT n, c FROM (SELECT n, count(*) OVER (PARTITION BY s) AS c FROM rows) AS q WHERE c > 8",
    "SELECT max(c) FROM (SELECT count(*) AS c FROM rows GROUP BY s, k) AS q",
    "SELECT k, sum(i) AS total, total // 2 AS half FROM rows GROUP BY k",
    "SELECT n, CAST(NULL AS VARCHAR) AS nothing, NULL AS naught FROM rows WHERE n < 3",
    "SELECT count(*) FROM rows WHERE false",
    "SELECT k, list(n) FILTER (WHERE y) AS ns, count(*) AS rows FROM rows GROUP BY k",
    "SELECT \"rows\".n AS \"order\", 1 AS \"a b`c\" FROM rows WHERE n = 3",
    "SELECT q.rows FROM (SELECT count(*) AS rows FROM rows) AS q",
    "SELECT n, rank() OVER w AS r FROM rows WINDOW w AS (PARTITION BY k ORDER BY n)",
    "SELECT count(*) FROM rows WHERE (i, k) IN (SELECT i, k FROM rows WHERE n < 30)",
]  # fmt: skip
"""Whole queries over `rows`."""
