-- Persons, what they are known by, what a human should look at, and what happened.
-- No name, number or phone stands here in clear: *_sealed is SM4, *_digest and digest are keyed SM3.

CREATE SEQUENCE identity_person_id AS bigint;

CREATE TABLE identity_person (
    id           bigint PRIMARY KEY,  -- from identity_person_id, never given twice
    name_digest  bigint,              -- first eight bytes; NULL: the name is not known
    resident     bigint,              -- first eight bytes of the digest of the resident number owned
    origin       bigint,              -- the file that first told of the person
    created_at   timestamptz NOT NULL,
    birth_date   date,
    revision     integer NOT NULL DEFAULT 0,
    sex          smallint CHECK (sex IN (1, 2)),
    name_sealed  bytea,
    phone_sealed bytea,
    CHECK (name_digest IS NULL OR name_sealed IS NOT NULL)
);
CREATE INDEX identity_person_name ON identity_person (name_digest, birth_date) WHERE name_digest IS NOT NULL;

-- Each identifier may have several holders, numbered by variant. The primary key lets two arrivals of one
-- new identifier become one row, whoever commits first. A foreign key to identity_person would cost as much
-- as the insert itself; persons are never deleted, and the linker writes both in one transaction.
CREATE TABLE identity_identifier (
    person   bigint NOT NULL,
    origin   bigint,
    seen_at  timestamptz NOT NULL,
    kind     smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
    variant  smallint NOT NULL CHECK (variant >= 0),
    disputed boolean NOT NULL,
    digest   bytea NOT NULL CHECK (length(digest) = 16),
    sealed   bytea,  -- NULL for demographic identifiers: name and birth date are the person's
    issuer   text,   -- institution code, or document type
    PRIMARY KEY (digest, variant)
);
CREATE INDEX identity_identifier_person ON identity_identifier (person);

CREATE TABLE identity_review (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person     bigint NOT NULL REFERENCES identity_person (id),
    other      bigint NOT NULL REFERENCES identity_person (id),
    kind       smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
    reason     text NOT NULL CHECK (reason IN ('contradiction', 'possible-duplicate')),
    digest     bytea NOT NULL,
    issuer     text,
    origin     bigint,
    created_at timestamptz NOT NULL,
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'different', 'same')),
    decided_at timestamptz,
    decided_by text,
    note       text,
    CHECK (person <> other),
    CHECK ((state = 'open') = (decided_at IS NULL))
);
CREATE INDEX identity_review_open ON identity_review (id) WHERE state = 'open';
CREATE INDEX identity_review_person ON identity_review (person);
CREATE INDEX identity_review_other ON identity_review (other);

-- What changed and what was decided. That a person was created, or became a holder, by which file and when,
-- stands in the rows themselves.
CREATE TABLE identity_event (
    id     bigint GENERATED ALWAYS AS IDENTITY,
    person bigint NOT NULL,
    other  bigint,
    origin bigint,
    at     timestamptz NOT NULL,
    kind   smallint NOT NULL,
    actor  text NOT NULL,
    PRIMARY KEY (person, id)
);

CREATE FUNCTION identity_event_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'identity_event is append-only';
END
$$;
CREATE TRIGGER identity_event_stands BEFORE UPDATE OR DELETE ON identity_event
    FOR EACH STATEMENT EXECUTE FUNCTION identity_event_stands();

-- How many persons each call created: a count that neither scans the persons nor makes writers wait.
CREATE TABLE identity_tally (
    day     date NOT NULL,
    persons bigint NOT NULL
);
CREATE INDEX identity_tally_day ON identity_tally (day);
