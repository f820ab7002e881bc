-- A second factor that is being enrolled lies beside the one in use until its first code proves it: whoever
-- takes over a session cannot switch the factor off by starting an enrolment.

ALTER TABLE security_account ADD COLUMN otp_pending bytea;
UPDATE security_account SET otp_pending = otp_secret, otp_secret = NULL WHERE NOT otp_confirmed;
ALTER TABLE security_account DROP COLUMN otp_confirmed;
