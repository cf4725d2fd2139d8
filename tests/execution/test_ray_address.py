"""Where a Ray cluster is looked for, and what is said where none can be used; without a cluster."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tuner.errors import InputError
from tuner.execution import ray_cluster

ray = pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of somebody who has never started Ray."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray_cluster, "_read_environment_again", lambda: None)
    return tmp_path


def test_what_listens_and_is_no_ray_is_known_at_once() -> None:
    """Ray itself would try for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(InputError, match="something else listens there"):
            ray_cluster.check_reachable(f"127.0.0.1:{port}")


class Asking:
    """A head node that lets in whoever brings a token."""

    def __init__(self, address: str) -> None:
        import os

        if os.environ.get("RAY_AUTH_MODE") != "token":
            raise ray.exceptions.AuthenticationError("no token")


def test_a_token_is_brought_where_one_is_asked_for(home, monkeypatch) -> None:
    """`ray start --head` asks for it where Ray has ever started alone."""
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("secret")
    monkeypatch.setattr(ray._raylet, "GcsClient", Asking)
    monkeypatch.setenv("RAY_AUTH_MODE", "")
    monkeypatch.delenv("RAY_AUTH_MODE")  # so that it is gone after the test, too
    _, was_asked = ray_cluster._client("head:6379")
    assert was_asked


def test_a_token_is_not_brought_where_nobody_asks(home, monkeypatch) -> None:
    """With it, this process would ask the cluster's for theirs, and lose its actors."""
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("secret")
    monkeypatch.setattr(ray._raylet, "GcsClient", lambda address: "client")
    assert ray_cluster._client("head:6379") == ("client", False)


def test_where_there_is_no_token_it_is_said_what_to_copy(monkeypatch) -> None:
    monkeypatch.setattr(ray._raylet, "GcsClient", Asking)
    problem = ray_cluster._found("127.0.0.1:6379")["problem"]
    assert "asks for a token" in problem["what"]
    assert "copy ~/.ray/auth_token" in problem["mend"]


def test_nobody_guesses_among_several_clusters(monkeypatch) -> None:
    from ray._private import services

    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"b:1", "a:1"})
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    problem = ray_cluster._found("auto")["problem"]
    assert problem["what"] == "several Ray clusters run on this machine"
    assert problem["received"] == "a:1, b:1"


def test_without_a_cluster_auto_says_how_to_start_one(monkeypatch) -> None:
    from ray._private import services

    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    problem = ray_cluster._found("auto")["problem"]
    assert "ray start --head" in problem["mend"]
