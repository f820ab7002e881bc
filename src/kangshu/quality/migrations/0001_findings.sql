-- What was found, and the figures that scores are made of. No personal data: rows are named by their number in
-- a file. A unit is what one file holds of one institution and month; its data set is the file's. Units of files
-- that were superseded are removed with all they hold.
CREATE TABLE quality_unit (
    file_id     bigint NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    dataset     text COLLATE "C" NOT NULL,
    rows        bigint NOT NULL,
    rejected    bigint NOT NULL CHECK (rejected BETWEEN 0 AND rows),
    received_at timestamptz NOT NULL,
    edition     text NOT NULL,
    PRIMARY KEY (file_id, institution, month)
);
CREATE INDEX quality_unit_cell ON quality_unit (month, dataset, institution);
CREATE INDEX quality_unit_institution ON quality_unit (institution, month);

-- One check's finding in a unit. `origin` tells who looked: the check on arrival, or the rules over the lake.
-- `sole` are the rows in which no other check of the same dimension found anything: so many rows more would be
-- right if this one finding were mended. `places` holds the rows' numbers (quality/places.py).
CREATE TABLE quality_finding (
    file_id     bigint NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL,
    rule        text COLLATE "C" NOT NULL,
    field       text COLLATE "C" NOT NULL,
    origin      text NOT NULL CHECK (origin IN ('arrival', 'region')),
    severity    text NOT NULL CHECK (severity IN ('error', 'warning')),
    dimension   text NOT NULL,
    rows        bigint NOT NULL CHECK (rows > 0),
    sole        bigint NOT NULL CHECK (sole BETWEEN 0 AND rows),
    places      bytea NOT NULL,
    PRIMARY KEY (file_id, institution, month, rule, field),
    FOREIGN KEY (file_id, institution, month) REFERENCES quality_unit ON DELETE CASCADE
);
ALTER TABLE quality_finding ALTER COLUMN places SET STORAGE EXTERNAL;

-- How many rows of a unit any check of a dimension found: with errors, and with warnings only. The dimension ''
-- is all of them together.
CREATE TABLE quality_tally (
    file_id     bigint NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL,
    dimension   text NOT NULL,
    errors      bigint NOT NULL,
    warnings    bigint NOT NULL,
    PRIMARY KEY (file_id, institution, month, dimension),
    FOREIGN KEY (file_id, institution, month) REFERENCES quality_unit ON DELETE CASCADE
);

-- Files whose rows the rules over the lake must look at (again): new ones, and those whose rows look at rows that
-- came or went. A file that is named again while it is looked at gets another turn.
CREATE SEQUENCE quality_turn;
CREATE TABLE quality_pending (
    dataset text COLLATE "C" NOT NULL,
    file_id bigint NOT NULL,
    turn    bigint NOT NULL DEFAULT nextval('quality_turn'),
    PRIMARY KEY (dataset, file_id)
);
