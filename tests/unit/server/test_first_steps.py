"""What somebody sees who starts the endpoint for the first time, or starts it wrongly."""

import os
import shlex
import signal
import socket
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
from ebsim.cli.environment import Environment
from ebsim.cli.invocation import Invocation
from ebsim.cli.main import run
from ebsim.cli.server_views import how_to_use
from ebsim.cli.stores import EngineStores
from ebsim.entropy import SystemEntropy
from ebsim.errors import StoreError
from ebsim.results import SnapshotState
from ebsim.server.credentials import Credentials
from ebsim.server.process import ServeOptions, listen, serve, url_of
from ebsim.storage.files import PosixFiles
from ebsim.testing.harness import Harness

OTHER = "111122223333"
URL = "http://127.0.0.1:4800"


def test_line_that_serve_prints_works_where_no_variable_names_the_store(
    fast_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it says that a store is made, as another one may have been meant."""
    store = fast_path / "my store"
    environment = Environment(store=store, account=OTHER, region="eu-west-1")
    line = how_to_use(Invocation(environment, EngineStores()), URL, signed=True)
    ebsim, *words = shlex.split(line.removeprefix('eval "$(').removesuffix(')"'))
    assert ebsim == "ebsim"

    elsewhere = Environment(store=fast_path / "elsewhere")
    assert run(words, elsewhere, EngineStores()) == 0
    first = capsys.readouterr()
    assert run(words, elsewhere, EngineStores()) == 0
    again = capsys.readouterr()

    assert not (fast_path / "elsewhere").exists()
    assert (first.err, again.err) == (f"ebsim: making an empty store in {store}\n", "")
    assert first.out == again.out
    credential = Credentials(store, PosixFiles(), SystemEntropy()).of_account(OTHER)
    exported = [each for each in first.out.splitlines() if each.startswith("export ")]
    assert dict(shlex.split(each)[1].split("=", 1) for each in exported) == {
        "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": URL,
    }
    assert "unset AWS_SESSION_TOKEN\nunset AWS_PROFILE\n" in first.out


def test_line_for_an_endpoint_where_nobody_signs_has_any_key() -> None:
    line = how_to_use(Invocation(Environment(store=None), EngineStores()), URL, signed=False)
    assert f"AWS_ENDPOINT_URL={URL} " in line
    assert "AWS_SECRET_ACCESS_KEY=" in line


@pytest.mark.parametrize("url", ["localhost:4747", "ftp://here", "http://", "http://x:99999", ""])
@pytest.mark.parametrize("command", ["env", "configure"])
def test_what_is_no_url_is_refused(
    fast_path: Path, capsys: pytest.CaptureFixture[str], command: str, url: str
) -> None:
    store = fast_path / "store"
    given = ["credentials", command, "--endpoint-url", url]
    assert run(given, Environment(store=store), EngineStores()) == 2
    assert f"'{url}' is no URL such as http://127.0.0.1:4747" in capsys.readouterr().err
    assert not store.exists()


def test_default_profile_is_made_where_there_is_none_and_never_replaced(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is `[default]` among the settings too, where others are `[profile NAME]`."""
    config = fast_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(fast_path / "credentials"))
    given = ["credentials", "configure", "--profile", "default"]
    environment = Environment(store=fast_path / "store")
    for mine in ("[default]\nregion = eu-west-1\n", "[profile default]\nregion = eu-west-1\n"):
        config.write_text(mine)
        assert run(given, environment, EngineStores()) == 1
        assert "choose another --profile" in capsys.readouterr().err
        assert config.read_text() == mine
    config.unlink()
    assert run(given, environment, EngineStores()) == 0
    assert config.read_text().startswith("[default]\nregion = us-east-1\nendpoint_url = ")


def test_address_that_cannot_be_used_is_told_with_what_to_do() -> None:
    with listen(ServeOptions(port=0)) as listening:
        taken = ServeOptions(port=listening.getsockname()[1])
        with pytest.raises(StoreError, match="has it: --port 0 picks a free one"):
            listen(taken)
    with pytest.raises(StoreError, match="no such address"):
        listen(ServeOptions(host="192.0.2.1", port=0))  # for documentation: nobody's


def test_url_has_the_name_that_a_certificate_is_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        file = Path("cert.pem")
        named = ServeOptions(host="localhost", certificate=file, key=file)
        numbered = ServeOptions(certificate=file, key=file)
        assert url_of(named, listening) == f"https://localhost:{port}"
        assert url_of(numbered, listening) == f"https://127.0.0.1:{port}"
        assert url_of(ServeOptions(host="localhost"), listening) == f"http://127.0.0.1:{port}"


def test_server_that_waits_before_it_stops_says_so(fast_path: Path) -> None:
    told: list[float] = []
    with Harness(fast_path) as harness, harness.faults.hold_snapshots():
        store = harness.store
        credentials = Credentials(store.path, PosixFiles(), SystemEntropy())
        held = store.create_snapshot(harness.new_volume().volume_id).snapshot_id

        def ready(_url: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def waiting(seconds: float) -> None:
            told.append(seconds)
            harness.faults.release()

        assert serve(store, credentials, ServeOptions(port=0), ready, waiting=waiting) == []
        (shown,) = harness.reopen().wait_snapshots([held])
    assert shown.state is SnapshotState.COMPLETED
    assert len(told) == 1
    assert 0 < told[0] <= 30
