-- Both figures of each declared pair by institution and month, as they were last computed. No personal data: sums
-- and counts, and the numbers of the files whose rows they were made of.
CREATE TABLE quality_balance (
    reconciliation text COLLATE "C" NOT NULL,
    institution    text COLLATE "C" NOT NULL,
    month          date NOT NULL CHECK (extract(day FROM month) = 1),
    left_figure    double precision,
    right_figure   double precision,
    left_rows      bigint NOT NULL CHECK (left_rows >= 0),
    right_rows     bigint NOT NULL CHECK (right_rows >= 0),
    left_files     bigint[] NOT NULL,  -- all files made of messages are one number, the first of their range
    right_files    bigint[] NOT NULL,
    declared       bytea NOT NULL,     -- digest of the declaration that the figures follow from
    computed_at    timestamptz NOT NULL,
    PRIMARY KEY (month, reconciliation, institution),
    CHECK (left_rows > 0 OR right_rows > 0)
);
CREATE INDEX quality_balance_institution ON quality_balance (institution, month);
-- A file that was superseded leaves no rows to tell which figures it was part of.
CREATE INDEX quality_balance_left_files ON quality_balance USING gin (left_files);
CREATE INDEX quality_balance_right_files ON quality_balance USING gin (right_files);
