-- Resources of FHIR R4 with every version, documents as they were sent, and the pages of searches under way.
-- Personal data: everything; contents are health records and open through `SealedResource.open` only, with a
-- grant. Kept: as the law on medical records asks (15 years for outpatients, 30 for inpatients), so nothing is
-- deleted here; `deleted` is a version like any other. Seen by: whoever consent gives a grant.

-- The present version of each resource. `kind`, `at`, `until` and `marks` are worked out of the content when it
-- is stored, so that lists are made without opening contents.
CREATE TABLE records_resource (
  person      bigint,             -- NULL: about nobody
  message     bigint,             -- the message that brought this version
  at          timestamptz,        -- when it happened; NULL: not told
  until       timestamptz,        -- the end of that span, exclusive
  updated_at  timestamptz NOT NULL,
  marks       bigint  NOT NULL,   -- superimposed codes of what it can be searched by; see searching.py
  version     integer NOT NULL CHECK (version > 0),
  kind        smallint,           -- of the timeline; NULL: not shown there
  deleted     boolean NOT NULL,
  id          text COLLATE "C" NOT NULL,
  type        text COLLATE "C" NOT NULL,
  institution text COLLATE "C" NOT NULL,
  digest      bytea   NOT NULL,
  content     bytea   NOT NULL,   -- compressed by us: the server must not try again
  PRIMARY KEY (id, type)
);
ALTER TABLE records_resource ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE records_resource ALTER COLUMN digest SET STORAGE PLAIN;
-- All that is read of a person begins here. Not the time as well: keys that repeat are stored once.
CREATE INDEX records_resource_person ON records_resource (person, type) WHERE person IS NOT NULL;
-- Organizations, practitioners, places: few, and found by their type.
CREATE INDEX records_resource_nobody ON records_resource (type) WHERE person IS NULL;
-- Grows at its end only, and rows of one batch share their time, so their key is stored once.
CREATE INDEX records_resource_updated ON records_resource (updated_at);

-- Earlier versions.
CREATE TABLE records_history (
  person      bigint,
  message     bigint,
  updated_at  timestamptz NOT NULL,
  version     integer NOT NULL CHECK (version > 0),
  deleted     boolean NOT NULL,
  id          text COLLATE "C" NOT NULL,
  type        text COLLATE "C" NOT NULL,
  institution text COLLATE "C" NOT NULL,
  content     bytea   NOT NULL,
  PRIMARY KEY (id, type, version)
);
ALTER TABLE records_history ALTER COLUMN content SET STORAGE EXTERNAL;

-- Business numbers by their digest. What an earlier version had stays: who looks it up compares with the content.
CREATE TABLE records_identifier (
  digest bigint NOT NULL,
  id     text COLLATE "C" NOT NULL,
  type   text COLLATE "C" NOT NULL
);
CREATE INDEX records_identifier_digest ON records_identifier (digest);

CREATE TABLE records_document (
  person      bigint,
  message     bigint,
  stored_at   timestamptz NOT NULL,
  version     integer NOT NULL CHECK (version > 0),
  size        integer NOT NULL,
  id          text COLLATE "C" NOT NULL,
  institution text COLLATE "C" NOT NULL,
  media_type  text NOT NULL,
  digest      bytea NOT NULL,
  content     bytea NOT NULL,
  PRIMARY KEY (id, version)
);
ALTER TABLE records_document ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX records_document_person ON records_document (person) WHERE person IS NOT NULL;

-- What a search found, for its following pages. A crash may lose them: whoever pages searches again.
CREATE UNLOGGED TABLE records_search (
  search      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  good_until  timestamptz NOT NULL,
  principal   text NOT NULL,
  persons     bigint[] NOT NULL,
  total       integer,
  types       text[] NOT NULL,
  ids         text[] NOT NULL,
  versions    integer[] NOT NULL
);
CREATE INDEX records_search_over ON records_search (good_until);
