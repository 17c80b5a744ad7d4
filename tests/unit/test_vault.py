"""The vault: an encrypted value decrypts with its key and in its context, and not otherwise."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import ConfigurationError, MissingKeyError, StoreError, TamperedError
from notifykit.vault import KeyRing, Vault, context
from notifykit.vault.development import development_keys, state_file
from notifykit.vault.ring import is_encrypted, key_id_of

RING = KeyRing({"k1": bytes(range(32))})
PLACE = context("endpoints", "acme", "end_1", "secrets")
NAMES = st.lists(st.text(max_size=8), min_size=1, max_size=5)


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def flipped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


# ── encryption ───────────────────────────────────────────────────────────────────────────────────


@given(plain=st.binary(max_size=300), names=NAMES)
def test_an_encrypted_value_decrypts_in_its_context(plain, names):
    """Both forms return exactly the same bytes, whatever they are."""
    place = context(*names)

    text, data = RING.encrypt(plain, context=place), RING.encrypt_bytes(plain, context=place)

    assert plain == RING.open(text, context=place)
    assert plain == RING.open_bytes(data, context=place)


@given(plain=st.binary(max_size=40), here=NAMES, there=NAMES)
def test_a_moved_value_does_not_decrypt(plain, here, there):
    """A value decrypts in no other context, however names are spelt or where one ends and the next begins."""
    text, data = RING.encrypt(plain, context=context(*here)), RING.encrypt_bytes(plain, context=context(*here))
    if here == there:
        return

    with pytest.raises(TamperedError):
        RING.open(text, context=context(*there))
    with pytest.raises(TamperedError):
        RING.open_bytes(data, context=context(*there))


@given(here=NAMES, there=NAMES)
def test_two_contexts_are_never_equal(here, there):
    """The context marks where each of its names ends."""
    assert (here == there) == (context(*here) == context(*there))


def test_the_form_is_the_documented_one():
    """An encrypted text has four parts: version, key id, a nonce of 96 bits, ciphertext with a tag of 128 bits."""
    version, key_id, nonce, ciphertext = RING.encrypt(b"12345", context=PLACE).split(".")

    assert ("nk1", "k1") == (version, key_id)
    assert 16 == len(nonce)
    assert 5 + 16 == len(base64.urlsafe_b64decode(ciphertext + "=" * (-len(ciphertext) % 4)))


def test_a_stored_value_of_this_version_decrypts_for_ever():
    """The key derivation and the form must not change: databases hold such values."""
    encrypted = "nk1.k1.B9S-eXpjN0SyrsoW.3Ntq5nXvgZIZSla07KT3gvdN4j9SpQhaPg"

    assert b"whsec_old" == RING.open(encrypted, context=PLACE)


def test_the_same_value_never_encrypts_to_the_same_text():
    """The table does not reveal whether two endpoints have the same secret."""
    encryption = {RING.encrypt(b"secret", context=PLACE) for _ in range(100)}
    nonces = {encrypted.split(".")[2] for encrypted in encryption}

    assert (100, 100) == (len(encryption), len(nonces))


def test_every_flipped_character_is_noticed():
    """A change of any character of an encrypted text is detected, also of the unused bits of the last one."""
    encrypted = RING.encrypt(b"whsec_abc", context=PLACE)

    for at in range(len(encrypted)):
        with pytest.raises((TamperedError, MissingKeyError)):
            RING.open(flipped(encrypted, at), context=PLACE)
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if last != encrypted[-1]:
            with pytest.raises(TamperedError):
                RING.open(encrypted[:-1] + last, context=PLACE)


def test_every_flipped_bit_is_noticed():
    """A change of any bit of encrypted bytes is detected."""
    encrypted = RING.encrypt_bytes(b"payload", context=PLACE)

    for at in range(len(encrypted) * 8):
        changed = bytearray(encrypted)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises((TamperedError, MissingKeyError)):
            RING.open_bytes(bytes(changed), context=PLACE)


@given(cut=st.integers(min_value=0, max_value=200), more=st.text(max_size=5))
def test_what_is_cut_or_lengthened_is_noticed(cut, more):
    """A value that was cut or extended does not decrypt."""
    encrypted = RING.encrypt(b"whsec_abc", context=PLACE)
    changed = encrypted[:cut] + more
    if changed == encrypted:
        return

    with pytest.raises((TamperedError, MissingKeyError)):
        RING.open(changed, context=PLACE)


@given(junk=st.binary(max_size=80))
def test_junk_is_refused_with_our_own_error(junk):
    """Whatever a column holds, the error is one that callers know."""
    for value in (junk, b"nk1." + junk, b"nk1.k1." + junk):
        with pytest.raises((TamperedError, MissingKeyError)):
            RING.open_bytes(value, context=PLACE)
        with pytest.raises((TamperedError, MissingKeyError)):
            RING.open(value.decode("latin-1"), context=PLACE)


def test_a_missing_key_is_named():
    """The message says which key is missing, which are there, and what to do; it is a store's error."""
    encrypted = KeyRing.generate("old").encrypt(b"secret", context=PLACE)

    with pytest.raises(MissingKeyError, match="NOTIFYKIT_KEYS") as caught:
        RING.open(encrypted, context=PLACE)

    assert (key_id_of(encrypted), ("k1",)) == (caught.value.key_id, caught.value.known)
    assert isinstance(caught.value, StoreError)


def test_another_key_of_the_same_id_does_not_decrypt():
    """It is the key that counts, not its id."""
    encrypted = KeyRing({"k1": os.urandom(32)}).encrypt(b"secret", context=PLACE)

    with pytest.raises(TamperedError):
        RING.open(encrypted, context=PLACE)


def test_the_first_key_encrypts_and_all_decrypt():
    """After a rotation old values are still read and new ones are under the new key."""
    new, old = os.urandom(32), os.urandom(32)
    encrypted = KeyRing({"old": old}).encrypt(b"secret", context=PLACE)

    ring = KeyRing({"new": new, "old": old})

    assert b"secret" == ring.open(encrypted, context=PLACE)
    assert "new" == key_id_of(ring.encrypt(b"secret", context=PLACE))
    assert "new" == key_id_of(ring.encrypt_bytes(b"secret", context=PLACE))


@pytest.mark.parametrize("plain", ["whsec_abc", '{"data":1}', "", "nk", b"{}", b""])
def test_plain_values_are_distinguished(plain):
    """Neither a secret nor a body of JSON looks like an encrypted value."""
    assert not is_encrypted(plain)
    assert key_id_of(plain) is None


# ── the ring ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "spell", [encoded, lambda k: encoded(k).rstrip("="), lambda k: base64.urlsafe_b64encode(k).decode()]
)
def test_keys_are_read_in_every_usual_spelling(spell):
    """Padded or not, in the alphabet for URLs or the other, with spaces and line ends around."""
    one, two = bytes([251, 255, 254]) + os.urandom(29), os.urandom(32)

    ring = KeyRing.parse(f" new:{spell(one)} , old:{spell(two)}\n")

    assert ("new", "old") == ring.ids
    assert f"new:{encoded(one)},old:{encoded(two)}" == ring.text()


SECRET = encoded(bytes(range(100, 132)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        SECRET,
        f":{SECRET}",
        f"k_1:{SECRET}",
        f"{'k' * 33}:{SECRET}",
        "k1:",
        f"k1:{SECRET[:-8]}",
        f"k1:{SECRET}{SECRET}",
        f"k1:{SECRET[:20]}*{SECRET[21:]}",
        f"k1:{SECRET},k1:{SECRET}",
        f"k1:{encoded(bytes(32))}",
        f"k1:{encoded(b'change-me-change-me-change-me-ch')[:43]}",
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_being_shown(text):
    """The message says which entry is wrong and how to make a good one; no part of a key is in it."""
    with pytest.raises(ConfigurationError) as caught:
        KeyRing.parse(text, source="NOTIFYKIT_KEYS")

    message = "".join(map(str, (caught.value, caught.value.__cause__, caught.value.__context__)))
    assert "notifykit keys generate" in message or "two keys" in message
    assert not any(SECRET[at : at + 6] in message for at in range(len(SECRET) - 6))


def test_a_ring_does_not_show_its_keys():
    """Neither in a log nor in a pickle."""
    ring = KeyRing.parse(f"k1:{SECRET}")

    shown = f"{ring!r} {ring} {[ring]} {vars(KeyRing)}"

    assert "KeyRing('k1')" == repr(ring)
    assert SECRET[:8] not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ring)


def test_a_generated_key_is_new_each_time():
    """Ids and keys of two rings differ, and a ring is read back from its text."""
    one, two = KeyRing.generate(), KeyRing.generate()

    assert one.ids != two.ids
    assert one.text().partition(":")[2] != two.text().partition(":")[2]
    assert one.text() == KeyRing.parse(one.text()).text()


def test_cryptography_is_loaded_with_the_first_encryption():
    """Importing a store does not pay for a cipher."""
    script = (
        "import sys, notifykit.stores.sql.sqlite; from notifykit.vault import KeyRing; ring = KeyRing.generate(); "
        "before = 'cryptography' in sys.modules; ring.encrypt(b'', context=''); "
        "print(before, 'cryptography' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert "False True" == done.stdout.strip()


# ── where keys come from ───────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("NOTIFYKIT_KEYS", "NOTIFYKIT_ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("named", ["production", "prod", "staging", "Production"])
@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("by", ["argument", "variable"])
def test_without_keys_only_development_works(monkeypatch, tmp_path, named, is_local, by):
    """An environment that is not known to be harmless needs keys; the message says how to get one."""
    if by == "variable":
        monkeypatch.setenv("NOTIFYKIT_ENV", named)
    vault = Vault(None, named if by == "argument" else None, is_local=is_local, file=tmp_path / "k")

    for refused in (vault.check, lambda: vault.ring):
        with pytest.raises(ConfigurationError, match="notifykit keys generate"):
            refused()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_an_unknown_environment_is_refused(monkeypatch, tmp_path, by):
    """A mistyped name decides nothing about keys, not even where they are given; the error lists the known ones."""
    monkeypatch.setenv("NOTIFYKIT_KEYS", f"variable:{SECRET}")
    if by == "variable":
        monkeypatch.setenv("NOTIFYKIT_ENV", "produciton")
    vault = Vault(None, "produciton" if by == "argument" else None, is_local=True, file=tmp_path / "k")

    with pytest.raises(ConfigurationError, match=r"'produciton': use production, prod, staging, development"):
        vault.check()


def test_a_database_on_another_host_needs_keys_or_an_environment(monkeypatch, tmp_path):
    """A key made on one of several hosts would be missing on the others."""
    file = tmp_path / "k"

    with pytest.raises(ConfigurationError, match="NOTIFYKIT_ENV=development"):
        Vault(is_local=False, file=file).check()
    Vault(None, "test", is_local=False, file=file).check()
    monkeypatch.setenv("NOTIFYKIT_ENV", "development")
    Vault(is_local=False, file=file).check()

    assert not file.exists()


def test_the_programs_keys_come_before_those_of_the_environment(monkeypatch, tmp_path):
    """What is given counts, then the variable, then the file."""
    monkeypatch.setenv("NOTIFYKIT_KEYS", f"variable:{SECRET}")
    file = tmp_path / "k"

    assert RING is Vault(RING, "production", is_local=False, file=file).ring
    assert ("variable",) == Vault(None, "production", is_local=False, file=file).ring.ids
    assert not file.exists()


def test_checking_makes_no_key(tmp_path):
    """A key is made when there is something to encrypt, not when a store is opened."""
    vault = Vault(is_local=True, file=tmp_path / "k")

    vault.check()
    before = (tmp_path / "k").exists()
    ring = vault.ring

    assert (False, True) == (before, (tmp_path / "k").exists())
    assert ring is vault.ring


def test_a_store_in_memory_has_a_key_in_memory(caplog):
    """It ends with its data, so it needs no configuration, whatever the environment."""
    vault = Vault(None, "production", is_local=True, file=None)

    vault.check()

    assert vault.ring.encrypt(b"x", context=PLACE)
    assert [] == caplog.records


# ── the key for development ────────────────────────────────────────────────────────────────────


def test_the_file_is_made_once_with_a_warning(tmp_path, caplog):
    """The first process makes it and warns; the others read it without a warning.  The log does not show the key."""
    file = tmp_path / "store.db.key"

    with caplog.at_level(logging.DEBUG):
        first = development_keys(file)
        second = development_keys(file)

    (record,) = caplog.records
    assert (logging.WARNING, "notifykit") == (record.levelno, record.name)
    assert record.getMessage().startswith("vault.key_made ")
    assert "NOTIFYKIT_KEYS" in record.getMessage()
    assert first.text().partition(":")[2] not in caplog.text
    assert first.text() == second.text()
    assert [file] == list(file.parent.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_only_its_owner_can_read_the_file(tmp_path, caplog, monkeypatch):
    """It is made that way, with the user's folder for it; if its mode was changed since, the log warns."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = state_file()
    previous = os.umask(0)
    try:
        development_keys(file)
    finally:
        os.umask(previous)
    mode = stat.S_IMODE(file.stat().st_mode)
    folder = stat.S_IMODE(file.parent.stat().st_mode)
    file.chmod(0o644)
    caplog.clear()

    development_keys(file)

    assert (0o600, 0o700) == (mode, folder)
    assert re.search(r"^vault\.key_exposed ", caplog.messages[0])


def test_the_folder_of_a_store_is_not_made(tmp_path):
    """A key beside a store whose path is mistyped would be a key for nothing."""
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        development_keys(tmp_path / "nowhere" / "store.db.key")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "nonsense", f"k1:{SECRET[:20]}"])
def test_a_damaged_file_is_not_replaced(tmp_path, content):
    """It may be the only key to what is in the store; the message names the file and does not show the key."""
    file = tmp_path / "store.db.key"
    file.write_text(content)
    file.chmod(0o600)

    with pytest.raises(ConfigurationError, match=re.escape(str(file))) as caught:
        development_keys(file)

    assert content == file.read_text()
    assert SECRET[:20] not in str(caught.value)


def test_a_file_that_cannot_be_made_is_a_configuration_error(tmp_path):
    """The message names the file, the reason, and what to do instead."""
    (tmp_path / "taken").write_text("")

    with pytest.raises(ConfigurationError, match=r"taken.*NOTIFYKIT_KEYS"):
        development_keys(tmp_path / "taken" / "k")


def test_users_have_one_file_for_servers_on_their_machine(monkeypatch):
    """It is below the user's state folder, wherever that is."""
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    monkeypatch.setenv("LOCALAPPDATA", "/somewhere")

    assert Path("/somewhere/notifykit/development.key") == state_file()


def test_processes_that_start_together_share_one_key(tmp_path, monkeypatch):
    """The first process makes it: all have the same key, one has warned, and nothing else is left behind."""
    script = (
        "import sys, pathlib, logging; from notifykit.vault.development import development_keys; "
        "logging.basicConfig(stream=sys.stderr); print('ready', flush=True); sys.stdin.readline(); "
        "print(development_keys(pathlib.Path(sys.argv[1])).text())"
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = state_file()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    racers = [
        subprocess.Popen([sys.executable, "-c", script, str(file)], text=True, **pipes)  # type: ignore[call-overload]
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"

    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=30) for racer in racers]

    keys = {out.strip() for out, _ in answers}
    assert [file.read_text().strip()] == list(keys)
    assert 1 == sum("vault.key_made" in err for _, err in answers)
    assert [file] == list(file.parent.iterdir())
