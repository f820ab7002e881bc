-- Scores as they are published, in hundredths of points, so that a page need not compute them. They follow from
-- tallies, findings about cells and coverage, and are put anew when any of these changed. No personal data.
CREATE TABLE quality_cell_score (
    month         date NOT NULL,
    dataset       text COLLATE "C" NOT NULL,
    institution   text COLLATE "C" NOT NULL,
    total         integer NOT NULL CHECK (total BETWEEN 0 AND 10000),
    dimensions    jsonb NOT NULL,
    rows          bigint NOT NULL,
    rejected      bigint NOT NULL,
    expected      boolean NOT NULL,
    expected_rows double precision,
    state         text,
    weight        double precision NOT NULL,
    PRIMARY KEY (month, dataset, institution)
);
CREATE INDEX quality_cell_score_institution ON quality_cell_score (institution, month);

CREATE TABLE quality_institution_score (
    month       date NOT NULL,
    institution text COLLATE "C" NOT NULL,
    total       integer NOT NULL CHECK (total BETWEEN 0 AND 10000),
    dimensions  jsonb NOT NULL,
    expected    bigint NOT NULL,
    arrived     bigint NOT NULL,
    rows        bigint NOT NULL,
    rejected    bigint NOT NULL,
    PRIMARY KEY (month, institution)
);
CREATE INDEX quality_institution_score_institution ON quality_institution_score (institution, month);

-- Months that were scored as a whole, and by which declarations (a digest of weights, rules and expectations): of
-- others the scores above may lack some.
CREATE TABLE quality_scored_month (
    month     date PRIMARY KEY,
    scored_at date NOT NULL,
    digest    text NOT NULL
);

-- A scoring sheet over the rows of a unit: the sum of points in thousandths, rows by band (the best first, last those
-- below all), and for each item the rows that lost its points.
CREATE TABLE quality_sheet (
    file_id     bigint NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL,
    scoring     text COLLATE "C" NOT NULL,
    rows        bigint NOT NULL,
    thousandths bigint NOT NULL,
    bands       bigint[] NOT NULL,
    items       bigint[] NOT NULL,
    PRIMARY KEY (file_id, institution, month, scoring),
    FOREIGN KEY (file_id, institution, month) REFERENCES quality_unit ON DELETE CASCADE
);
CREATE INDEX quality_sheet_month ON quality_sheet (month, institution);

-- Shares of rows: of a declared indicator, or of an aspect of an item of the EMR data-quality index. `good` of
-- `total` rows of the unit.
CREATE TABLE quality_share (
    file_id     bigint NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('indicator', 'emr')),
    name        text COLLATE "C" NOT NULL,
    aspect      text NOT NULL,
    good        bigint NOT NULL,
    total       bigint NOT NULL CHECK (good BETWEEN 0 AND total),
    PRIMARY KEY (file_id, institution, month, kind, name, aspect),
    FOREIGN KEY (file_id, institution, month) REFERENCES quality_unit ON DELETE CASCADE
);
CREATE INDEX quality_share_month ON quality_share (month, kind, institution);

-- Monthly circulars as issued: the figures of that moment, kept for good.
CREATE TABLE quality_circular (
    month     date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    issued_at timestamptz NOT NULL,
    issued_by text NOT NULL,
    figures   jsonb NOT NULL
);
