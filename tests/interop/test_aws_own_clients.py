"""Programs that make their boto3 clients themselves, where other accounts are set up."""

import os
import subprocess
import sys

import pytest

from ebsim.testing.aws import RunningEndpoint

boto3 = pytest.importorskip("boto3")
OTHER = "111122223333"
PROGRAM = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"


@pytest.fixture
def other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer may have: a profile, another endpoint, a session with other keys."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    session = boto3.Session.__new__(boto3.Session)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)


def test_clients_of_a_program_use_the_endpoint_and_nothing_else(
    other_settings: None, ebsim_aws: RunningEndpoint
) -> None:
    made = ebsim_aws.client("ec2").create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    assert [each["VolumeId"] for each in boto3.client("ec2").describe_volumes()["Volumes"]] == [
        made
    ]
    assert [each.id for each in boto3.resource("ec2").volumes.all()] == [made]
    assert boto3.DEFAULT_SESSION.region_name == "us-east-1"

    environment = {**os.environ, **ebsim_aws.environment(OTHER)}
    command = [sys.executable, "-c", PROGRAM]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == f"{OTHER}\n"
