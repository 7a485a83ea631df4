"""An authority of tests, and certificates that hold or do not."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Whoever certifies the servers of these tests."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @property
    def pem(self) -> str:
        """Its own certificate."""
        certificate = _signed(self.name, self.key, self, datetime.now(UTC) + _DAY, None)
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def file(self, folder: Path) -> Path:
        """Its own certificate, as SSL_CERT_FILE takes it."""
        path = folder / "authority.pem"
        path.write_text(self.pem)
        return path


@cache
def authority() -> Authority:
    """The authority of this session."""
    return Authority(ec.generate_private_key(ec.SECP256R1()), _name("an authority of tests"))


@cache
def server_tls(
    host: str = "127.0.0.1", *, expired: bool = False, wrong_host: bool = False, self_signed: bool = False
) -> ssl.SSLContext:
    """TLS for a server of this address or name, with something wrong about its certificate where that is wanted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(host)
    issuer = Authority(key, name) if self_signed else authority()
    host = "192.0.2.1" if wrong_host else host
    until = datetime.now(UTC) + (-_DAY if expired else _DAY)
    certificate = _signed(name, key, issuer, until, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: Authority, until: datetime, host: str | None
) -> x509.Certificate:
    public = issuer.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 3 * _DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if host is None:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        is_number = host[0].isdigit()
        name_or_number = x509.IPAddress(ipaddress.ip_address(host)) if is_number else x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([name_or_number]), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())
