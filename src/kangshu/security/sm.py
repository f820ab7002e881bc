"""The commercial ciphers (国密) in one place: SM2 signatures, SM3 digests, the SM4 cipher.

Everybody imports from here, so that a hardware module can take the place of the software.
SM3 and SM4 are OpenSSL's; SM2 is our own and not constant-time (see `sm2`).
"""

from kangshu.security.sm2 import (
    DEFAULT_USER_ID as SM2_DEFAULT_USER_ID,
)
from kangshu.security.sm2 import (
    from_der as sm2_from_der,
)
from kangshu.security.sm2 import (
    is_public_key as sm2_is_public_key,
)
from kangshu.security.sm2 import (
    keypair as sm2_keypair,
)
from kangshu.security.sm2 import (
    public_key as sm2_public_key,
)
from kangshu.security.sm2 import (
    sign as sm2_sign,
)
from kangshu.security.sm2 import (
    to_der as sm2_to_der,
)
from kangshu.security.sm2 import (
    verify as sm2_verify,
)
from kangshu.security.sm3 import hmac_sm3, sm3
from kangshu.security.sm4 import (
    sm4_ctr,
    sm4_decrypt_block,
    sm4_ecb_decrypt,
    sm4_ecb_encrypt,
    sm4_encrypt_block,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)

__all__ = [
    "SM2_DEFAULT_USER_ID",
    "hmac_sm3",
    "sm2_from_der",
    "sm2_is_public_key",
    "sm2_keypair",
    "sm2_public_key",
    "sm2_sign",
    "sm2_to_der",
    "sm2_verify",
    "sm3",
    "sm4_ctr",
    "sm4_decrypt_block",
    "sm4_ecb_decrypt",
    "sm4_ecb_encrypt",
    "sm4_encrypt_block",
    "sm4_gcm_decrypt",
    "sm4_gcm_encrypt",
]
