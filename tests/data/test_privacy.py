"""Pseudonyms against an RFC's vectors, small groups against subtraction, lists against their reader's key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.data.privacy import Pseudonyms, encrypted, find_key, keyed, recipients_of, withheld
from clvlib.errors import ConfigError, ParameterError


def test_pseudonyms_are_those_of_the_standard():
    """RFC 4231, case 4: HMAC-SHA256 of fifty bytes of 0xcd under the key 0x01 to 0x19."""
    key, digest = bytes(range(1, 26)), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
    assert hmac.new(key, b"\xcd" * 50, hashlib.sha256).hexdigest() == digest
    text = "客户-7"
    first = base64.b32encode(hmac.new(key, text.encode("utf-8"), hashlib.sha256).digest())[:12].decode()
    assert Pseudonyms(key).of([text])[0] == f"P-{first}"


def test_an_id_keeps_its_pseudonym_and_a_key_has_its_own():
    ids = pd.Series(["a", "b", None, "a", 7], name="customer_id")
    names = Pseudonyms("0123456789abcdef").of(ids)
    assert names[0] == names[3] != names[1]
    assert pd.isna(names[2])
    assert names.name == "customer_id"
    assert not set(names.dropna()) & set(Pseudonyms("another key, as long").of(ids).dropna())
    many = Pseudonyms("0123456789abcdef").of([f"C{i}" for i in range(50_000)])
    assert many.is_unique
    assert "0123" not in repr(Pseudonyms("0123456789abcdef"))
    with pytest.raises(ConfigError, match="at least 16"):
        Pseudonyms("short")


def test_the_key_comes_from_the_environment_a_file_or_the_folder(tmp_path):
    assert find_key(tmp_path, {"CLVLIB_KEY": "from the environment"}) == b"from the environment"
    file = tmp_path / "secret"
    file.write_text("from a file, kept\n")
    file.chmod(0o600)
    assert find_key(tmp_path, {"CLVLIB_KEY_FILE": str(file)}) == b"from a file, kept"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        find_key(tmp_path, {"CLVLIB_KEY_FILE": str(file)})
    with pytest.raises(ConfigError, match="No such file"):
        find_key(tmp_path, {"CLVLIB_KEY_FILE": str(tmp_path / "nowhere")})
    folder = tmp_path / "reports"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: find_key(folder, {}), range(8)))
    assert keys == {find_key(folder, {})}
    assert (folder / ".key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [".key"]
    (folder / ".key").write_text("\n")
    with pytest.raises(ConfigError, match=r"reports/\.key has 0 characters; it needs at least 16\. Put the key back"):
        find_key(folder, {})
    assert find_key(None, {}) != find_key(None, {})


def test_kernels_find_the_key_wherever_they_work(tmp_path, monkeypatch):
    """A notebook is run in its own folder: what names the key from here must name it from there."""
    for name in ("CLVLIB_KEY", "CLVLIB_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "secret").write_text("a key in a file beside us\n")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLVLIB_KEY_FILE", "secret")
    with keyed(tmp_path / "reports"):
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert find_key() == b"a key in a file beside us"
    assert os.environ["CLVLIB_KEY_FILE"] == "secret"
    assert not (tmp_path / "reports").exists()
    monkeypatch.delenv("CLVLIB_KEY_FILE")
    with keyed(tmp_path / "reports"):
        assert find_key() == find_key(tmp_path / "reports", {})
    assert "CLVLIB_KEY_FILE" not in os.environ
    monkeypatch.setenv("CLVLIB_KEY", "a key of the environment")
    with keyed(tmp_path / "nowhere"):
        assert find_key() == b"a key of the environment"
    assert not (tmp_path / "nowhere").exists()


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 12))
def test_small_groups_cannot_be_found_by_subtraction(people, k):
    hidden, count = withheld(people, k), np.array(people)
    assert not (~hidden & (count > 0) & (count < k)).any()
    if hidden.any():
        assert count[hidden].min() > 0
        everybody = (count > 0).sum() == hidden.sum()
        assert everybody or (count[hidden].sum() >= k and hidden.sum() > 1)
        # no more than needed: without the largest that is hidden, the rest would be found
        small = (count > 0) & (count < k)
        if hidden.sum() > small.sum():
            fewer = hidden.copy()
            fewer[np.flatnonzero(hidden & ~small)[np.argmax(count[hidden & ~small])]] = False
            assert count[fewer].sum() < k or fewer.sum() == 1
    with pytest.raises(ParameterError):
        withheld(people, 0)


def test_a_list_is_for_its_recipients():
    pyrage = pytest.importorskip("pyrage")
    own, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    text = b"customer_id,reason\nC1,silent\n"
    sealed = encrypted(text, [str(own.to_public())])
    assert sealed.startswith(b"age-encryption.org/v1")
    assert b"customer_id" not in sealed  # two letters might stand there by chance
    assert pyrage.decrypt(sealed, [own]) == text
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, [other])
    with pytest.raises(ConfigError, match=r"number 2 \(age1nons…\) is no public key of age"):
        encrypted(text, [str(own.to_public()), "age1nonsense"])
    with pytest.raises(ConfigError, match=r"number 1 \(AGE-SECR…\)") as error:
        recipients_of([str(own)])
    assert str(own)[10:20] not in str(error.value)
    assert recipients_of([]) == []
    with pytest.raises(ConfigError, match="recipient"):
        encrypted(text, [])
