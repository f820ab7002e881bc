-- Functions that rules may call: DuckDB macros, in plain SQL so that another engine can be taught them.
-- A rule's predicate holds when it is NULL; a function given NULL answers NULL or false as it says.
-- Scalar arguments are used once where that can be, because a macro is pasted in, not called.

-- A real value, neither empty nor a mark of "none".
CREATE OR REPLACE MACRO given(x) AS x IS NOT NULL AND x NOT IN ('', '-', '—');

-- A cell with something in it, be it the mark of "none".
CREATE OR REPLACE MACRO filled(x) AS x IS NOT NULL AND x <> '';

-- An amount, 0 where none is stated; typed so that sums stay within 18 digits.
CREATE OR REPLACE MACRO amount(x) AS coalesce(x, 0.00);

-- A moment not after the file's receipt, a day allowed for clocks and zones. The lane sets the variable
-- (SET VARIABLE received_at = TIMESTAMP '...'); where it is not set, nothing is known and the rule holds.
CREATE OR REPLACE MACRO not_after_receipt(x) AS x <= getvariable('received_at')::TIMESTAMP + INTERVAL 1 DAY;

-- A day as the number 20260305: days compare like numbers, and years between two days are a division.
CREATE OR REPLACE MACRO day_number(x) AS year(x) * 10000 + month(x) * 100 + day(x);

-- Completed years (周岁) from the day `a` to the day `b`. One born on 29 February is older on 1 March.
CREATE OR REPLACE MACRO completed_years(a, b) AS (day_number(b) - day_number(a)) // 10000;

-- Days from the day of `a` to the day of `b`.
CREATE OR REPLACE MACRO days_between(a, b) AS b::DATE - a::DATE;

-- The sum of 15 digits, each by a power of two: the last once, the one before twice, and so on. `h` holds them
-- four bits each (the digits read as a hexadecimal number), so that neighbours are added all at once: pairs,
-- then fours, eights, all. Each list of one makes the engine take a step once and not for every `n`.
CREATE OR REPLACE MACRO digits_by_twos(h) AS list_transform(list_transform(list_transform(list_transform([h],
    lambda n: (n & 1085102592571150095) + 2 * ((n >> 4) & 1085102592571150095)),
    lambda n: (n & 71777214294589695) + 4 * ((n >> 8) & 71777214294589695)),
    lambda n: (n & 281470681808895) + 16 * ((n >> 16) & 281470681808895)),
    lambda n: (n & 4294967295) + 256 * (n >> 32))[1];

-- Whether the check character of a resident number of 18 places is right (GB 11643, which is ISO 7064 MOD
-- 11-2): all digits by powers of two, with X for 10, leave 1 when divided by 11. What a character's number
-- is too large by makes it 4.
CREATE OR REPLACE MACRO resident_number_checks(x) AS (
    8 * digits_by_twos(try_cast('0x' || substr(x, 1, 15) AS BIGINT))
    + 4 * ascii(substr(x, 16, 1)) + 2 * ascii(substr(x, 17, 1)) + strpos('0123456789X', upper(substr(x, 18)))
) % 11 = 4;

-- A resident number (居民身份证号码) of 18 places with the right check character, or of 15 digits, which has none,
-- with a possible month and day; false for NULL.
CREATE OR REPLACE MACRO resident_number_valid(x) AS coalesce(
    regexp_full_match(x, '[1-9]\d{5}(\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]|'
        || '\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3})')
    AND (length(x) = 15 OR resident_number_checks(x)),
    false
);

-- The day of birth in a resident number, as a day_number; NULL for anything but 15 or 18 places.
CREATE OR REPLACE MACRO resident_number_birth(x) AS CASE length(x)
    WHEN 18 THEN try_cast(substr(x, 7, 8) AS INTEGER)
    WHEN 15 THEN 19000000 + try_cast(substr(x, 7, 6) AS INTEGER)
END;

-- The sex in a resident number, '1' or '2': the last digit before the check is odd for men.
CREATE OR REPLACE MACRO resident_number_sex(x) AS CASE length(x)
    WHEN 18 THEN chr(50 - ascii(substr(x, 17, 1)) % 2)
    WHEN 15 THEN chr(50 - ascii(substr(x, 15, 1)) % 2)
END;

-- The same, agreeing: NULL where the number, the day or the sex says nothing.
CREATE OR REPLACE MACRO agrees_with_birth(x, born) AS resident_number_birth(x) = day_number(born);
CREATE OR REPLACE MACRO agrees_with_sex(x, sex) AS
    CASE WHEN sex IN ('1', '2') THEN resident_number_sex(x) = sex END;

-- Six digits.
CREATE OR REPLACE MACRO is_postcode(x) AS regexp_full_match(x, '\d{6}');

-- One code and a list of codes as one text with blanks between (codes hold none): a long list with few entries
-- is searched several times faster that way. Rules that need it name it first and in these same words: the
-- engine then makes it once for all of them.
CREATE OR REPLACE MACRO all_codes_text(x, xs) AS concat_ws(' ', x, array_to_string(xs, ' '));

-- Whether a code in such a text begins with `start`.
CREATE OR REPLACE MACRO any_begins(codes, start) AS contains(' ' || codes, ' ' || start);

-- Whether all codes in such a text have the shape of a diagnosis code in Chinese use (I63.900, I63.900x007,
-- I64.x00, A17.000+G01*); marks of "none" may stand among them.
CREATE OR REPLACE MACRO all_icd10(codes) AS regexp_full_match(
    codes, '((-|—|[A-Z]\d{2}(\.[\dx]\d{2}(x\d{3})?)?(\+[A-Z]\d{2}\.?\d?\*)?)( |$))*');

-- The same of a procedure code (36.0700, 36.0700x004, 74.1x01, and 17.912A0 of the insurance edition).
CREATE OR REPLACE MACRO all_icd9cm3(codes) AS regexp_full_match(
    codes, '((-|—|\d{2}\.\d[\dx](\d{2,3}|\d[A-Z]\d|\d{0,2}x\d{3,4})?)( |$))*');

-- Whether no code in such a text stands twice: each is found first where it stands. Marks may repeat. The list
-- of one list makes the engine take the text apart once.
CREATE OR REPLACE MACRO codes_differ(codes) AS list_transform(
    [string_split(codes, ' ')],
    lambda listed: len(list_filter(
        listed, lambda code, place: list_position(listed, code) <> place AND given(code)
    )) = 0
)[1];

-- External causes (V01-Y98), tumours (C00-D48), injuries and poisonings (S00-T98).
CREATE OR REPLACE MACRO is_external_cause(code) AS substr(code, 1, 1) IN ('V', 'W', 'X', 'Y');
CREATE OR REPLACE MACRO is_tumour(code) AS code >= 'C00' AND code < 'D49';
CREATE OR REPLACE MACRO is_injury(code) AS code >= 'S00' AND code < 'U';

-- Whether a text of codes holds a diagnosis of one sex only: female organs (C51-C58, N70-N98) and pregnancy
-- (O00-O99); male organs (C60-C63, N40-N51).
CREATE OR REPLACE MACRO any_female(codes) AS regexp_matches(codes, '\b(C5[1-8]|N[78]\d|N9[0-8]|O\d)');
CREATE OR REPLACE MACRO any_male(codes) AS regexp_matches(codes, '\b(C6[0-3]|N4\d|N5[01])');

-- Whether it holds an outcome of delivery with a live child, which asks for a birth weight.
CREATE OR REPLACE MACRO any_live_birth(codes) AS
    CASE WHEN contains(codes, 'Z37.') THEN regexp_matches(codes, '\bZ37\.[02356]') ELSE false END;

-- Interventional treatment (介入治疗): heart and vessels through a catheter, by the subcategory of ICD-9-CM-3.
CREATE OR REPLACE MACRO is_intervention(code) AS regexp_matches(
    code, '^(00\.(55|6[0-6])|35\.(52|9[67])|36\.0[679]|37\.34|38\.84|39\.(50|7[1-9]|90))');

-- Surgery (手术): chapters 01-86 of ICD-9-CM-3 without interventions and without the subcategories that are
-- diagnostic or are treatment short of surgery. The edition's own column 类别 decides where it is at hand;
-- this is the coarse form, which asks for too little rather than too much.
CREATE OR REPLACE MACRO is_surgery(code) AS
    code >= '01' AND code < '87' AND NOT is_intervention(code) AND NOT regexp_matches(
        code,
        '^(01\.1|03\.[389]|04\.[18]|05\.[13]|06\.1|07\.1|08\.[19]|09\.[14]|10\.[29]|11\.2|12\.[29]|14\.1|15\.0|'
        || '16\.2|17\.9|18\.1|20\.[37]|21\.[02]|22\.[01]|23\.[02347]|24\.[17]|25\.0|26\.1|27\.2|28\.1|29\.1|'
        || '31\.[49]|33\.2|34\.[29]|37\.[26]|38\.[29]|39\.[69]|40\.1|41\.[0139]|42\.2|44\.1|45\.[12]|48\.2|49\.2|'
        || '5[01]\.[19]|52\.[19]|54\.[29]|55\.[29]|56\.3|57\.[39]|5[89]\.[29]|6[0-2]\.[19]|63\.0|6[4-8]\.1|'
        || '69\.[05679]|70\.2|71\.1|72|73\.[0-589]|75\.[0-478]|76\.1|78\.8|79\.[07]|80\.3|81\.9|82\.9|83\.[29]|'
        || '84\.4|85\.[19]|86\.[01])'
    );

-- Saturday or Sunday: days are counted from a Saturday.
CREATE OR REPLACE MACRO is_weekend(x) AS days_between(DATE '2000-01-01', x) % 7 IN (0, 1);

-- The last digit that a number shows, without the zeros that its type adds behind the point: 7 of 5.170000.
CREATE OR REPLACE MACRO last_digit(x) AS try_cast(
    right(CASE WHEN contains(x::VARCHAR, '.') THEN rtrim(rtrim(x::VARCHAR, '0'), '.') ELSE x::VARCHAR END, 1)
    AS INTEGER);

-- How uneven the digits 0 to 9 of many rows are: chi-square against even shares, divided by the most it can be, so
-- that it is 0 where all are as frequent and 1 where there is only one; NULL where there is none.
CREATE OR REPLACE MACRO digit_unevenness(d) AS (
    10.0 * (
        power(sum(CASE WHEN d = 0 THEN 1.0 ELSE 0.0 END), 2) + power(sum(CASE WHEN d = 1 THEN 1.0 ELSE 0.0 END), 2)
        + power(sum(CASE WHEN d = 2 THEN 1.0 ELSE 0.0 END), 2) + power(sum(CASE WHEN d = 3 THEN 1.0 ELSE 0.0 END), 2)
        + power(sum(CASE WHEN d = 4 THEN 1.0 ELSE 0.0 END), 2) + power(sum(CASE WHEN d = 5 THEN 1.0 ELSE 0.0 END), 2)
        + power(sum(CASE WHEN d = 6 THEN 1.0 ELSE 0.0 END), 2) + power(sum(CASE WHEN d = 7 THEN 1.0 ELSE 0.0 END), 2)
        + power(sum(CASE WHEN d = 8 THEN 1.0 ELSE 0.0 END), 2) + power(sum(CASE WHEN d = 9 THEN 1.0 ELSE 0.0 END), 2)
    ) / nullif(power(count(d), 2), 0) - 1
) / 9;
