"""TLS and tokens of ``codriver serve``, through the real client."""

import hashlib
import subprocess

import pytest

from agent_server.serve_config import settings
from codriver import AgentClient
from codriver.errors import PermissionDeniedError, UnauthenticatedError
from codriver.serving.protection import Protection
from codriver.serving.tls import channel_credentials

READ, DRIVE = "reader-0123456789", "driver-0123456789"


@pytest.fixture
def certificate(tmp_path):
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem"
    command = (
        f"openssl req -x509 {key} -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -out c.pem"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "c.pem", tmp_path / "k.pem"


def test_drives_with_tls_and_a_token_only(start, certificate, tmp_path, kit):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {READ}\ndrive sha256:{hashlib.sha256(DRIVE.encode()).hexdigest()}\n")
    protection = Protection(tls_cert=certificate[0], tls_key=certificate[1], tokens=tokens)
    server = start(listen=("localhost:0", f"unix:{tmp_path}/s"), protection=protection)
    trust = channel_credentials(certificate[0])
    with (
        AgentClient(server.address, credentials=trust, token=DRIVE) as client,
        client.open_session(kit.open_request()) as session,
    ):
        assert len(session.act(kit.rows((0, 0, 0))).action) == 2
    with AgentClient(
        server.server.addresses[1], token=READ
    ) as client:  # the socket is plain, and asks for tokens
        assert client.server_info().policies
        with pytest.raises(PermissionDeniedError, match="needs the role drive"):
            client.open_session(kit.open_request())
    with (
        AgentClient(server.address, credentials=trust) as client,
        pytest.raises(UnauthenticatedError, match="no token"),
    ):
        client.server_info()


def test_options_and_file(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('tls_cert = "a"\ntls_key = "b"\ntokens = "c"\nallow_plaintext = true\n')
    chosen = settings(["--policy", "p", "--config", str(file), "--tokens", "d"]).options.protection
    assert [str(part) for part in chosen] == ["a", "b", "None", "d", "True"]
    assert settings(["--policy", "p"]).options.protection == Protection()
