-- Figures of cells and what rules about cells found. No personal data: aggregates over an institution's month.
-- `figures` are the data set's measures by name; one that could not be computed is absent.
CREATE TABLE quality_measure (
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    dataset     text COLLATE "C" NOT NULL,
    institution text COLLATE "C" NOT NULL,
    figures     jsonb NOT NULL,
    PRIMARY KEY (dataset, month, institution)
);
CREATE INDEX quality_measure_institution ON quality_measure (institution, dataset, month);

-- `figures` are those that decided, by the names they have in the rule: now.rows, usual.rows.
CREATE TABLE quality_cell_finding (
    month       date NOT NULL,
    dataset     text COLLATE "C" NOT NULL,
    institution text COLLATE "C" NOT NULL,
    rule        text COLLATE "C" NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('error', 'warning')),
    dimension   text NOT NULL,
    figures     jsonb NOT NULL,
    PRIMARY KEY (dataset, month, institution, rule)
);
CREATE INDEX quality_cell_finding_month ON quality_cell_finding (month, institution);
