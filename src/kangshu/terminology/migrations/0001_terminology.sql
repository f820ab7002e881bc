-- Full code lists by edition. No personal data.
-- An edition is in force from valid_from until the next edition of its system begins; the end is therefore
-- not stored: it could only disagree.

CREATE TABLE terminology_edition (
    system     text        COLLATE "C" NOT NULL,
    edition    text        NOT NULL,
    valid_from date        NOT NULL,
    loaded_at  timestamptz NOT NULL,
    PRIMARY KEY (system, edition),
    UNIQUE (system, valid_from)
);

CREATE TABLE terminology_code (
    system   text COLLATE "C" NOT NULL,
    edition  text NOT NULL,
    code     text COLLATE "C" NOT NULL,
    title    text NOT NULL,
    title_en text NOT NULL,
    PRIMARY KEY (system, edition, code),
    FOREIGN KEY (system, edition) REFERENCES terminology_edition ON DELETE CASCADE
);
