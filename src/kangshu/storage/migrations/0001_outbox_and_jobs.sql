-- Announcements on their way to their listeners. Payloads carry numbers and codes, never personal values.
-- Personal data: none. Kept: until delivered; dead letters until somebody retries or discards them.
CREATE TABLE storage_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text NOT NULL CHECK (topic <> ''),
  key text,
  payload jsonb NOT NULL,
  announced_at timestamptz NOT NULL DEFAULT now(),
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  next_at timestamptz,
  dead boolean NOT NULL DEFAULT false,
  error text
);
CREATE INDEX storage_outbox_waiting ON storage_outbox (topic, id) WHERE NOT dead;
CREATE INDEX storage_outbox_key ON storage_outbox (key, id) WHERE NOT dead AND key IS NOT NULL;
CREATE INDEX storage_outbox_dead ON storage_outbox (id) WHERE dead;

-- Work to be done once, outside the transaction that asked for it. The same rules for payloads.
-- Personal data: none. Kept: until done; dead jobs until somebody retries or discards them.
CREATE TABLE storage_job (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind <> ''),
  unique_key text,
  payload jsonb NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'dead')),
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  not_before timestamptz,
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  lease_token uuid,
  lease_until timestamptz,
  error text,
  CHECK ((state = 'running') = (lease_token IS NOT NULL AND lease_until IS NOT NULL))
);
-- One waiting job per key: a second request while one waits adds nothing; while one runs, it does.
CREATE UNIQUE INDEX storage_job_unique ON storage_job (kind, unique_key)
  WHERE state = 'waiting' AND unique_key IS NOT NULL;
CREATE INDEX storage_job_open ON storage_job (kind, id) WHERE state <> 'dead';
CREATE INDEX storage_job_dead ON storage_job (id) WHERE state = 'dead';
