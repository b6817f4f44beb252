"""A deployment's private certificate authority, and the certificate that it signs: the broker's,
for its name. Who connects has a password, and no certificate.

P-256 throughout, which is what boards verify fastest. An operator may bring his own: without ca.key
nothing here is written over.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.errors import HumError
from broker.files import private_folder, replace

CA_DAYS = 20 * 365
DAYS = 5 * 365  # of what the authority signs
RENEW_DAYS = 30  # what ends sooner is made again
BEFORE = timedelta(days=1)  # a board's clock may be behind
HERE = ("localhost", "127.0.0.1", "::1")  # names of the broker for who is on its machine

Key = ec.EllipticCurvePrivateKey


class CertificateError(HumError):
    """A certificate is missing or of no use. args[0] says which, and what to do."""


def make(folder: Path, deployment: str, host: str) -> list[str]:
    """Make what is missing in `folder` of ca.key, ca.crt, server.key and server.crt, and what is of
    no more use; return the names of the certificates that were made. Raises CertificateError."""
    private_folder(folder)
    made = []
    if not (folder / "ca.crt").is_file():
        _make_authority(folder, deployment)
        made.append("ca.crt")
    authority = load(folder / "ca.crt")
    if wrong := fault(folder, "server", authority, [host], RENEW_DAYS):
        if not (folder / "ca.key").is_file():
            raise CertificateError(f"{wrong}; put ca.key back to have one made, or bring server.crt and server.key")
        _make_signed(folder, authority, host)
        made.append("server.crt")
    return made


def fault(folder: Path, name: str, authority: x509.Certificate, hosts: list[str], days: int = 0) -> str | None:
    """Return what is wrong with the certificate `name`.crt and its key for these hosts, in so many
    days from now; None if nothing is."""
    path = folder / f"{name}.crt"
    try:
        certificate, key = load(path), _load_key(folder / f"{name}.key")
    except CertificateError as error:
        return str(error.args[0])
    if certificate.public_key() != key.public_key():
        return f"{path} and {name}.key are no pair"
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return f"{path} is not signed by ca.crt"
    if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=days):
        return f"{path} ends on {certificate.not_valid_after_utc:%Y-%m-%d}"
    for host in hosts:
        if _general(host) not in names(certificate):
            return f"{path} is not for {host}"
    return None


def load(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM file. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise CertificateError(f"there is no {path}") from None
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"{path} is no certificate, PEM") from None


def names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return what a certificate is for."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _load_key(path: Path) -> Key:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise CertificateError(f"there is no {path}") from None
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise CertificateError(f"{path} is no private key, PEM, without a password") from None
    return key  # type: ignore[return-value]  # one of another kind can be compared and sign, too


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.rstrip(".").lower())


def _make_authority(folder: Path, deployment: str) -> None:
    key = _new_key(folder / "ca.key") if not (folder / "ca.key").is_file() else _load_key(folder / "ca.key")
    name = _name(f"Hum {deployment}")
    builder = _builder(name, key, CA_DAYS).issuer_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    _write(folder / "ca.crt", builder.sign(key, hashes.SHA256()))


def _make_signed(folder: Path, authority: x509.Certificate, host: str) -> None:
    signer = _load_key(folder / "ca.key")
    if signer.public_key() != authority.public_key():
        raise CertificateError(f"{folder / 'ca.key'} is not of ca.crt; put back the one that is")
    key = _new_key(folder / "server.key")  # first: an old certificate does not fit it
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = _builder(_name(host[:64]), key, DAYS).issuer_name(authority.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(issuer, critical=False)
    general = x509.SubjectAlternativeName([_general(each) for each in dict.fromkeys([host, *HERE])])
    builder = builder.add_extension(general, critical=False)
    _write(folder / "server.crt", builder.sign(signer, hashes.SHA256()))


def _builder(name: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder().subject_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BEFORE).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)


def _new_key(path: Path) -> Key:
    key = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    replace(path, key.private_bytes(pem, form, serialization.NoEncryption()))
    return key


def _write(path: Path, certificate: x509.Certificate) -> None:
    replace(path, certificate.public_bytes(serialization.Encoding.PEM))
