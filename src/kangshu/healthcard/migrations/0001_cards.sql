-- Electronic health cards (电子健康卡). What names a person (card id, index id, document, name, phone) is
-- sealed with SM4-GCM or a keyed digest; in clear are only what counting needs: kinds, states, institutions, days.
-- Personal data: all of healthcard_card, _binding, _use, _family, _event. Kept: as long as the person's record.
-- Seen by: the holder, institutions at a scan (masked, by role), the centre's card staff.

-- Keys of cards by kind and version, sealed under the installation's data key.
CREATE TABLE healthcard_key (
    kind       text NOT NULL CHECK (kind IN ('root', 'code', 'sign')),
    version    integer NOT NULL CHECK (version > 0),
    sealed     bytea NOT NULL,
    made_at    timestamptz NOT NULL,
    good_until timestamptz,  -- NULL: the one that makes new things
    PRIMARY KEY (kind, version)
);
CREATE UNIQUE INDEX healthcard_key_current ON healthcard_key (kind) WHERE good_until IS NULL;

CREATE TABLE healthcard_card (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person        bigint NOT NULL,  -- of the person index, as registered; merges are followed when it is read
    registered_at timestamptz NOT NULL,
    claimed_at    timestamptz,
    valid_until   timestamptz,
    guardian      bigint REFERENCES healthcard_card (id),
    successor     bigint REFERENCES healthcard_card (id),
    revision      integer NOT NULL DEFAULT 0,
    root_version  integer NOT NULL,
    issue         smallint NOT NULL,
    status        smallint NOT NULL CHECK (status BETWEEN 1 AND 5),
    attribute     smallint NOT NULL CHECK (attribute IN (1, 2)),
    medium        smallint NOT NULL CHECK (medium IN (0, 1)),
    way           smallint NOT NULL CHECK (way BETWEEN 1 AND 4),
    strong        boolean NOT NULL,  -- the document is a resident card
    document      bytea NOT NULL CHECK (length(document) = 16),
    card          bytea NOT NULL CHECK (length(card) = 16),
    index_id      bytea NOT NULL CHECK (length(index_id) = 16),
    sealed        bytea NOT NULL,
    institution   text,
    CHECK ((attribute = 1) = (valid_until IS NOT NULL))
);
-- One card in force per document, whoever registers at the same time.
CREATE UNIQUE INDEX healthcard_card_document ON healthcard_card (document) WHERE status <> 3;
CREATE INDEX healthcard_card_documents ON healthcard_card (document) WHERE status = 3;
CREATE UNIQUE INDEX healthcard_card_card ON healthcard_card (card);
CREATE INDEX healthcard_card_person ON healthcard_card (person);
CREATE INDEX healthcard_card_index ON healthcard_card (index_id);
CREATE INDEX healthcard_card_temporary ON healthcard_card (valid_until) WHERE attribute = 1 AND status <> 3;
CREATE INDEX healthcard_card_guardian ON healthcard_card (guardian) WHERE guardian IS NOT NULL;

-- What happened to cards after they were made; that is told by the card itself. A reason is sealed.
CREATE TABLE healthcard_event (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    card        bigint NOT NULL,
    other       bigint,
    at          timestamptz NOT NULL,
    kind        text NOT NULL,
    actor       text NOT NULL,
    institution text,
    reason      bytea,
    PRIMARY KEY (card, id)
);
CREATE FUNCTION healthcard_event_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'healthcard_event is append-only';
END
$$;
CREATE TRIGGER healthcard_event_stands BEFORE UPDATE OR DELETE ON healthcard_event
    FOR EACH STATEMENT EXECUTE FUNCTION healthcard_event_stands();

CREATE TABLE healthcard_family (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card     bigint NOT NULL REFERENCES healthcard_card (id),
    member   bigint NOT NULL REFERENCES healthcard_card (id),
    relation text NOT NULL,
    guardian boolean NOT NULL,
    since    timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK (card <> member)
);
CREATE UNIQUE INDEX healthcard_family_card ON healthcard_family (card, member) WHERE ended_at IS NULL;
CREATE INDEX healthcard_family_member ON healthcard_family (member) WHERE ended_at IS NULL;

-- Other codes of the same holder. `digest` is of system, issuer and value.
CREATE TABLE healthcard_binding (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card     bigint NOT NULL REFERENCES healthcard_card (id),
    bound_at timestamptz NOT NULL,
    ended_at timestamptz,
    counted  boolean NOT NULL,
    digest   bytea NOT NULL CHECK (length(digest) = 16),
    sealed   bytea NOT NULL,
    system   text NOT NULL,
    issuer   text NOT NULL
);
CREATE UNIQUE INDEX healthcard_binding_digest ON healthcard_binding (digest) WHERE ended_at IS NULL;
CREATE INDEX healthcard_binding_card ON healthcard_binding (card);

-- Dynamic codes that were scanned, until they are over: a code belongs to the first terminal.
CREATE TABLE healthcard_seen (
    mark        bytea PRIMARY KEY CHECK (length(mark) = 16),
    expires_at  timestamptz NOT NULL,
    terminal    text NOT NULL  -- institution and terminal
);
CREATE INDEX healthcard_seen_expires ON healthcard_seen (expires_at);

-- Use records (用卡记录); the key is a digest of card, institution, scene, moment and order number.
CREATE TABLE healthcard_use (
    key           bytea PRIMARY KEY CHECK (length(key) = 16),
    card          bigint NOT NULL REFERENCES healthcard_card (id),
    used_at       timestamptz NOT NULL,
    told_at       timestamptz NOT NULL,
    off_card      boolean NOT NULL,
    institution   text NOT NULL,
    scene         text NOT NULL,
    medium        text NOT NULL,
    department    text,
    terminal      text,
    terminal_type text,
    channel       text,
    cost_type     text,
    visit_type    text
);
CREATE INDEX healthcard_use_card ON healthcard_use (card, used_at);

-- Index ids that are at home elsewhere, as the national index told.
CREATE TABLE healthcard_home (
    index_id bytea PRIMARY KEY CHECK (length(index_id) = 16),
    region   text NOT NULL,
    told_at  timestamptz NOT NULL
);

-- Counts: each statement adds rows, sums are read, and maintenance puts rows of one key together. Nobody waits
-- for another's count.
CREATE TABLE healthcard_card_tally (
    status    smallint NOT NULL,
    attribute smallint NOT NULL,
    way       smallint NOT NULL,
    claimed   boolean NOT NULL,
    institution text,
    cards     bigint NOT NULL
);
CREATE TABLE healthcard_issue_tally (
    day         date NOT NULL,
    institution text,
    cards       bigint NOT NULL
);
CREATE INDEX healthcard_issue_tally_day ON healthcard_issue_tally (day);
CREATE TABLE healthcard_use_tally (
    day         date NOT NULL,
    institution text NOT NULL,
    scene       text NOT NULL,
    uses        bigint NOT NULL,
    off_card    bigint NOT NULL
);
CREATE INDEX healthcard_use_tally_day ON healthcard_use_tally (day);
CREATE TABLE healthcard_scan_tally (
    day         date NOT NULL,
    institution text NOT NULL,
    scene       text NOT NULL,
    refusal     text NOT NULL,  -- empty: accepted
    scans       bigint NOT NULL
);
CREATE INDEX healthcard_scan_tally_day ON healthcard_scan_tally (day);

CREATE FUNCTION healthcard_count_cards() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO healthcard_card_tally (status, attribute, way, claimed, institution, cards)
        SELECT status, attribute, way, claimed_at IS NOT NULL, institution, count(*)
        FROM arrived GROUP BY 1, 2, 3, 4, 5;
    RETURN NULL;
END
$$;
CREATE FUNCTION healthcard_recount_cards() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO healthcard_card_tally (status, attribute, way, claimed, institution, cards)
        SELECT status, attribute, way, claimed, institution, sum(n)
        FROM (SELECT status, attribute, way, claimed_at IS NOT NULL AS claimed, institution, 1 AS n FROM arrived
              UNION ALL
              SELECT status, attribute, way, claimed_at IS NOT NULL, institution, -1 FROM left_) AS c
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER healthcard_count_cards AFTER INSERT ON healthcard_card
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION healthcard_count_cards();
CREATE TRIGGER healthcard_recount_cards AFTER UPDATE ON healthcard_card
    REFERENCING NEW TABLE AS arrived OLD TABLE AS left_
    FOR EACH STATEMENT EXECUTE FUNCTION healthcard_recount_cards();

-- Which card stands for each of these persons, after all merges: of the cards in force the survivor's own,
-- formal before temporary, a resident card's before another document's, the oldest. Merges are read by the
-- index's own function in the caller's snapshot, so one under way is seen wholly or not at all.
CREATE FUNCTION healthcard_standing(persons bigint[], moment timestamptz)
    RETURNS TABLE (person bigint, survivor bigint, active bigint, sealed bytea, card bytea, attribute smallint)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT g.id, g.survivor, best.id, best.sealed, best.card, best.attribute
    FROM (SELECT g.id, g.survivor, array_agg(g.member) || g.survivor AS members
          FROM identity_groups(persons) g GROUP BY g.id, g.survivor) g
        LEFT JOIN LATERAL (
            SELECT c.id, c.sealed, c.card, c.attribute FROM healthcard_card c
            WHERE c.person = ANY (g.members) AND c.status = 1
                AND (c.valid_until IS NULL OR c.valid_until > moment)
            ORDER BY c.attribute DESC, (c.person = g.survivor) DESC, c.strong DESC, c.id LIMIT 1) best ON true;
END
$$;

-- One call for all codes that were read at the same moment: their cards, who had a dynamic code before, and the
-- counts. Marks are taken in their order, so that two calls cannot wait for each other in a circle.
-- `verdicts` are refusals that are known without asking (empty: ask).
CREATE FUNCTION healthcard_scan(cards bytea[], temporaries boolean[], marks bytea[], ends timestamptz[],
    terminals text[], institutions text[], scenes text[], verdicts text[], reuse text, moment timestamptz,
    today date)
    RETURNS TABLE (place integer, verdict text, repeated boolean, id bigint, person bigint, active bigint,
        sealed bytea, card bytea, attribute smallint)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    fresh bytea[] := '{}';
BEGIN
    IF reuse <> 'any' AND EXISTS (SELECT FROM unnest(marks) AS m (mark) WHERE m.mark IS NOT NULL) THEN
        WITH taken AS (
            INSERT INTO healthcard_seen (mark, expires_at, terminal)
            SELECT DISTINCT ON (m.mark) m.mark, m.ends, m.terminal
            FROM unnest(marks, ends, terminals, verdicts, cards) WITH ORDINALITY
                AS m (mark, ends, terminal, verdict, card, place)
            WHERE m.mark IS NOT NULL AND m.verdict = ''
            ORDER BY m.mark, m.place
            ON CONFLICT DO NOTHING RETURNING mark)
        SELECT coalesce(array_agg(t.mark), '{}') INTO fresh FROM taken t;
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
            SELECT a.*, row_number() OVER (PARTITION BY a.mark ORDER BY a.place) AS turn
            FROM unnest(cards, temporaries, marks, terminals, institutions, scenes, verdicts) WITH ORDINALITY
                AS a (card, temporary, mark, terminal, institution, scene, verdict, place)),
        found AS MATERIALIZED (
            SELECT a.place::integer - 1 AS place, a.institution, a.scene, c.id, c.person, c.attribute,
                a.mark IS NOT NULL AND NOT (a.mark = ANY (fresh) AND a.turn = 1) AND reuse <> 'any' AS again,
                CASE
                    WHEN a.verdict <> '' THEN a.verdict
                    WHEN c.id IS NULL OR (c.attribute = 1) <> a.temporary THEN 'unknown'
                    WHEN c.status = 2 THEN 'lost'
                    WHEN c.status = 3 THEN 'cancelled'
                    WHEN c.status <> 1 THEN 'not-issued'
                    WHEN c.valid_until <= moment THEN 'card-expired'
                    WHEN a.mark IS NULL OR reuse = 'any' THEN ''
                    WHEN a.mark = ANY (fresh) AND a.turn = 1 THEN ''
                    WHEN reuse = 'same-terminal' AND s.terminal = a.terminal THEN ''
                    ELSE 'replayed'
                END AS verdict
            FROM asked a LEFT JOIN healthcard_card c ON c.card = a.card
                LEFT JOIN healthcard_seen s ON s.mark = a.mark),
        tally AS (
            INSERT INTO healthcard_scan_tally (day, institution, scene, refusal, scans)
            SELECT today, f.institution, f.scene, f.verdict, count(*) FROM found f
            GROUP BY f.institution, f.scene, f.verdict)
    SELECT f.place, f.verdict, f.again AND f.verdict = '', f.id, coalesce(g.survivor, f.person), g.active,
        g.sealed, g.card, g.attribute
    FROM found f
        LEFT JOIN healthcard_standing(ARRAY(SELECT DISTINCT f.person FROM found f WHERE f.person IS NOT NULL),
            moment) g ON g.person = f.person
    ORDER BY f.place;
END
$$;

-- Use records told before change nothing. Returns the places (from 0) of those that are new.
CREATE FUNCTION healthcard_record_uses(keys bytea[], cards bigint[], moments timestamptz[], off_cards boolean[],
    scenes text[], media text[], departments text[], terminals text[], terminal_types text[], channels text[],
    cost_types text[], visit_types text[], of_institution text, told timestamptz, zone text)
    RETURNS SETOF bytea
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    WITH added AS (
            INSERT INTO healthcard_use (key, card, used_at, told_at, off_card, institution, scene, medium,
                department, terminal, terminal_type, channel, cost_type, visit_type)
            SELECT u.key, u.card, u.used_at, told, u.off_card, of_institution, u.scene, u.medium, u.department,
                u.terminal, u.terminal_type, u.channel, u.cost_type, u.visit_type
            FROM unnest(keys, cards, moments, off_cards, scenes, media, departments, terminals, terminal_types,
                    channels, cost_types, visit_types)
                AS u (key, card, used_at, off_card, scene, medium, department, terminal, terminal_type, channel,
                    cost_type, visit_type)
            ORDER BY u.key
            ON CONFLICT DO NOTHING
            RETURNING key, used_at, scene, off_card),
        tally AS (
            INSERT INTO healthcard_use_tally (day, institution, scene, uses, off_card)
            SELECT (a.used_at AT TIME ZONE zone)::date, of_institution, a.scene, count(*),
                count(*) FILTER (WHERE a.off_card)
            FROM added a GROUP BY 1, 3)
    SELECT a.key FROM added a;
END
$$;
