-- Rows that messages give. In the message's transaction they are only noted here, some hundred in one value;
-- a flush makes a Parquet file of them. A resource that is corrected gives its row again, or takes it back.
--
-- Personal data: lake_staged.body holds the rows whole (as sensitive as the lake itself) until the flush.
-- The other tables hold numbers of persons and digests, no values.

CREATE TABLE lake_staged (
  staged_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset    text        NOT NULL,
  rows       integer     NOT NULL CHECK (rows > 0),
  staged_at  timestamptz NOT NULL DEFAULT now(),
  body       bytea       NOT NULL  -- MessagePack, zstd; see packing.py
);
CREATE INDEX lake_staged_dataset ON lake_staged (dataset, staged_id);
-- It is compressed already.
ALTER TABLE lake_staged ALTER COLUMN body SET STORAGE EXTERNAL;

-- Where the present row of each resource lies, so that a later version can take its place.
-- There is one for each row from messages: no foreign keys, which would cost more than the row.
CREATE TABLE lake_message_row (
  key      bytea  PRIMARY KEY,   -- digest of data set and resource
  file_id  bigint NOT NULL,
  row      bigint NOT NULL,
  person   bigint,
  message  bigint NOT NULL       -- which message gave it
);

-- Rows that a later version replaced or took back, until compaction leaves them out of the files.
CREATE TABLE lake_dropped_row (
  file_id  bigint NOT NULL REFERENCES lake_file,
  row      bigint NOT NULL,
  person   bigint,
  PRIMARY KEY (file_id, row)
);
CREATE INDEX lake_dropped_row_person ON lake_dropped_row (person) WHERE person IS NOT NULL;

-- Files from messages have numbers of their own range, so that each row tells where it comes from.
CREATE SEQUENCE lake_message_file AS bigint MINVALUE 4611686018427387904 START 4611686018427387904;
ALTER TABLE lake_file ADD COLUMN source text NOT NULL DEFAULT 'file' CHECK (source IN ('file', 'message'));
ALTER TABLE lake_file ADD CONSTRAINT lake_file_range CHECK ((source = 'message') = (file_id >= 4611686018427387904));
COMMENT ON COLUMN lake_file.rows IS 'rows of the file that count; of a file from messages fewer and fewer';
