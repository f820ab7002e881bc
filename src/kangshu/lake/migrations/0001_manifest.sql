-- The manifest of the lake: which Parquet files hold the rows of which files that senders sent.
-- What is not in here does not exist, whatever lies on the disk.

-- The columns of segments, written down once for each edition of a data set.
CREATE TABLE lake_shape (
  shape_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset   text   NOT NULL,
  columns   text   NOT NULL,  -- one 'name TYPE' a line, in order
  digest    bytea  NOT NULL,  -- SHA-256 of the columns
  UNIQUE (dataset, digest)
);

-- A run is a set of segments that share no person (but at their edges). A sender's file arrives as a run of
-- its own; compaction makes one run of many.
CREATE TABLE lake_run (
  run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset     text        NOT NULL,
  shape_id    integer     NOT NULL REFERENCES lake_shape,
  rows        bigint      NOT NULL CHECK (rows > 0),
  is_sorted   boolean     NOT NULL,
  made_at     timestamptz NOT NULL DEFAULT now(),
  retired_at  timestamptz             -- its rows are in another run since; its files go after a grace
);
CREATE INDEX lake_run_live ON lake_run (dataset) WHERE retired_at IS NULL;
CREATE INDEX lake_run_retired ON lake_run (retired_at) WHERE retired_at IS NOT NULL;

CREATE TABLE lake_segment (
  segment_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id      bigint NOT NULL REFERENCES lake_run ON DELETE CASCADE,
  path        text   NOT NULL UNIQUE, -- relative to the lake's folder
  rows        bigint NOT NULL CHECK (rows > 0),
  bytes       bigint NOT NULL CHECK (bytes > 0),
  min_person  bigint,
  max_person  bigint,
  min_at      timestamp,
  max_at      timestamp,
  filter      bytea,                  -- which persons are certainly not in it
  CHECK ((min_person IS NULL) = (max_person IS NULL)),
  CHECK (min_person <= max_person)
);
CREATE INDEX lake_segment_run ON lake_segment (run_id);
CREATE INDEX lake_segment_persons ON lake_segment USING gist (int8range(min_person, max_person, '[]'))
  WHERE min_person IS NOT NULL;
-- Filters are random bits: trying to compress them is lost time.
ALTER TABLE lake_segment ALTER COLUMN filter SET STORAGE EXTERNAL;

-- A file stays on record for ever. `run_id` names the run that holds its rows; it is empty when the
-- file has none, or when compaction left them out because the file was superseded.
CREATE TABLE lake_file (
  file_id        bigint PRIMARY KEY,
  dataset        text        NOT NULL,
  institution    text        NOT NULL,
  period_start   date,
  period_end     date,
  rows           bigint      NOT NULL CHECK (rows >= 0),
  run_id         bigint      REFERENCES lake_run,
  committed_at   timestamptz NOT NULL DEFAULT now(),
  superseded_at  timestamptz,
  CHECK ((period_start IS NULL) = (period_end IS NULL)),
  CHECK (period_start < period_end)
);
CREATE INDEX lake_file_run ON lake_file (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX lake_file_place ON lake_file (dataset, institution, period_start);
