-- How many rows have a value in each column of the lake, by file; sums by month and by sender for the whole region.
-- No personal data: counts only, never a value.

-- The columns that a file's counts are about, in order; written down once for each edition of a data set.
CREATE TABLE quality_fill_layout (
    layout_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset      text COLLATE "C" NOT NULL,
    column_names text[] NOT NULL,
    digest       bytea NOT NULL,
    UNIQUE (dataset, digest)
);

-- What stands. All rows out of messages of an institution and month are one entry, under the first number of the
-- files made of messages.
CREATE TABLE quality_fill (
    file_id     bigint NOT NULL,
    dataset     text COLLATE "C" NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    layout_id   integer NOT NULL REFERENCES quality_fill_layout,
    accepted    bigint NOT NULL CHECK (accepted >= 0),
    filled      bigint[] NOT NULL CHECK (accepted >= ALL (filled) AND 0 <= ALL (filled)),
    received_at timestamptz,
    -- Of the entries of one file exactly one has 1 in whole_files, and one of each institution in files.
    files       smallint NOT NULL CHECK (files IN (0, 1)),
    whole_files smallint NOT NULL CHECK (whole_files IN (0, 1)),
    -- Counted in the lake, each row for its own institution and month; on arrival only the file as a whole is.
    settled     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (file_id, dataset, institution, month)
);
CREATE INDEX quality_fill_sender ON quality_fill (dataset, institution);

-- What was added and taken away since the sums below were last brought up to date. Files come in at the same time:
-- each writes here alone, and nobody waits for another's sums.
CREATE TABLE quality_fill_change (
    change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sign        smallint NOT NULL CHECK (sign IN (-1, 1)),
    file_id     bigint NOT NULL,
    dataset     text COLLATE "C" NOT NULL,
    institution text COLLATE "C" NOT NULL,
    month       date NOT NULL,
    layout_id   integer NOT NULL,
    accepted    bigint NOT NULL,
    filled      bigint[] NOT NULL,
    files       smallint NOT NULL,
    whole_files smallint NOT NULL,
    received_at timestamptz
);
CREATE INDEX quality_fill_change_dataset ON quality_fill_change (dataset);

-- The column '' counts rows.
CREATE TABLE quality_fill_month (
    dataset      text COLLATE "C" NOT NULL,
    column_name  text COLLATE "C" NOT NULL,
    month        date NOT NULL,
    filled       bigint NOT NULL,
    last_arrival timestamptz,
    PRIMARY KEY (dataset, column_name, month)
);

CREATE TABLE quality_fill_source (
    dataset      text COLLATE "C" NOT NULL,
    institution  text COLLATE "C" NOT NULL,
    files        bigint NOT NULL,
    whole_files  bigint NOT NULL,
    rows         bigint NOT NULL,
    message_rows bigint NOT NULL,
    last_arrival timestamptz,
    PRIMARY KEY (dataset, institution)
);

-- How many different values a column has, as the last look over the lake found; estimated where they are many.
CREATE TABLE quality_column (
    dataset     text COLLATE "C" NOT NULL,
    column_name text COLLATE "C" NOT NULL,
    different   bigint NOT NULL CHECK (different >= 0),
    exact       boolean NOT NULL,
    PRIMARY KEY (dataset, column_name)
);

CREATE TABLE quality_catalogue (
    dataset      text COLLATE "C" PRIMARY KEY,
    content      bytea NOT NULL,        -- digest of what the lake held then: the same needs no second look
    started_at   timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL
);
