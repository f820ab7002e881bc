-- Tables of quality/rectifying: tasks of an institution to mend a month's data, each step they went through, the
-- notices that came of it and whom to tell. Personal data: none but work addresses in quality_contact. Kept: for
-- good, as the record of what was asked and answered.
CREATE TABLE quality_task (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    month            date NOT NULL CHECK (extract(day FROM month) = 1),
    dataset          text COLLATE "C" NOT NULL,
    institution      text COLLATE "C" NOT NULL,
    grade            text COLLATE "C" NOT NULL,
    causes           text[] NOT NULL CHECK (cardinality(causes) > 0),
    state            text NOT NULL CHECK (state IN
                         ('issued', 'acknowledged', 'resent', 'rechecked', 'returned', 'escalated', 'closed')),
    version          integer NOT NULL CHECK (version > 0),
    deadline         date NOT NULL,
    escalate_days    integer NOT NULL CHECK (escalate_days > 0),
    returns          integer NOT NULL DEFAULT 0 CHECK (returns >= 0),
    escalations      integer NOT NULL DEFAULT 0 CHECK (escalations >= 0),
    opened_at        timestamptz NOT NULL,
    acknowledged_at  timestamptz,
    resent_at        timestamptz,
    rechecked_at     timestamptz,
    closed_at        timestamptz,
    closed_as        text CHECK (closed_as IN ('cured', 'accepted')),
    -- The figures when the task was opened, and when somebody or something looked last.
    score_before     double precision,
    rows_before      bigint NOT NULL,
    rejected_before  bigint NOT NULL,
    wrong_before     bigint NOT NULL,
    score_now        double precision,
    rows_now         bigint NOT NULL,
    rejected_now     bigint NOT NULL,
    wrong_now        bigint NOT NULL,
    -- When the latest file came that the figures know of: a later one means that the institution sent anew.
    last_arrival     timestamptz,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL AND closed_as IS NOT NULL))
);
-- One open task for a cell, whoever opens it.
CREATE UNIQUE INDEX quality_task_open ON quality_task (month, dataset, institution) WHERE state <> 'closed';
CREATE INDEX quality_task_month ON quality_task (month, id);
CREATE INDEX quality_task_institution ON quality_task (institution, id);
CREATE INDEX quality_task_deadline ON quality_task (deadline) WHERE state <> 'closed';

-- What a task is about; rows by number are in quality_finding.
CREATE TABLE quality_task_finding (
    task          bigint NOT NULL REFERENCES quality_task ON DELETE CASCADE,
    rule          text COLLATE "C" NOT NULL,
    field         text COLLATE "C" NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('error', 'warning')),
    rows_before   bigint NOT NULL,
    points_before double precision NOT NULL,
    rows_now      bigint NOT NULL,
    points_now    double precision NOT NULL,
    PRIMARY KEY (task, rule, field)
);

-- Every step of a task: who did what when. `note` is written by people; it stays in the platform and goes into no
-- mail. `detail` holds figures.
CREATE TABLE quality_task_event (
    task       bigint NOT NULL REFERENCES quality_task ON DELETE CASCADE,
    number     integer NOT NULL,
    act        text NOT NULL,
    state      text NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    actor_name text NOT NULL,
    note       text NOT NULL,
    detail     jsonb NOT NULL,
    PRIMARY KEY (task, number)
);

-- What an institution is told on its page, and by mail or hook where it has a contact. `code` is the institution
-- or, for a task that was escalated, the division whose body is told.
CREATE TABLE quality_notice (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code    text COLLATE "C" NOT NULL,
    task    bigint NOT NULL,
    event   integer NOT NULL,
    topic   text NOT NULL,
    at      timestamptz NOT NULL,
    read_at timestamptz,
    read_by text,
    -- When it went out by mail and to the hook, so that a job that is done again sends nothing twice.
    mailed_at timestamptz,
    posted_at timestamptz,
    UNIQUE (task, event, code),
    FOREIGN KEY (task, event) REFERENCES quality_task_event ON DELETE CASCADE
);
CREATE INDEX quality_notice_unread ON quality_notice (code, id) WHERE read_at IS NULL;

-- Whom to tell outside the console. `code` is an institution's or a division's. The secret signs what is posted to
-- the hook; it is sealed with the platform's keys.
CREATE TABLE quality_contact (
    code           text COLLATE "C" PRIMARY KEY,
    mail           text NOT NULL,
    hook           text NOT NULL,
    algorithm      text NOT NULL CHECK (algorithm IN ('sha256', 'sm3')),
    secret_sealed  bytea,
    secret_digest  bytea,
    updated_at     timestamptz NOT NULL,
    updated_by     text NOT NULL,
    CHECK ((secret_sealed IS NULL) = (secret_digest IS NULL)),
    CHECK (hook = '' OR secret_sealed IS NOT NULL)
);
