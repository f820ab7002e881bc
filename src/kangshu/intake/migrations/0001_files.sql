-- What arrived (intake_file) and why rows of it were refused or marked (intake_reason).
CREATE TABLE intake_file (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest          bytea NOT NULL,
    name            text NOT NULL,
    bytes           bigint NOT NULL,
    spool_name      text,
    dataset         text,
    institution     text,
    period          text,
    part            text NOT NULL DEFAULT '',
    state           text NOT NULL CHECK (state IN
                        ('received', 'working', 'committed', 'duplicate', 'rejected', 'superseded', 'failed')),
    format          text,
    rows            bigint NOT NULL DEFAULT 0,
    accepted        bigint NOT NULL DEFAULT 0,
    rejected        bigint NOT NULL DEFAULT 0,
    warnings        bigint NOT NULL DEFAULT 0,
    unlinked        bigint NOT NULL DEFAULT 0,
    persons_created bigint NOT NULL DEFAULT 0,
    reason_zh       text,
    reason_en       text,
    place           text,
    duplicate_of    bigint REFERENCES intake_file (id),
    supersedes      bigint REFERENCES intake_file (id),
    superseded_by   bigint REFERENCES intake_file (id),
    received_by     text NOT NULL,
    received_at     timestamptz NOT NULL,
    finished_at     timestamptz,
    CHECK (rows = accepted + rejected OR state IN ('received', 'working', 'duplicate', 'failed'))
);

-- The same bytes from the same institution count once, also when two copies arrive at the same moment.
CREATE UNIQUE INDEX intake_file_once ON intake_file (digest, institution)
    WHERE state IN ('committed', 'superseded');
-- One file stands for an institution, data set, period and part.
CREATE UNIQUE INDEX intake_file_current ON intake_file (institution, dataset, period, part)
    WHERE state = 'committed';
CREATE INDEX intake_file_received ON intake_file (received_at);
CREATE INDEX intake_file_institution ON intake_file (institution, id);
CREATE INDEX intake_file_open ON intake_file (state) WHERE state IN ('received', 'working', 'failed');

CREATE TABLE intake_reason (
    file_id  bigint NOT NULL REFERENCES intake_file (id) ON DELETE CASCADE,
    rule     text NOT NULL,
    field    text NOT NULL DEFAULT '',
    severity text NOT NULL,
    rows     bigint NOT NULL,
    PRIMARY KEY (file_id, rule, field)
);
