"""The SM4 block cipher (GB/T 32907) in the modes we use, through OpenSSL as `cryptography` carries it."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_TAG_BYTES = 16


def sm4_encrypt_block(key: bytes, block: bytes) -> bytes:
    """Return one encrypted block of 16 bytes. A building block and a test vector, not a way to keep data.

    Raises:
        ValueError: key or block is not 16 bytes long.
    """
    _require_block(block)
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305 - one block only
    return encryptor.update(block) + encryptor.finalize()


def sm4_decrypt_block(key: bytes, block: bytes) -> bytes:
    """Return one decrypted block of 16 bytes.

    Raises:
        ValueError: key or block is not 16 bytes long.
    """
    _require_block(block)
    decryptor = Cipher(algorithms.SM4(key), modes.ECB()).decryptor()  # noqa: S305 - one block only
    return decryptor.update(block) + decryptor.finalize()


def sm4_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """Return whole blocks encrypted one by one, as specifications of card numbers prescribe it.

    Equal blocks give equal blocks, and blocks can be exchanged unseen: whoever relies on the text adds a
    code of its own.

    Raises:
        ValueError: the key is not 16 bytes long or the data are no whole blocks.
    """
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305 - prescribed, see above
    return encryptor.update(data) + encryptor.finalize()


def sm4_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """Return what `sm4_ecb_encrypt` hid.

    Raises:
        ValueError: the key is not 16 bytes long or the data are no whole blocks.
    """
    decryptor = Cipher(algorithms.SM4(key), modes.ECB()).decryptor()  # noqa: S305 - prescribed, see above
    return decryptor.update(data) + decryptor.finalize()


def sm4_ctr(key: bytes, data: bytes, *, counter: bytes) -> bytes:
    """Return `data` encrypted or decrypted (the same step) from the 16-byte `counter` block on.

    It hides but does not protect: a changed ciphertext opens to a changed text. No counter value may
    ever be used for two texts under one key.

    Raises:
        ValueError: key or counter is not 16 bytes long.
    """
    encryptor = Cipher(algorithms.SM4(key), modes.CTR(counter)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def sm4_gcm_encrypt(key: bytes, data: bytes, *, nonce: bytes, associated: bytes = b"") -> bytes:
    """Return the encrypted `data` followed by its tag of 16 bytes.

    `associated` is protected but not hidden. No nonce (12 bytes) may be used twice under one key.

    Raises:
        ValueError: the key is not 16, or the nonce not 12 bytes long.
    """
    _require_nonce(nonce)
    encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    return encryptor.update(data) + encryptor.finalize() + encryptor.tag


def sm4_gcm_decrypt(key: bytes, data: bytes, *, nonce: bytes, associated: bytes = b"") -> bytes:
    """Return what `sm4_gcm_encrypt` hid.

    Raises:
        ValueError: key, nonce, `associated` or the data are not the ones that it was made with.
    """
    _require_nonce(nonce)
    if len(data) < _TAG_BYTES:
        raise ValueError("too short to carry a tag")
    text, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
    decryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(associated)
    try:
        return decryptor.update(text) + decryptor.finalize()
    except InvalidTag as error:
        raise ValueError("the ciphertext does not belong to this key, nonce and context") from error


def _require_block(block: bytes) -> None:
    if len(block) != 16:
        raise ValueError("an SM4 block has 16 bytes")


def _require_nonce(nonce: bytes) -> None:
    if len(nonce) != 12:
        raise ValueError("a GCM nonce has 12 bytes")
