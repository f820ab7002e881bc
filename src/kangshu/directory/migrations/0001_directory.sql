-- Divisions, institutions, departments and populations. No personal data.
-- An institution names its division without a foreign key: lists arrive in any order and from several
-- hands, and an institution that reports before its division is listed must not be lost.

CREATE TABLE directory_division (
    prefix text     COLLATE "C" PRIMARY KEY,
    code   text     NOT NULL,
    name   text     NOT NULL,
    parent text     COLLATE "C",
    level  smallint NOT NULL CHECK (level BETWEEN 1 AND 5)
);
CREATE INDEX directory_division_parent ON directory_division (parent);

CREATE TABLE directory_institution (
    code            text        COLLATE "C" PRIMARY KEY,
    name            text        NOT NULL,
    short_name      text,
    division_code   text,
    division_prefix text        COLLATE "C",
    level           text,
    type            text,
    economic_type   text,
    host            text,
    opened_on       date,
    beds            integer,
    staff           integer,
    vendor          text,
    provisional     boolean     NOT NULL,
    first_seen_at   timestamptz
);
CREATE INDEX directory_institution_division ON directory_institution (division_prefix);

CREATE TABLE directory_department (
    code     text COLLATE "C" PRIMARY KEY,
    title    text NOT NULL,
    title_en text NOT NULL,
    parent   text
);

CREATE TABLE directory_population (
    division_prefix text     COLLATE "C" NOT NULL,
    year            smallint NOT NULL,
    sex             text     NOT NULL,
    age_from        smallint NOT NULL CHECK (age_from >= 0),
    age_to          smallint CHECK (age_to >= age_from),
    residents       bigint   NOT NULL CHECK (residents >= 0),
    PRIMARY KEY (division_prefix, year, sex, age_from)
);
