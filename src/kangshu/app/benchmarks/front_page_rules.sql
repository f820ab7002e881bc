-- The rules of the discharge front page that look at one row, as one statement written by hand, without the
-- pack's functions: for each rule the number of rows that break it. It is what the compiled rules are
-- measured against, and their counts must be the same. The rows are those of `pages`.
WITH page AS (
    SELECT
        *,
        concat_ws(' ', principal_diagnosis_code, array_to_string(other_diagnosis_code, ' ')) AS diagnoses,
        concat_ws(' ', principal_procedure_code, array_to_string(other_procedure_code, ' ')) AS procedures,
        principal_procedure_code IS NOT NULL AND principal_procedure_code NOT IN ('', '-', '—') AS operated,
        year(birth_date) * 10000 + month(birth_date) * 100 + day(birth_date) AS born,
        year(admitted_at) * 10000 + month(admitted_at) * 100 + day(admitted_at) AS admitted,
        regexp_matches(
            principal_procedure_code,
            '^(00\.(55|6[0-6])|35\.(52|9[67])|36\.0[679]|37\.34|38\.84|39\.(50|7[1-9]|90))'
        ) AS intervention,
        regexp_matches(
            principal_procedure_code,
            '^(01\.1|03\.[389]|04\.[18]|05\.[13]|06\.1|07\.1|08\.[19]|09\.[14]|10\.[29]|11\.2|12\.[29]|14\.1|15\.0|'
            || '16\.2|17\.9|18\.1|20\.[37]|21\.[02]|22\.[01]|23\.[02347]|24\.[17]|25\.0|26\.1|27\.2|28\.1|29\.1|'
            || '31\.[49]|33\.2|34\.[29]|37\.[26]|38\.[29]|39\.[69]|40\.1|41\.[0139]|42\.2|44\.1|45\.[12]|48\.2|49\.2|'
            || '5[01]\.[19]|52\.[19]|54\.[29]|55\.[29]|56\.3|57\.[39]|5[89]\.[29]|6[0-2]\.[19]|63\.0|6[4-8]\.1|'
            || '69\.[05679]|70\.2|71\.1|72|73\.[0-589]|75\.[0-478]|76\.1|78\.8|79\.[07]|80\.3|81\.9|82\.9|83\.[29]|'
            || '84\.4|85\.[19]|86\.[01])'
        ) AS short_of_surgery
    FROM pages
),
judged AS (
    SELECT
        *,
        principal_procedure_code >= '01' AND principal_procedure_code < '87'
            AND NOT intervention AND NOT short_of_surgery AS surgery
    FROM page
)
SELECT
    count(*) FILTER (
        WHERE resident_number NOT IN ('', '-', '—') AND NOT CASE
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
        END
    ) AS FP003,
    count(*) FILTER (
        WHERE CASE length(resident_number)
            WHEN 18 THEN try_cast(substr(resident_number, 7, 8) AS INTEGER)
            WHEN 15 THEN 19000000 + try_cast(substr(resident_number, 7, 6) AS INTEGER)
        END <> born
    ) AS FP004,
    count(*) FILTER (
        WHERE sex IN ('1', '2') AND CASE length(resident_number)
            WHEN 18 THEN ascii(resident_number[17]) % 2 <> ascii(sex) % 2
            WHEN 15 THEN ascii(resident_number[15]) % 2 <> ascii(sex) % 2
        END
    ) AS FP005,
    count(*) FILTER (WHERE age_years <> (admitted - born) // 10000) AS FP006,
    count(*) FILTER (
        WHERE (age_years = 0 AND age_days IS NULL) OR (age_years <> 0 AND age_days IS NOT NULL)
            OR (age_days NOT BETWEEN 0 AND 364 AND age_days <> admitted_at::DATE - birth_date)
    ) AS FP007,
    count(*) FILTER (
        WHERE (age_days <= 28 AND NOT coalesce(admission_weight BETWEEN 100 AND 9999, false))
            OR (admission_weight IS NOT NULL AND coalesce(age_days > 28, true))
    ) AS FP008,
    count(*) FILTER (
        WHERE (
            (contains(diagnoses, 'Z37.') AND regexp_matches(diagnoses, '\bZ37\.[02356]')) OR coalesce(age_days <= 28, false)
        ) AND NOT coalesce(birth_weight_1 BETWEEN 100 AND 9999, false)
    ) AS FP009,
    count(*) FILTER (WHERE admission_weight % 10 <> 0 OR birth_weight_1 % 10 <> 0) AS FP010,
    count(*) FILTER (WHERE admitted_at > discharged_at) AS FP011,
    count(*) FILTER (
        WHERE stay_days <> greatest(discharged_at::DATE - admitted_at::DATE, 1)
    ) AS FP012,
    count(*) FILTER (WHERE principal_diagnosis_code[1] IN ('V', 'W', 'X', 'Y')) AS FP013,
    count(*) FILTER (
        WHERE (
            principal_diagnosis_code >= 'C00' AND principal_diagnosis_code < 'D49'
            AND (
                coalesce(pathology_code, '') IN ('', '-', '—') OR pathology_code NOT LIKE 'M%'
                OR coalesce(pathology_name, '') IN ('', '-', '—')
            )
        ) OR (coalesce(pathology_code, '') NOT IN ('', '-', '—') AND coalesce(pathology_number, '') IN ('', '-', '—'))
    ) AS FP014,
    count(*) FILTER (
        WHERE principal_diagnosis_code >= 'S00' AND principal_diagnosis_code < 'U'
            AND (
                coalesce(external_cause_code, '') IN ('', '-', '—')
                OR external_cause_code[1] NOT IN ('V', 'W', 'X', 'Y')
                OR coalesce(external_cause_name, '') IN ('', '-', '—')
            )
    ) AS FP015,
    count(*) FILTER (
        WHERE (drug_allergy = '2' AND coalesce(allergy_drugs, '') IN ('', '-', '—'))
            OR (drug_allergy = '1' AND coalesce(allergy_drugs, '') NOT IN ('', '-', '—'))
    ) AS FP016,
    count(*) FILTER (
        WHERE (contains(' ' || diagnoses, ' T88.6') OR contains(' ' || diagnoses, ' T88.7')) AND drug_allergy <> '2'
    ) AS FP017,
    count(*) FILTER (
        WHERE readmission_planned = '2' AND coalesce(readmission_purpose, '') IN ('', '-', '—')
    ) AS FP018,
    count(*) FILTER (
        WHERE disposition IN ('2', '3') AND coalesce(destination, '') IN ('', '-', '—')
    ) AS FP019,
    count(*) FILTER (
        WHERE CASE
            WHEN disposition = '5' THEN coalesce(autopsy, '') NOT IN ('1', '2')
            ELSE coalesce(autopsy, '') NOT IN ('', '-', '—')
        END
    ) AS FP020,
    count(*) FILTER (
        WHERE NOT (
            operated = coalesce(principal_procedure_name NOT IN ('', '-', '—'), false)
            AND operated = coalesce(principal_procedure_operator NOT IN ('', '-', '—'), false)
            AND operated = (principal_procedure_at IS NOT NULL)
        )
    ) AS FP021,
    count(*) FILTER (
        WHERE operated AND (surgery OR intervention) AND (
            coalesce(principal_procedure_grade, '') IN ('', '-', '—')
            OR coalesce(principal_procedure_operator, '') IN ('', '-', '—')
            OR coalesce(principal_procedure_first_assistant, '') = ''
            OR coalesce(principal_procedure_second_assistant, '') = ''
        )
    ) AS FP022,
    count(*) FILTER (
        WHERE operated AND surgery AND (
            coalesce(principal_procedure_healing, '') IN ('', '-', '—')
            OR coalesce(principal_procedure_anaesthesia, '') IN ('', '-', '—')
            OR coalesce(principal_procedure_anaesthetist, '') = ''
        )
    ) AS FP023,
    count(*) FILTER (
        WHERE (
            coalesce(principal_procedure_anaesthesia, '') NOT IN ('', '-', '—', '0305', '0306')
            AND coalesce(principal_procedure_anaesthetist, '') IN ('', '-', '—')
        ) OR (
            coalesce(principal_procedure_anaesthetist, '') NOT IN ('', '-', '—')
            AND coalesce(principal_procedure_anaesthesia, '') IN ('', '-', '—')
        )
    ) AS FP024,
    count(*) FILTER (
        WHERE principal_procedure_at < admitted_at OR principal_procedure_at > discharged_at
            OR list_min(other_procedure_at) < admitted_at OR list_max(other_procedure_at) > discharged_at
    ) AS FP025,
    count(*) FILTER (
        WHERE total_cost < coalesce(cost_general_service, 0.00) + coalesce(cost_general_treatment, 0.00)
            + coalesce(cost_nursing, 0.00) + coalesce(cost_general_other, 0.00)
            + coalesce(cost_pathology, 0.00) + coalesce(cost_laboratory, 0.00)
            + coalesce(cost_imaging, 0.00) + coalesce(cost_clinical_diagnosis, 0.00)
            + coalesce(cost_nonsurgical_treatment, 0.00) + coalesce(cost_surgical_treatment, 0.00)
            + coalesce(cost_rehabilitation, 0.00) + coalesce(cost_tcm_treatment, 0.00)
            + coalesce(cost_western_medicine, 0.00) + coalesce(cost_patent_medicine, 0.00)
            + coalesce(cost_herbal_medicine, 0.00) + coalesce(cost_blood, 0.00)
            + coalesce(cost_albumin, 0.00) + coalesce(cost_globulin, 0.00)
            + coalesce(cost_coagulation_factors, 0.00) + coalesce(cost_cytokines, 0.00)
            + coalesce(cost_examination_disposables, 0.00) + coalesce(cost_treatment_disposables, 0.00)
            + coalesce(cost_surgery_disposables, 0.00) + coalesce(cost_other, 0.00)
    ) AS FP026,
    count(*) FILTER (WHERE self_paid > total_cost) AS FP027,
    count(*) FILTER (
        WHERE coalesce(cost_physiotherapy, 0.00) > coalesce(cost_nonsurgical_treatment, 0.00)
    ) AS FP028,
    count(*) FILTER (
        WHERE coalesce(cost_surgical_treatment, 0.00) < coalesce(cost_anaesthesia, 0.00) + coalesce(cost_surgery, 0.00)
    ) AS FP029,
    count(*) FILTER (
        WHERE coalesce(cost_antibacterials, 0.00) > coalesce(cost_western_medicine, 0.00)
    ) AS FP030,
    count(*) FILTER (
        WHERE CASE
            WHEN operated THEN surgery AND coalesce(cost_surgery, 0.00) <= 0
            ELSE coalesce(cost_surgery, 0.00) <> 0
        END
    ) AS FP031,
    count(*) FILTER (
        WHERE coalesce(principal_procedure_anaesthesia, '') NOT IN ('', '-', '—') AND coalesce(cost_anaesthesia, 0.00) <= 0
    ) AS FP032,
    count(*) FILTER (WHERE contact_relation = '1' AND marital <> '2') AS FP033,
    count(*) FILTER (
        WHERE occupation IN ('11', '13', '17', '21', '24', '37') AND coalesce(employer, '') IN ('', '-', '—')
    ) AS FP034,
    count(*) FILTER (WHERE age_years < 6 AND occupation NOT IN ('31', '90')) AS FP035,
    count(*) FILTER (
        WHERE marital <> '1' AND age_years < CASE sex WHEN '1' THEN 22 WHEN '2' THEN 20 ELSE 0 END
    ) AS FP036,
    count(*) FILTER (
        WHERE (sex = '1' AND regexp_matches(diagnoses, '\b(C5[1-8]|N[78]\d|N9[0-8]|O\d)'))
            OR (sex = '2' AND regexp_matches(diagnoses, '\b(C6[0-3]|N4\d|N5[01])'))
    ) AS FP037,
    count(*) FILTER (WHERE contains(' ' || diagnoses, ' P') AND coalesce(age_days > 28, true)) AS FP038,
    count(*) FILTER (WHERE quality_date < discharged_at::DATE) AS FP039,
    count(*) FILTER (
        WHERE (registered_postcode NOT IN ('', '-', '—') AND NOT regexp_full_match(registered_postcode, '\d{6}'))
            OR (postcode NOT IN ('', '-', '—') AND NOT regexp_full_match(postcode, '\d{6}'))
            OR (employer_postcode NOT IN ('', '-', '—') AND NOT regexp_full_match(employer_postcode, '\d{6}'))
    ) AS FP040,
    count(*) FILTER (
        WHERE coma_before_hours NOT BETWEEN 0 AND 23 OR coma_before_minutes NOT BETWEEN 0 AND 59
            OR coma_after_hours NOT BETWEEN 0 AND 23 OR coma_after_minutes NOT BETWEEN 0 AND 59
    ) AS FP041,
    count(*) FILTER (
        WHERE NOT contains(' ' || diagnoses, ' S06') AND (
            coalesce(coma_before_days, 0) + coalesce(coma_before_hours, 0) + coalesce(coma_before_minutes, 0)
            + coalesce(coma_after_days, 0) + coalesce(coma_after_hours, 0) + coalesce(coma_after_minutes, 0)
        ) <> 0
    ) AS FP042,
    count(*) FILTER (
        WHERE len(list_filter(string_split(diagnoses, ' '), lambda code: code NOT IN ('', '-', '—')))
            <> list_unique(list_filter(string_split(diagnoses, ' '), lambda code: code NOT IN ('', '-', '—')))
    ) AS FP045,
    count(*) FILTER (
        WHERE principal_diagnosis_code LIKE '%*' AND principal_diagnosis_code NOT LIKE '%+%'
    ) AS FP046,
    count(*) FILTER (
        WHERE NOT regexp_full_match(
            diagnoses, '((-|—|[A-Z]\d{2}(\.[\dx]\d{2}(x\d{3})?)?(\+[A-Z]\d{2}\.?\d?\*)?)( |$))*'
        ) OR NOT regexp_full_match(
            external_cause_code, '((-|—|[A-Z]\d{2}(\.[\dx]\d{2}(x\d{3})?)?(\+[A-Z]\d{2}\.?\d?\*)?)( |$))*'
        )
    ) AS FP049,
    count(*) FILTER (
        WHERE NOT regexp_full_match(
            procedures, '((-|—|\d{2}\.\d[\dx](\d{2,3}|\d[A-Z]\d|\d{0,2}x\d{3,4})?)( |$))*'
        )
    ) AS FP050,
    count(*) FILTER (
        WHERE admission_route IN ('1', '2') AND coalesce(outpatient_diagnosis_code, '') IN ('', '-', '—')
    ) AS FP051,
    count(*) FILTER (
        WHERE admission_department <> discharge_department AND coalesce(transfer_departments, '') IN ('', '-', '—')
    ) AS FP052,
    count(*) FILTER (WHERE total_cost <= 0) AS FP053,
    count(*) FILTER (WHERE payment = '7' AND self_paid <> total_cost) AS FP054
FROM judged
