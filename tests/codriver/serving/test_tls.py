"""TLS: certificates from files, client certificates, renewal without restart, and plain listeners that are refused."""

import shutil
import ssl
import subprocess

import grpc
import pytest

from codriver.errors import AlreadyExistsError, InvalidArgumentError
from codriver.serving.listen import listen
from codriver.serving.protection import Protection
from codriver.serving.tls import ServerCertificate, channel_credentials


def test_encrypted_and_answering(serve, call, certificates):
    certificate, key = certificates.make("server")
    address = serve("localhost:0", tls_cert=certificate, tls_key=key)
    assert call(address, credentials=channel_credentials(certificates.ca)) == b"hello"
    assert call(address, "Stream", credentials=channel_credentials(certificates.ca)) == [b"hello"]
    for stranger in (channel_credentials(certificates.other), None):
        with pytest.raises(grpc.RpcError) as caught:
            call(address, credentials=stranger)
        assert caught.value.code().name == "UNAVAILABLE"


def test_beyond_this_machine_with_tls_only(serve, call, certificates):
    certificate, key = certificates.make("server")
    address = serve("0.0.0.0:0", tls_cert=certificate, tls_key=key)
    port = address.rpartition(":")[2]
    assert call(f"localhost:{port}", credentials=channel_credentials(certificates.ca)) == b"hello"
    with pytest.raises(InvalidArgumentError, match="--allow-plaintext"):
        listen(None, "0.0.0.0:0")


def test_client_certificates(serve, call, certificates):
    certificate, key = certificates.make("server")
    address = serve("localhost:0", tls_cert=certificate, tls_key=key, tls_client_ca=certificates.ca)
    mine = channel_credentials(certificates.ca, *certificates.make("client"))
    assert call(address, credentials=mine) == b"hello"
    strange = channel_credentials(certificates.ca, *certificates.make("stranger", root="other"))
    for credentials in (channel_credentials(certificates.ca), strange):
        with pytest.raises(grpc.RpcError) as caught:
            call(address, credentials=credentials)
        assert caught.value.code().name == "UNAVAILABLE"


def test_tls_and_tokens_together(serve, call, certificates, tmp_path):
    certificate, key = certificates.make("server")
    tokens = tmp_path / "tokens"
    tokens.write_text("read reader-0123456789\n")
    address = serve("localhost:0", tls_cert=certificate, tls_key=key, tokens=tokens)
    trust = channel_credentials(certificates.ca)
    assert call(address, credentials=trust, token="reader-0123456789") == b"hello"
    with pytest.raises(grpc.RpcError) as caught:
        call(address, credentials=trust)
    assert caught.value.code().name == "UNAUTHENTICATED"


def subject(address):
    host, _, port = address.rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True, check=True
    )
    return shown.stdout.strip().rpartition("=")[2].strip()


def test_renewed_without_restart(serve, call, certificates, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    first, second = certificates.make("first"), certificates.make("second")
    shutil.copy(first[0], certificate), shutil.copy(first[1], key)
    address = serve("localhost:0", tls_cert=certificate, tls_key=key)
    trust = channel_credentials(certificates.ca)
    assert call(address, credentials=trust) == b"hello" and subject(address) == "first"
    shutil.copy(second[0], certificate)  # half of it: the certificate of another key
    assert call(address, credentials=trust) == b"hello" and subject(address) == "first"
    shutil.copy(second[1], key)
    assert call(address, credentials=trust) == b"hello" and subject(address) == "second"
    key.unlink()
    assert call(address, credentials=trust) == b"hello" and subject(address) == "second"


def test_files_that_do_not_work(certificates, tmp_path):
    (certificate, key), (_, other_key) = certificates.make("server"), certificates.make("client")
    with pytest.raises(InvalidArgumentError, match="no certificate with its key"):
        ServerCertificate(certificate, other_key)
    with pytest.raises(InvalidArgumentError, match=r"cannot read .*none"):
        ServerCertificate(tmp_path / "none", key)
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    with pytest.raises(InvalidArgumentError, match="no certificate with its key"):
        ServerCertificate(rubbish, key)
    with pytest.raises(InvalidArgumentError, match="holds no certificates"):
        ServerCertificate(certificate, key, rubbish)
    with pytest.raises(InvalidArgumentError, match="holds no certificates"):
        channel_credentials(rubbish)
    with pytest.raises(InvalidArgumentError, match="come together"):
        channel_credentials(None, certificate)
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(InvalidArgumentError, match="no certificate with its key"):
        ServerCertificate(certificate, locked)  # and nobody is asked for the password
    with pytest.raises(InvalidArgumentError, match="TLS needs a certificate and its key"):
        Protection(tls_cert=certificate).credentials()


def test_a_socket_stays_with_who_listens(serve, call, tmp_path):
    address = serve(f"unix:{tmp_path}/s")
    assert call(address) == b"hello"
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    server = grpc.server(None)
    with pytest.raises(AlreadyExistsError, match="another server listens"):
        listen(server, address)
    (tmp_path / "file").write_text("")
    with pytest.raises(AlreadyExistsError, match="is no socket"):
        listen(server, f"unix:{tmp_path}/file")
    assert call(address) == b"hello"
