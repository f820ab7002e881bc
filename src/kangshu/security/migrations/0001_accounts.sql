-- Staff accounts, their sessions, machine clients and bearer tokens. Personal data: name and title of
-- staff; no resident. Kept as long as the account is needed for reading the audit.

CREATE TABLE security_account (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text        NOT NULL CONSTRAINT security_account_name UNIQUE,
    title           text        NOT NULL,
    password_hash   text        NOT NULL,
    roles           text[]      NOT NULL CHECK (cardinality(roles) > 0),
    reaches         text[]      NOT NULL CHECK (cardinality(reaches) > 0),
    active          boolean     NOT NULL DEFAULT true,
    otp_secret      bytea,
    otp_confirmed   boolean     NOT NULL DEFAULT false,
    otp_last_step   bigint,
    failures        integer     NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until    timestamptz,
    created_at      timestamptz NOT NULL,
    password_set_at timestamptz NOT NULL,
    last_sign_in_at timestamptz,
    CHECK (otp_secret IS NOT NULL OR NOT otp_confirmed)
);

CREATE TABLE security_session (
    token_digest bytea       PRIMARY KEY CHECK (length(token_digest) = 32),
    account_id   bigint      NOT NULL REFERENCES security_account ON DELETE CASCADE,
    opened_at    timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL
);
CREATE INDEX security_session_account ON security_session (account_id);

CREATE TABLE security_client (
    id            text        PRIMARY KEY,
    institution   text        NOT NULL,
    secret_digest bytea       NOT NULL CHECK (length(secret_digest) = 32),
    scopes        text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    active        boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL
);
CREATE INDEX security_client_institution ON security_client (institution);

CREATE TABLE security_token (
    token_digest bytea       PRIMARY KEY CHECK (length(token_digest) = 32),
    client_id    text        REFERENCES security_client ON DELETE CASCADE,
    account_id   bigint      REFERENCES security_account ON DELETE CASCADE,
    scopes       text[]      NOT NULL,
    expires_at   timestamptz NOT NULL,
    CHECK (num_nonnulls(client_id, account_id) = 1)
);
CREATE INDEX security_token_client ON security_token (client_id);
CREATE INDEX security_token_account ON security_token (account_id);
CREATE INDEX security_token_expiry ON security_token (expires_at);
