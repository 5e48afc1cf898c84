"""Bearer tokens: roles, refusals with details, and files that change under a running server."""

import hashlib
import os

import grpc
import pytest

from codriver.errors import InvalidArgumentError
from codriver.rpc_status import from_rpc_error
from codriver.serving.tokens import Role, TokenFile, parse_tokens

READ, DRIVE, ADMIN = "reader-0123456789", "driver-0123456789", "admin-00123456789"


def write(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def tokens(tmp_path):
    hashed = hashlib.sha256(ADMIN.encode()).hexdigest()
    return write(
        tmp_path / "tokens", f"# who\nread {READ}\n\n drive\t{DRIVE}  # sims\nadmin sha256:{hashed}\n"
    )


def refused(call, *arguments, **settings):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **settings)
    return caught.value.code().name, from_rpc_error(caught.value).reason


def test_each_role_may_what_it_may(serve, call, tokens, tmp_path):
    address = serve(f"unix:{tmp_path}/s", tokens=tokens)
    may = {READ: {"Unary"}, DRIVE: {"Unary", "Stream"}, ADMIN: {"Unary", "Stream", "Secret"}}
    for token, methods in may.items():
        for method in ("Unary", "Stream", "Secret"):
            if method in methods:
                assert call(address, method, token=token) in (b"hello", [b"hello"])
            else:
                assert refused(call, address, method, token=token) == ("PERMISSION_DENIED", "ROLE_TOO_LOW")


@pytest.mark.parametrize("method", ["Unary", "Stream", "Secret"])
def test_who_is_not_known_is_told(serve, call, tokens, tmp_path, method):
    address = serve(f"unix:{tmp_path}/s", tokens=tokens)
    assert refused(call, address, method) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    for header in ("Bearer", "Bearer ", f"Basic {ADMIN}", ADMIN):
        metadata = [("authorization", header)]
        assert refused(call, address, method, metadata=metadata) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    twice = [("authorization", f"Bearer {READ}"), ("authorization", f"Bearer {ADMIN}")]
    assert refused(call, address, method, metadata=twice) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    for token in (ADMIN[:-1], ADMIN + "0", ADMIN.upper(), hashlib.sha256(ADMIN.encode()).hexdigest()):
        assert refused(call, address, method, token=token) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")


def test_health_needs_no_token_and_unknown_methods_stay_unknown(serve, call, tokens, tmp_path):
    address = serve(f"unix:{tmp_path}/s", tokens=tokens)
    assert call(address, "Health") == 1
    assert refused(call, address, "Nothing")[0] == "UNIMPLEMENTED"


def test_a_changed_file_counts_from_the_next_call(serve, call, tokens, tmp_path):
    address = serve(f"unix:{tmp_path}/s", tokens=tokens)
    assert call(address, token=READ)
    write(tokens, "read another-0123456789\n")
    assert refused(call, address, token=READ) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
    assert call(address, token="another-0123456789")
    write(tokens, "nonsense")  # the old ones stay
    assert call(address, token="another-0123456789")
    tokens.unlink()
    assert call(address, token="another-0123456789")
    staging = write(tmp_path / "new", f"read {READ}\n")
    os.replace(staging, tokens)
    assert call(address, token=READ)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no token"),
        ("# only words\n", "holds no token"),
        ("root 0123456789abcdef", "line 1: it must be a role"),
        ("read", "it must be a role"),
        ("read a b", "it must be a role"),
        ("\nread short", "line 2: a token has at least 16"),
        ("read sha256:0123456789abcdef", "64 hex digits"),
    ],
)
def test_files_that_are_none(text, fault):
    with pytest.raises(InvalidArgumentError, match=fault) as caught:
        parse_tokens(text, "tokens")
    assert "short" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InvalidArgumentError, match="cannot read"):
        TokenFile(tmp_path / "none")


def test_a_file_that_others_may_read_is_warned_of(tokens, caplog):
    TokenFile(tokens)
    assert not caplog.records
    tokens.chmod(0o644)
    assert TokenFile(tokens).role(DRIVE) is Role.DRIVE
    assert "chmod 600" in caplog.text and DRIVE not in caplog.text
