"""The authority's certificate that a board's settings name: what is none is refused by the
setting's name."""

import os

from agent.runtime.start import SettingsError, _trust
from tests.support.expect import raises

PATH = (os.getenv("TMPDIR") or "/tmp") + "/hum-trust-%s.der" % os.urandom(8).hex()


def refused(octets):
    with open(PATH, "wb") as file:
        file.write(octets)
    try:
        assert raises(SettingsError, _trust, PATH).args == ("ca",)
    finally:
        os.remove(PATH)


def test_an_absent_file_is_refused():
    assert raises(SettingsError, _trust, PATH).args == ("ca",)


def test_a_folder_is_refused():
    assert raises(SettingsError, _trust, "/tmp").args == ("ca",)


def test_an_empty_file_is_refused():
    refused(b"")


def test_what_is_no_certificate_is_refused():
    refused(b"junk")
    refused(bytes(500))
    refused(b"\x30\x82\x01\x00" + bytes(256))  # DER, of nothing
