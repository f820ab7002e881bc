-- What probabilistic linking compares, how it finds whom to compare, and why it decided as it did.
-- No name, number, phone or address stands here in clear: sealed is SM4, digests are keyed SM3.

-- What records told of a person, ready to be compared: one row for each different profile.
CREATE TABLE identity_profile (
    person bigint NOT NULL,
    digest bigint NOT NULL,  -- first eight bytes of the profile's digest: the same is kept once
    origin bigint,
    at     timestamptz NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (person, digest)
);

-- Under which blocking keys a person is found. The holders of one key are numbered by variant, so that two
-- arrivals that could be one person and were looked up at the same moment collide, and the later looks again.
-- A key that reached its last variant says nothing any more: nobody is added to it, nobody is found by it.
CREATE TABLE identity_key (
    digest  bigint NOT NULL,  -- first eight bytes
    person  bigint NOT NULL,
    variant smallint NOT NULL CHECK (variant >= 0),
    PRIMARY KEY (digest, variant) INCLUDE (person)
);

-- Persons whom files (or messages, where nobody compared) created and who are not compared yet: all that
-- `origin` created with ids from `first` to `last`. A row is gone when that is done.
CREATE TABLE identity_unmatched (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first  bigint NOT NULL,
    last   bigint NOT NULL,
    origin bigint,
    anyway boolean NOT NULL DEFAULT false,  -- whoever created them
    CHECK (first <= last)
);
INSERT INTO identity_unmatched (first, last, anyway)
    SELECT min(id), max(id), true FROM identity_person HAVING count(*) > 0;

-- Why a record was linked to a person, or two persons are held to be one, or may be. What arrived and was
-- linked at once became no person: then `other` is NULL and `digests` are its identifiers.
CREATE SEQUENCE identity_account_id AS bigint;
CREATE TABLE identity_account (
    id      bigint PRIMARY KEY,  -- from identity_account_id
    person  bigint NOT NULL,
    other   bigint,
    origin  bigint,
    at      timestamptz NOT NULL,
    weight  double precision NOT NULL,
    prior   double precision NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('link', 'possible', 'different')),
    model   text NOT NULL,  -- version of the model
    actor   text NOT NULL,
    parts   jsonb NOT NULL,  -- [[comparison, level, weight], ...]
    guards  text[] NOT NULL,
    digests bytea[],
    merge   bigint REFERENCES identity_merge (id),  -- the merge that followed from it
    CHECK (person <> other)
);
CREATE INDEX identity_account_person ON identity_account (person);
CREATE INDEX identity_account_other ON identity_account (other) WHERE other IS NOT NULL;
CREATE INDEX identity_account_merge ON identity_account (merge) WHERE merge IS NOT NULL;

-- Two persons that may be one by what they tell hold no identifier in common: kind and digest are NULL.
ALTER TABLE identity_review
    ALTER COLUMN kind DROP NOT NULL,
    ALTER COLUMN digest DROP NOT NULL,
    ADD COLUMN account bigint,
    DROP CONSTRAINT identity_review_reason_check,
    ADD CONSTRAINT identity_review_reason_check
        CHECK (reason IN ('contradiction', 'possible-duplicate', 'possible-match')),
    ADD CHECK (reason = 'possible-match' OR kind IS NOT NULL AND digest IS NOT NULL);

ALTER TABLE identity_event ADD COLUMN account bigint;  -- why, where it was weighed

-- What one look-up answers, in two kinds of rows. With `slot`, the digest's place from 0: `variant`, its next
-- free one, and `persons` who hold it; those are NULL from `most` holders on. Without: what is known of a
-- person `id` that stands for one who was found, and each of the profiles of all that are merged into it
-- (`persons` is the one whose profile it is).
CREATE FUNCTION identity_candidates(digests bigint[], most integer, profiles integer)
    RETURNS TABLE (slot integer, variant integer, persons bigint[], id bigint, revision integer, name bigint,
        former_name bigint, birth integer, former_birth integer, resident bigint, survivor bigint, sex smallint,
        name_sealed bytea, phone_sealed bytea, sealed bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    place integer := 0;
    wanted bigint;
    next_variant integer;
    holders bigint[];
    found bigint[] := '{}';
BEGIN
    FOREACH wanted IN ARRAY digests LOOP
        SELECT coalesce(max(h.variant), -1) + 1, array_agg(h.person) INTO next_variant, holders
        FROM (SELECT k.variant, k.person FROM identity_key k WHERE k.digest = wanted
            ORDER BY k.variant LIMIT most) h;
        IF next_variant > 0 THEN
            slot := place;
            variant := next_variant;
            IF next_variant >= most THEN
                persons := NULL;
            ELSE
                persons := holders;
                found := found || holders;
            END IF;
            RETURN NEXT;
        END IF;
        place := place + 1;
    END LOOP;
    IF cardinality(found) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH roots AS MATERIALIZED (
        SELECT DISTINCT coalesce(p.survivor, p.id) AS id
        FROM (SELECT DISTINCT unnest(found) AS id) f JOIN identity_person p ON p.id = f.id),
    members AS (
        SELECT r.id AS root, r.id FROM roots r
        UNION ALL SELECT r.id, m.id FROM roots r JOIN identity_person m ON m.survivor = r.id)
    SELECT NULL::integer, NULL::integer, ARRAY[m.id], p.id, p.revision, p.name_digest, p.former_name,
        p.birth_date - DATE '1970-01-01', p.former_birth - DATE '1970-01-01', p.resident, p.survivor, p.sex,
        p.name_sealed, p.phone_sealed, f.sealed
    FROM members m JOIN identity_person p ON p.id = m.root
        LEFT JOIN LATERAL (SELECT sealed FROM identity_profile f WHERE f.person = m.id
            ORDER BY f.digest LIMIT profiles) f ON true
    ORDER BY p.id, m.id;
END
$$;
