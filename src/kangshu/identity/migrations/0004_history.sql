-- The past of the index, complete enough to make it anew: who was given to whom, what people took apart and
-- put back, which pairs are never to be merged again, who said what about a review entry, and the
-- automatic links that were looked at to learn how often they are wrong.

-- Every holding as it was first given, one row a statement: bulk files bring it a column at a time. The
-- digests and ids do not shrink, so no time is spent on trying.
CREATE TABLE identity_linked (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    origin   bigint,
    digests  bytea[] NOT NULL,
    variants smallint[] NOT NULL,
    persons  bigint[] NOT NULL
);
ALTER TABLE identity_linked ALTER digests SET STORAGE EXTERNAL, ALTER persons SET STORAGE EXTERNAL;
INSERT INTO identity_linked (at, origin, digests, variants, persons)
    SELECT max(i.seen_at), NULL, array_agg(i.digest), array_agg(i.variant), array_agg(i.person)
    FROM (SELECT *, row_number() OVER (ORDER BY digest, variant) / 50000 AS part FROM identity_identifier) i
    GROUP BY i.part ORDER BY i.part;

-- In the database, so that no writer can forget it.
CREATE FUNCTION identity_linked_too() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO identity_linked (at, origin, digests, variants, persons)
        SELECT max(seen_at), max(origin), array_agg(digest), array_agg(variant), array_agg(person)
        FROM fresh HAVING count(*) > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_linked_too AFTER INSERT ON identity_identifier REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION identity_linked_too();

-- Identifiers that were taken out of a person into a new one.
CREATE TABLE identity_split (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person    bigint NOT NULL REFERENCES identity_person (id),
    created   bigint NOT NULL UNIQUE REFERENCES identity_person (id),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    undone_at timestamptz,
    undone_by text,
    merge     bigint REFERENCES identity_merge (id),  -- by which the undo let the new person mean the old
    CHECK (person <> created),
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX identity_split_person ON identity_split (person);

-- Every move of a holding, by a split or its undo: the last one tells whose it is.
CREATE TABLE identity_moved (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    split    bigint NOT NULL REFERENCES identity_split (id),
    digest   bytea NOT NULL CHECK (length(digest) = 16),
    variant  smallint NOT NULL,
    origin   bigint NOT NULL,  -- the person it was taken from
    target   bigint NOT NULL,
    undoing  boolean NOT NULL
);
CREATE INDEX identity_moved_key ON identity_moved (digest, variant, id);
CREATE INDEX identity_moved_split ON identity_moved (split);

CREATE FUNCTION identity_past_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER identity_linked_stands BEFORE UPDATE OR DELETE ON identity_linked
    FOR EACH STATEMENT EXECUTE FUNCTION identity_past_stands();
CREATE TRIGGER identity_moved_stands BEFORE UPDATE OR DELETE ON identity_moved
    FOR EACH STATEMENT EXECUTE FUNCTION identity_past_stands();

-- Of a merge and a split nothing ever changes but that they are undone, once.
CREATE FUNCTION identity_merge_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.undone_at IS NOT NULL
        OR (NEW.id, NEW.survivor, NEW.absorbed, NEW.at, NEW.actor, NEW.reason)
            IS DISTINCT FROM (OLD.id, OLD.survivor, OLD.absorbed, OLD.at, OLD.actor, OLD.reason) THEN
        RAISE EXCEPTION 'a merge stands; it can only be undone';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER identity_merge_stands BEFORE UPDATE OR DELETE ON identity_merge
    FOR EACH ROW EXECUTE FUNCTION identity_merge_stands();

CREATE FUNCTION identity_split_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.undone_at IS NOT NULL
        OR (NEW.id, NEW.person, NEW.created, NEW.at, NEW.actor, NEW.reason)
            IS DISTINCT FROM (OLD.id, OLD.person, OLD.created, OLD.at, OLD.actor, OLD.reason) THEN
        RAISE EXCEPTION 'a split stands; it can only be undone';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER identity_split_stands BEFORE UPDATE OR DELETE ON identity_split
    FOR EACH ROW EXECUTE FUNCTION identity_split_stands();

-- Why and by what a program merged: the weight in bits and the version of the model.
ALTER TABLE identity_merge
    ADD COLUMN weight double precision,
    ADD COLUMN model  text;
ALTER TABLE identity_event
    ADD COLUMN reason    text,
    ADD COLUMN weight    double precision,
    ADD COLUMN model     text,
    ADD COLUMN operation bigint;  -- the merge or the split

-- Pairs that no program may merge (again): a human said so. A human's merge lifts it, its undo restores it.
CREATE TABLE identity_apart (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    one       bigint NOT NULL REFERENCES identity_person (id),
    other     bigint NOT NULL REFERENCES identity_person (id),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    cause     text NOT NULL CHECK (cause IN ('review', 'split', 'undo')),
    operation bigint,  -- the review entry, the split or the merge
    lifted_at timestamptz,
    lifted_by text,
    merge     bigint REFERENCES identity_merge (id),  -- which lifted it
    CHECK (one < other)
);
CREATE UNIQUE INDEX identity_apart_pair ON identity_apart (one, other) WHERE lifted_at IS NULL;
CREATE INDEX identity_apart_other ON identity_apart (other) WHERE lifted_at IS NULL;
CREATE INDEX identity_apart_merge ON identity_apart (merge) WHERE merge IS NOT NULL;

-- What each reviewer said; where patients' records would come together, two must agree.
CREATE TABLE identity_opinion (
    review   bigint NOT NULL REFERENCES identity_review (id),
    actor    text NOT NULL,
    same     boolean NOT NULL,
    survivor bigint,
    at       timestamptz NOT NULL,
    note     text,
    PRIMARY KEY (review, actor)
);
CREATE INDEX identity_opinion_at ON identity_opinion (at);

-- How much a decision is worth; NULL: not weighed yet.
ALTER TABLE identity_review ADD COLUMN value real;
CREATE INDEX identity_review_value ON identity_review (value DESC, id DESC) WHERE state = 'open';
CREATE INDEX identity_review_unweighed ON identity_review (id) WHERE state = 'open' AND value IS NULL;
CREATE INDEX identity_review_decided ON identity_review (decided_at) WHERE decided_at IS NOT NULL;

-- Automatic links (of `identity_account`) drawn at random to be looked at.
CREATE TABLE identity_sample (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account   bigint NOT NULL UNIQUE,
    drawn_at  timestamptz NOT NULL,
    drawn_by  text NOT NULL,
    verdict   text CHECK (verdict IN ('right', 'wrong', 'unsure')),
    judged_at timestamptz,
    judged_by text,
    note      text,
    CHECK ((verdict IS NULL) = (judged_at IS NULL)),
    CHECK ((verdict IS NULL) = (judged_by IS NULL))
);
CREATE INDEX identity_sample_open ON identity_sample (id) WHERE verdict IS NULL;
