"""SM2, SM3 and SM4 against the standards' own vectors, and against laws where there are any."""

from __future__ import annotations

import hashlib
import hmac
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.security import sm, sm2

KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")

# GB/T 32918.5-2017, annex A.2
PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
NONCE = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
MESSAGE = b"message digest"


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        # GB/T 32905-2016, annex A
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
)
def test_sm3_gives_the_digests_of_the_standard(data: bytes, digest: str):
    assert sm.sm3(data).hex() == digest


@given(key=st.binary(max_size=64), data=st.binary(max_size=200))
def test_hmac_sm3_is_the_hmac_of_rfc_2104_over_sm3(key: bytes, data: bytes):
    padded = key.ljust(64, b"\0")
    inner = sm.sm3(bytes(byte ^ 0x36 for byte in padded) + data)

    assert sm.hmac_sm3(key, data) == sm.sm3(bytes(byte ^ 0x5C for byte in padded) + inner)


@pytest.mark.skipif("sm3" not in hashlib.algorithms_available, reason="this Python's OpenSSL has no SM3")
def test_hmac_sm3_agrees_with_the_standard_library():
    assert sm.hmac_sm3(b"k" * 32, b"abc") == hmac.digest(b"k" * 32, b"abc", "sm3")


def test_sm4_encrypts_the_block_of_the_standard():
    # GB/T 32907-2016, annex A.1
    encrypted = sm.sm4_encrypt_block(KEY, KEY)

    assert encrypted.hex() == "681edf34d206965e86b3e94f536e4246"
    assert sm.sm4_decrypt_block(KEY, encrypted) == KEY


def test_sm4_encrypting_a_block_over_and_over_gives_what_an_independent_chain_gives():
    # GB/T 32907-2016, annex A.2 repeats a million times (checked by hand: 595298c7c6fd271f0402f804c33d3f66);
    # a CTR stream whose counter is the block is the same cipher by another road.
    block = KEY
    for _ in range(50):
        by_counter = sm.sm4_ctr(KEY, bytes(16), counter=block)
        block = sm.sm4_encrypt_block(KEY, block)
        assert block == by_counter


@pytest.mark.slow
def test_sm4_a_million_times_gives_the_block_of_the_standard():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encryptor = Cipher(algorithms.SM4(KEY), modes.ECB()).encryptor()  # noqa: S305 - the standard's own example
    block = KEY
    for _ in range(1_000_000):
        block = encryptor.update(block)

    assert block.hex() == "595298c7c6fd271f0402f804c33d3f66"


def test_sm4_gcm_gives_the_ciphertext_of_rfc_8998():
    plain = bytes.fromhex("".join(letter * 16 for letter in "ABCDEFEA"))
    associated = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
    nonce = bytes.fromhex("00001234567800000000ABCD")

    encrypted = sm.sm4_gcm_encrypt(KEY, plain, nonce=nonce, associated=associated)

    assert encrypted.hex().upper() == (
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
        "83DE3541E4C2B58177E065A9BF7B62EC"
    )
    assert sm.sm4_gcm_decrypt(KEY, encrypted, nonce=nonce, associated=associated) == plain


@given(data=st.binary(max_size=100), flip=st.integers(min_value=0))
def test_sm4_gcm_notices_any_changed_bit(data: bytes, flip: int):
    encrypted = bytearray(sm.sm4_gcm_encrypt(KEY, data, nonce=bytes(12)))
    bit = flip % (8 * len(encrypted))
    encrypted[bit // 8] ^= 1 << bit % 8

    with pytest.raises(ValueError, match="does not belong"):
        sm.sm4_gcm_decrypt(KEY, bytes(encrypted), nonce=bytes(12))


def test_sm4_gcm_notices_another_context():
    encrypted = sm.sm4_gcm_encrypt(KEY, b"secret", nonce=bytes(12), associated=b"one")

    with pytest.raises(ValueError, match="does not belong"):
        sm.sm4_gcm_decrypt(KEY, encrypted, nonce=bytes(12), associated=b"other")


@given(data=st.binary(max_size=200), counter=st.binary(min_size=16, max_size=16))
def test_sm4_ctr_undoes_itself(data: bytes, counter: bytes):
    assert sm.sm4_ctr(KEY, sm.sm4_ctr(KEY, data, counter=counter), counter=counter) == data


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_sm4_takes_blocks_of_sixteen_bytes_only(size: int):
    with pytest.raises(ValueError, match="16 bytes"):
        sm.sm4_encrypt_block(KEY, bytes(size))


def test_sm2_derives_the_public_key_of_the_standard():
    assert sm.sm2_public_key(PRIVATE) == PUBLIC


def test_sm2_binds_the_signers_identity_as_the_standard_does():
    assert sm2.identity_digest(PUBLIC).hex().upper() == (
        "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
    )


def test_sm2_signs_with_the_standards_nonce_as_the_standard_does():
    digest = sm.sm3(sm2.identity_digest(PUBLIC) + MESSAGE)

    signature = sm2._sign_digest(int.from_bytes(PRIVATE), int.from_bytes(digest), NONCE)

    assert signature == SIGNATURE


def test_sm2_verifies_the_signature_of_the_standard():
    assert sm.sm2_verify(PUBLIC, MESSAGE, SIGNATURE)
    assert not sm.sm2_verify(PUBLIC, MESSAGE + b".", SIGNATURE)
    assert not sm.sm2_verify(PUBLIC, MESSAGE, SIGNATURE, user_id=b"somebody else")


@settings(max_examples=15)
@given(secret=st.integers(min_value=1, max_value=2**255), message=st.binary(max_size=80))
def test_sm2_verifies_what_it_signed_and_nothing_else(secret: int, message: bytes):
    private = secret.to_bytes(32)
    public = sm.sm2_public_key(private)

    signature = sm.sm2_sign(private, message)

    assert sm.sm2_verify(public, message, signature)
    assert not sm.sm2_verify(public, message + b"x", signature)
    assert not sm.sm2_verify(PUBLIC, message, signature)
    assert not sm.sm2_verify(public, message, signature[:-1] + bytes([signature[-1] ^ 1]))


def test_sm2_signs_the_same_message_the_same_way_and_others_with_other_nonces():
    first, again, other = (sm.sm2_sign(PRIVATE, text) for text in (b"one", b"one", b"two"))

    assert first == again
    assert first[:32] != other[:32]


def test_sm2_takes_the_next_nonce_when_the_first_will_not_do(monkeypatch: pytest.MonkeyPatch):
    real, calls = sm2._sign_digest, itertools.count()
    monkeypatch.setattr(sm2, "_sign_digest", lambda *given: real(*given) if next(calls) else None)

    assert sm.sm2_verify(PUBLIC, MESSAGE, sm.sm2_sign(PRIVATE, MESSAGE))


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), b"\xff" * 64, SIGNATURE[32:] + bytes(32)])
def test_sm2_refuses_signatures_that_cannot_be(signature: bytes):
    assert not sm.sm2_verify(PUBLIC, MESSAGE, signature)


@pytest.mark.parametrize("public", [b"", bytes(64), PUBLIC[:63], PUBLIC[:63] + b"\0", b"\xff" * 64])
def test_sm2_refuses_public_keys_off_the_curve(public: bytes):
    assert not sm.sm2_is_public_key(public)
    assert not sm.sm2_verify(public, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("private", [bytes(32), b"\xff" * 32, PRIVATE[:31], sm2._N.to_bytes(32)])
def test_sm2_refuses_private_keys_out_of_range(private: bytes):
    with pytest.raises(ValueError, match="private key"):
        sm.sm2_public_key(private)


def test_sm2_refuses_a_user_id_whose_length_cannot_be_written():
    with pytest.raises(ValueError, match="two bytes"):
        sm.sm2_sign(PRIVATE, MESSAGE, user_id=bytes(0x2000))


def test_sm2_asks_for_other_bytes_when_the_first_are_no_key():
    offered = iter([bytes(32), b"\xff" * 32, PRIVATE])

    assert sm.sm2_keypair(lambda size: next(offered)) == (PRIVATE, PUBLIC)


def test_sm2_the_order_times_the_base_point_is_infinity():
    assert sm2._times_base(sm2._N)[2] == 0
    base = (sm2._GX, sm2._GY, 1)
    opposite = (sm2._GX, sm2._P - sm2._GY, 1)
    assert sm2._add(base, opposite)[2] == 0
    assert sm2._affine(sm2._add(base, base)) == sm2._affine(sm2._times(2, base))


numbers = st.integers(min_value=0, max_value=2**256 - 1)


@given(r=numbers, s=numbers)
def test_der_signatures_read_back(r: int, s: int):
    signature = r.to_bytes(32) + s.to_bytes(32)

    assert sm.sm2_from_der(sm.sm2_to_der(signature)) == signature


@given(encoded=st.binary(max_size=80))
def test_any_other_bytes_are_no_der_signature(encoded: bytes):
    with pytest.raises(ValueError, match="DER"):
        sm.sm2_from_der(encoded)


def test_der_has_one_form_only():
    encoded = sm.sm2_to_der(SIGNATURE)

    assert encoded[:5].hex() == "3046022100"
    for damaged in (
        encoded + b"\0",
        encoded[:-1],
        b"\x31" + encoded[1:],
        encoded[:1] + b"\x45" + encoded[2:],
    ):
        with pytest.raises(ValueError, match="DER"):
            sm.sm2_from_der(damaged)
    with pytest.raises(ValueError, match="64 bytes"):
        sm.sm2_to_der(SIGNATURE[1:])
