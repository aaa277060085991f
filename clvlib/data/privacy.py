"""What keeps people apart from figures: pseudonyms, small groups withheld, lists for one reader only (X4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.errors import ConfigError, ParameterError

__all__ = [
    "KEY",
    "KEY_FILE",
    "SAMPLE_KEY",
    "Pseudonyms",
    "encrypted",
    "find_key",
    "keyed",
    "names_for",
    "recipients_of",
    "withheld",
]

KEY, KEY_FILE = "CLVLIB_KEY", "CLVLIB_KEY_FILE"  # environment variables

SAMPLE_KEY = "the customers of a sample shop are no secret"

_SHORTEST = 16  # characters of a key
_LENGTH = 12  # characters of a pseudonym, 60 bits: among ten million people two share one with a chance of 0.00004


class Pseudonyms:
    """Names that stand for ids: the same id always gets the same one, and without the key nobody finds the way back.

    A pseudonym is the first 60 bits of HMAC-SHA256 (RFC 2104) under the key, in base 32.

    Parameters
    ----------
    key : bytes or str
        A secret of at least 16 characters.

    Raises
    ------
    ConfigError
        The key is too short to be one.

    Examples
    --------
    >>> names = Pseudonyms("a secret that is not in the repository")
    >>> names.of(["C000123", "C000124", "C000123"]).tolist()
    ['P-EOBUFBQSNRNQ', 'P-ZN7AE2PVRY5Q', 'P-EOBUFBQSNRNQ']
    """

    def __init__(self, key: bytes | str) -> None:
        self._key = key.encode() if isinstance(key, str) else bytes(key)
        if len(self._key) < _SHORTEST:
            raise ConfigError(
                f"the key of pseudonyms has {len(self._key)} characters; it needs at least {_SHORTEST} (it is {KEY} of "
                f"the environment, or the content of the file that {KEY_FILE} names)"
            )

    def __repr__(self) -> str:
        return "Pseudonyms(…)"

    @property
    def fingerprint(self) -> str:
        """What tells this key from another, and nothing else of it."""
        return hmac.new(self._key, b"fingerprint of the key", hashlib.sha256).hexdigest()[:16]

    def of(self, ids: Any) -> pd.Index[Any]:
        """Return a pseudonym for each id; an absent id stays absent."""
        codes, levels = pd.factorize(pd.Index(ids))
        named = np.array([*(self._one(str(level)) for level in levels), None], dtype=object)
        result: pd.Index[Any] = pd.Index(named[codes], name=getattr(ids, "name", None))
        return result

    def _one(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode("utf-8"), "sha256")
        return f"P-{base64.b32encode(digest[:10])[:_LENGTH].decode()}"


def names_for(shop: Any, folder: str | Path | None = None) -> Pseudonyms:
    """Return the pseudonyms of a shop's customers; those of a made-up shop are no secret, and the same everywhere.

    Parameters
    ----------
    shop : Shop
        Whose.
    folder : str or pathlib.Path, optional
        As in :func:`find_key`.
    """
    return Pseudonyms(SAMPLE_KEY if shop.is_sample else find_key(folder))


def find_key(folder: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the secret key: from the environment, from a file that it names, or from the folder's own.

    Parameters
    ----------
    folder : str or pathlib.Path, optional
        Where, without a key in the environment, a file ``.key`` holds one; it is made at its first use, readable by
        its owner alone. Keep it out of what is shared. Without a folder the key lasts as long as the process.
    environ : mapping
        Environment variables: ``CLVLIB_KEY`` is the key, ``CLVLIB_KEY_FILE`` the path of a file that holds it.

    Raises
    ------
    ConfigError
        A file cannot be read, or others than its owner can read it.
    """
    if environ.get(KEY):
        return environ[KEY].encode()
    path = Path(environ[KEY_FILE]) if environ.get(KEY_FILE) else None
    if path is None and folder is None:
        return secrets.token_hex(32).encode()
    try:
        return _read_key(path) if path is not None else _own_key(Path(str(folder)) / ".key")
    except OSError as error:
        raise ConfigError(f"the key of pseudonyms: cannot use {error.filename}: {error.strerror}") from error


@contextmanager
def keyed(folder: Path) -> Iterator[None]:
    """Let processes started meanwhile, wherever they work, find the folder's key, unless the environment has one."""
    if os.environ.get(KEY):
        yield
        return
    named = os.environ.get(KEY_FILE)
    if not named:
        find_key(folder)
    os.environ[KEY_FILE] = str(Path(named or folder / ".key").resolve())
    try:
        yield
    finally:
        if named is None:
            del os.environ[KEY_FILE]
        else:
            os.environ[KEY_FILE] = named


def _read_key(path: Path) -> bytes:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(f"the key of pseudonyms: others can read {path}; chmod 600 it")
    key = path.read_bytes().strip()
    if len(key) < _SHORTEST:
        raise ConfigError(
            f"the key of pseudonyms: {path} has {len(key)} characters; it needs at least {_SHORTEST}. Put the key back "
            "that was there: with another one, nobody in earlier reports is known again"
        )
    return key


def _own_key(path: Path) -> bytes:
    """Read the folder's key; make one where there is none, so that of two who do so at once both get the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".key.{secrets.token_hex(4)}")
    if not path.exists():
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(handle)  # before it has its name: the power may fail
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return _read_key(path)


def withheld(people: ArrayLike, k: int = 10, wholes: Sequence[Hashable] | None = None) -> NDArray[np.bool_]:
    """Say which groups of a whole are too small to be shown, the whole being known.

    Groups of 1 to k − 1 people are. Where together they are fewer than k, what the others leave of the whole would
    give them away, so the next smallest groups go with them (complementary suppression).

    Parameters
    ----------
    people : array_like, shape (m,)
        Of each group.
    k : int
        The smallest group that may be shown; 1 shows all.
    wholes : sequence, optional
        Which whole each group is a part of, where there are several; each is looked at by itself.

    Returns
    -------
    array of bool, shape (m,)

    Raises
    ------
    ParameterError
        k is less than 1.

    Examples
    --------
    >>> withheld([120, 7, 45, 12, 0]).tolist()  # 7 alone would be found by subtraction
    [False, True, False, True, False]
    >>> withheld([120, 7, 8, 45]).tolist()
    [False, True, True, False]
    >>> withheld([120, 7, 45, 80, 90], wholes=["age", "age", "age", "sex", "sex"]).tolist()
    [False, True, True, False, False]
    """
    if k < 1:
        raise ParameterError(f"the smallest group that may be shown has at least 1 person; found {k}")
    count = np.asarray(people, dtype=float)
    if wholes is not None:
        hidden = np.zeros(len(count), dtype=bool)
        for whole in dict.fromkeys(wholes):
            part = [place for place, own in enumerate(wholes) if own == whole]
            hidden[part] = withheld(count[part], k)
        return hidden
    hidden = (count > 0) & (count < k)
    for place in np.argsort(count, kind="stable"):
        if not hidden.any() or (count[hidden].sum() >= k and hidden.sum() > 1):
            break
        if count[place] > 0:
            hidden[place] = True
    return hidden


def encrypted(content: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt a file for the owners of the keys named, in the format of age (age-encryption.org/v1).

    Parameters
    ----------
    content : bytes
    recipients : sequence of str
        Public keys, ``age1…``. Their owners decrypt it with ``age -d -i KEYFILE``.

    Raises
    ------
    ConfigError
        There is no recipient, or as in :func:`recipients_of`.
    """
    if not recipients:
        raise ConfigError("encrypted lists need a recipient, a public key such as age1…")
    keys = recipients_of(recipients)
    import pyrage

    result: bytes = pyrage.encrypt(content, keys)
    return result


def recipients_of(texts: Sequence[str]) -> list[Any]:
    """Return the public keys of age that texts are, for pyrage; none, and no need of it, where there are no texts.

    Raises
    ------
    ConfigError
        One is not a public key of age, or the package pyrage is missing.
    """
    if not texts:
        return []
    try:
        import pyrage
    except ImportError as error:
        raise ConfigError("encrypted lists need the package pyrage: install the extra [report]") from error
    keys = []
    for number, text in enumerate(map(str.strip, texts), 1):
        try:
            keys.append(pyrage.x25519.Recipient.from_str(text))
        except pyrage.RecipientError as error:  # a secret key put there by mistake must not reach a log
            raise ConfigError(
                f"[privacy] recipients: number {number} ({text[:8]}…) is no public key of age, such as age1…, which "
                f"age-keygen -y KEYFILE prints ({error})"
            ) from None
    return keys
