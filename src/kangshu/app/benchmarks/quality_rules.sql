-- The rules of quality_rules.toml as one statement written by hand, without the pack's functions: for each
-- institution and month the number of rows that break each rule, and the rows that break any, by file, number
-- and a mask of the rules. It is what the compiled scan is measured against. The rows are those of `results`.
WITH repeated AS (
    SELECT _file, institution_code, report_number, item_number, min(_row) AS first_row
    FROM results
    WHERE institution_code NOT IN ('-', '—') AND report_number NOT IN ('-', '—') AND item_number IS NOT NULL
    GROUP BY ALL
    HAVING count(*) > 1
),
judged AS (
    SELECT
        results._file,
        results._row,
        results._institution,
        date_trunc('month', results._at)::DATE AS month,
        resident_number NOT IN ('', '-', '—') AND NOT CASE
            WHEN regexp_full_match(resident_number, '[1-9]\d{7}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}') THEN true
            WHEN regexp_full_match(resident_number, '[1-9]\d{9}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]') THEN
                substr('10X98765432', ((
                    7 * resident_number[1]::INTEGER + 9 * resident_number[2]::INTEGER
                    + 10 * resident_number[3]::INTEGER + 5 * resident_number[4]::INTEGER
                    + 8 * resident_number[5]::INTEGER + 4 * resident_number[6]::INTEGER
                    + 2 * resident_number[7]::INTEGER + 1 * resident_number[8]::INTEGER
                    + 6 * resident_number[9]::INTEGER + 3 * resident_number[10]::INTEGER
                    + 7 * resident_number[11]::INTEGER + 9 * resident_number[12]::INTEGER
                    + 10 * resident_number[13]::INTEGER + 5 * resident_number[14]::INTEGER
                    + 8 * resident_number[15]::INTEGER + 4 * resident_number[16]::INTEGER
                    + 2 * resident_number[17]::INTEGER
                ) % 11 + 1)::INTEGER, 1) = upper(resident_number[18])
            ELSE false
        END AS r01,
        CASE length(resident_number)
            WHEN 18 THEN try_cast(substr(resident_number, 7, 8) AS INTEGER)
            WHEN 15 THEN 19000000 + try_cast(substr(resident_number, 7, 6) AS INTEGER)
        END <> year(birth_date) * 10000 + month(birth_date) * 100 + day(birth_date) AS r02,
        sex IN ('1', '2') AND CASE length(resident_number)
            WHEN 18 THEN ascii(resident_number[17]) % 2 <> ascii(sex) % 2
            WHEN 15 THEN ascii(resident_number[15]) % 2 <> ascii(sex) % 2
        END AS r03,
        (coalesce(document_type, '') NOT IN ('', '-', '—'))
            <> (coalesce(document_number, '') NOT IN ('', '-', '—')) AS r04,
        value_number IS NULL AND coalesce(value_text, '') IN ('', '-', '—') AS r05,
        reference_low > reference_high AS r06,
        CASE flag
            WHEN 'N' THEN value_number < reference_low OR value_number > reference_high
            WHEN 'H' THEN value_number <= reference_high
            WHEN 'L' THEN value_number >= reference_low
        END AS r07,
        value_number IS NOT NULL AND coalesce(unit, '') IN ('', '-', '—') AS r08,
        reported_at < birth_date AS r09,
        NOT regexp_full_match(item_code, '\d{9}') AS r10,
        value_number < 0 AS r11,
        CASE item_code
            WHEN '250306001' THEN value_number NOT BETWEEN 0.5 AND 50
            WHEN '250101001' THEN value_number NOT BETWEEN 1 AND 300
            ELSE value_number >= 100000
        END AS r12,
        sex NOT IN ('0', '1', '2', '9') AS r13,
        flag NOT IN ('N', 'H', 'L', 'A') AS r14,
        length(institution_code) <> 22 AS r15,
        try_cast(value_text AS DECIMAL(18, 6)) <> value_number AS r16,
        reported_at < TIMESTAMP '2020-01-01' OR reported_at >= TIMESTAMP '2027-01-01' AS r17,
        (
            year(reported_at) * 10000 + month(reported_at) * 100 + day(reported_at)
            - year(birth_date) * 10000 - month(birth_date) * 100 - day(birth_date)
        ) // 10000 NOT BETWEEN 0 AND 120 AS r18,
        NOT regexp_full_match(report_number, 'L20\d{2}(0[1-9]|1[0-2])\d{10}') AS r19,
        _row > first_row AS r20
    FROM results
    LEFT JOIN repeated USING (_file, institution_code, report_number, item_number)
),
marked AS (
    SELECT
        *,
        CASE WHEN r01 THEN 1 ELSE 0 END + CASE WHEN r02 THEN 2 ELSE 0 END + CASE WHEN r03 THEN 4 ELSE 0 END
        + CASE WHEN r04 THEN 8 ELSE 0 END + CASE WHEN r05 THEN 16 ELSE 0 END + CASE WHEN r06 THEN 32 ELSE 0 END
        + CASE WHEN r07 THEN 64 ELSE 0 END + CASE WHEN r08 THEN 128 ELSE 0 END + CASE WHEN r09 THEN 256 ELSE 0 END
        + CASE WHEN r10 THEN 512 ELSE 0 END + CASE WHEN r11 THEN 1024 ELSE 0 END
        + CASE WHEN r12 THEN 2048 ELSE 0 END + CASE WHEN r13 THEN 4096 ELSE 0 END
        + CASE WHEN r14 THEN 8192 ELSE 0 END + CASE WHEN r15 THEN 16384 ELSE 0 END
        + CASE WHEN r16 THEN 32768 ELSE 0 END + CASE WHEN r17 THEN 65536 ELSE 0 END
        + CASE WHEN r18 THEN 131072 ELSE 0 END + CASE WHEN r19 THEN 262144 ELSE 0 END
        + CASE WHEN r20 THEN 524288 ELSE 0 END AS mask
    FROM judged
)
SELECT
    _institution,
    month,
    count(*) AS rows,
    count(*) FILTER (WHERE r01) AS LB01,
    count(*) FILTER (WHERE r02) AS LB02,
    count(*) FILTER (WHERE r03) AS LB03,
    count(*) FILTER (WHERE r04) AS LB04,
    count(*) FILTER (WHERE r05) AS LB05,
    count(*) FILTER (WHERE r06) AS LB06,
    count(*) FILTER (WHERE r07) AS LB07,
    count(*) FILTER (WHERE r08) AS LB08,
    count(*) FILTER (WHERE r09) AS LB09,
    count(*) FILTER (WHERE r10) AS LB10,
    count(*) FILTER (WHERE r11) AS LB11,
    count(*) FILTER (WHERE r12) AS LB12,
    count(*) FILTER (WHERE r13) AS LB13,
    count(*) FILTER (WHERE r14) AS LB14,
    count(*) FILTER (WHERE r15) AS LB15,
    count(*) FILTER (WHERE r16) AS LB16,
    count(*) FILTER (WHERE r17) AS LB17,
    count(*) FILTER (WHERE r18) AS LB18,
    count(*) FILTER (WHERE r19) AS LB19,
    count(*) FILTER (WHERE r20) AS LB20,
    list(_file) FILTER (WHERE mask <> 0) AS files,
    list(_row) FILTER (WHERE mask <> 0) AS numbers,
    list(mask) FILTER (WHERE mask <> 0) AS masks
FROM marked
GROUP BY ALL
