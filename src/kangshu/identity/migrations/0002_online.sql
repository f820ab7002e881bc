-- Persons as messages tell of them one by one: corrected facts, merges, and what queries ask for.
-- Columns that bulk files leave NULL cost them nothing but a bit.

ALTER TABLE identity_person
    ADD COLUMN survivor     bigint,  -- the person into whom this one was merged, at the end of the chain
    ADD COLUMN former_name  bigint,  -- what a message replaced last; a claim that tells it still agrees
    ADD COLUMN former_birth date,
    ADD CHECK (survivor <> id);
CREATE INDEX identity_person_survivor ON identity_person (survivor) WHERE survivor IS NOT NULL;
CREATE INDEX identity_person_former_name ON identity_person (former_name) WHERE former_name IS NOT NULL;
CREATE INDEX identity_person_birth ON identity_person (birth_date);

-- What a correction replaced, sealed as it was; NULL: not touched, or not known before.
ALTER TABLE identity_event
    ADD COLUMN name_sealed  bytea,
    ADD COLUMN phone_sealed bytea,
    ADD COLUMN birth_date   date,
    ADD COLUMN sex          smallint;

-- Every merge there ever was. Those not undone are the edges of a forest: `survivor` and `absorbed` are the
-- persons that stood at the ends of their chains then, and nobody is absorbed twice at a time.
CREATE TABLE identity_merge (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    survivor  bigint NOT NULL REFERENCES identity_person (id),
    absorbed  bigint NOT NULL REFERENCES identity_person (id),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    origin    bigint,
    undone_at timestamptz,
    undone_by text,
    CHECK (survivor <> absorbed),
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE UNIQUE INDEX identity_merge_absorbed ON identity_merge (absorbed) WHERE undone_at IS NULL;
CREATE INDEX identity_merge_survivor ON identity_merge (survivor);
CREATE INDEX identity_merge_once_absorbed ON identity_merge (absorbed);

-- Review entries that a merge closed: its undo opens them again.
ALTER TABLE identity_review ADD COLUMN merge bigint REFERENCES identity_merge (id);
CREATE INDEX identity_review_merge ON identity_review (merge) WHERE merge IS NOT NULL;

-- Keyed digests of the parts of names that are written with blanks, so that a family name alone finds them.
CREATE TABLE identity_name_part (
    digest bigint NOT NULL,
    person bigint NOT NULL,
    PRIMARY KEY (digest, person)
);

-- How a person's mother is known, as told with the child (PID-21, PID-6). She need not be known herself.
CREATE TABLE identity_mother (
    child   bigint NOT NULL,
    digest  bytea NOT NULL CHECK (length(digest) = 16),
    kind    smallint CHECK (kind BETWEEN 1 AND 3),  -- NULL: her name
    issuer  text,
    sealed  bytea NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (child, digest)
);
CREATE INDEX identity_mother_digest ON identity_mother (digest);

-- Who ever assigned a number that a message told: a query may name an authority of which nobody has heard.
-- Files do not write here: a long transaction would let messages wait, and their senders are in the directory.
CREATE TABLE identity_issuer (
    issuer  text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
INSERT INTO identity_issuer (issuer, seen_at)
    SELECT issuer, min(seen_at) FROM identity_identifier WHERE issuer IS NOT NULL GROUP BY issuer;

-- What messages ask and change again and again. In functions, so that the planner can be told to read one
-- index entry per row: its other idea, reading whole tables, seems cheap while they are small, and the plan
-- that it keeps then outlives that by far.

CREATE FUNCTION identity_known(digests bytea[], most integer)
    RETURNS TABLE (slot integer, variant smallint, disputed boolean, id bigint, revision integer, name bigint,
        former_name bigint, birth integer, former_birth integer, resident bigint, survivor bigint, sex smallint,
        name_sealed bytea, phone_sealed bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.place::integer - 1, i.variant, i.disputed, p.id, p.revision, p.name_digest, p.former_name,
        p.birth_date - DATE '1970-01-01', p.former_birth - DATE '1970-01-01', p.resident, p.survivor, p.sex,
        p.name_sealed, p.phone_sealed
    FROM unnest(digests) WITH ORDINALITY AS d (digest, place)
        JOIN identity_identifier i ON i.digest = d.digest AND i.variant < most
        JOIN identity_person p ON p.id = i.person
    ORDER BY d.place, i.variant;
END
$$;

CREATE FUNCTION identity_groups(persons bigint[])
    RETURNS TABLE (id bigint, survivor bigint, member bigint)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.id, coalesce(p.survivor, p.id), m.id
    FROM unnest(persons) AS a (id) JOIN identity_person p ON p.id = a.id
        LEFT JOIN identity_person m ON m.survivor = coalesce(p.survivor, p.id);
END
$$;

-- Returns how many of the persons were still as they had been read (`seen`). NULL leaves a fact as it was.
CREATE FUNCTION identity_learn(persons bigint[], seen integer[], names bytea[], name_digests bigint[],
    sexes smallint[], phones bytea[], births integer[], residents bigint[], former_names bigint[],
    former_births integer[])
    RETURNS bigint
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
DECLARE
    learnt bigint;
BEGIN
    UPDATE identity_person p SET
        name_sealed = coalesce(c.name_sealed, p.name_sealed),
        name_digest = coalesce(c.name_digest, p.name_digest),
        sex = coalesce(c.sex, p.sex),
        phone_sealed = coalesce(c.phone_sealed, p.phone_sealed),
        birth_date = coalesce(DATE '1970-01-01' + c.birth, p.birth_date),
        resident = coalesce(c.resident, p.resident),
        former_name = coalesce(c.former_name, p.former_name),
        former_birth = coalesce(DATE '1970-01-01' + c.former_birth, p.former_birth),
        revision = p.revision + 1
    FROM unnest(persons, seen, names, name_digests, sexes, phones, births, residents, former_names,
            former_births)
        AS c (person, seen, name_sealed, name_digest, sex, phone_sealed, birth, resident, former_name,
            former_birth)
    WHERE p.id = c.person AND p.revision = c.seen;
    GET DIAGNOSTICS learnt = ROW_COUNT;
    RETURN learnt;
END
$$;
