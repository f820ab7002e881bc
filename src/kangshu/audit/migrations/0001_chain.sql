-- Who did what to whose data. Entries are recorded in `audit_pending` by the transactions they tell of, and
-- moved into the chain by sealing: `audit_entry` is append-only and numbered without gap.
-- Personal data: the acting person's name and the number of the person concerned; no content of records.
-- Kept: at least three years (个人信息保护法 art. 56). Seen by: auditors; residents see the entries about themselves.
CREATE TABLE audit_pending (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  actor_name text NOT NULL,
  action text NOT NULL,
  purpose text,
  person bigint,
  resource text,
  institution text,
  outcome text NOT NULL,
  detail text NOT NULL
);
-- Sealing empties the table again and again; without this its dead rows are what is read.
ALTER TABLE audit_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE audit_entry (
  chain bigint PRIMARY KEY CHECK (chain > 0),
  at timestamptz NOT NULL,
  actor text NOT NULL,
  actor_name text NOT NULL,
  action text NOT NULL,
  purpose text,
  person bigint,
  resource text,
  institution text,
  outcome text NOT NULL,
  detail text NOT NULL,
  hash bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX audit_entry_person ON audit_entry (person, chain) WHERE person IS NOT NULL;
CREATE INDEX audit_entry_actor ON audit_entry (actor, chain);
CREATE INDEX audit_entry_institution ON audit_entry (institution, chain) WHERE institution IS NOT NULL;

CREATE TABLE audit_head (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  chain bigint NOT NULL CHECK (chain >= 0),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  mac bytea NOT NULL CHECK (length(mac) = 32),
  sealed_at timestamptz NOT NULL
);

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit chain is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
  FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
