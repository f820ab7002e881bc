-- Keys with which machines sign requests, and the nonces of requests of the last minutes. No personal data.
-- An HMAC secret is sealed (SM4) and kept with its look-up digest; an SM2 key is the public one.

CREATE TABLE security_signing_key (
    id          text        PRIMARY KEY,
    client_id   text        NOT NULL REFERENCES security_client ON DELETE CASCADE,
    procedure   text        NOT NULL CHECK (procedure IN ('hmac-sm3', 'sm2')),
    secret      bytea       NOT NULL,
    digest      bytea       NOT NULL,
    active      boolean     NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL
);
CREATE INDEX security_signing_key_client ON security_signing_key (client_id);

CREATE TABLE security_nonce (
    digest     bytea       PRIMARY KEY CHECK (length(digest) = 16),
    expires_at timestamptz NOT NULL
);
CREATE INDEX security_nonce_expiry ON security_nonce USING brin (expires_at);
