"""moto's server with two snapshots that differ in many blocks. Needs moto, and nothing of ebsim.

Run by `benchmarks.endpoint_servers`, in an environment that has `moto[server]`; prints one line of
JSON before it serves. The blocks of the two snapshots are small: moto lists them all the same.
"""

import json
import logging
import sys

from moto.ebs.models import ebs_backends  # type: ignore[import-not-found]
from moto.server import main  # type: ignore[import-not-found]

ACCOUNT = "123456789012"
REGION = "us-east-1"


def serve(port: int, changed_blocks: int) -> None:
    """Make the snapshots and serve."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = ebs_backends[ACCOUNT][REGION]
    made = []
    for content in (b"one", b"two"):
        snapshot = backend.start_snapshot(10, None, "changed")
        for index in range(changed_blocks):
            backend.put_snapshot_block(snapshot.snapshot_id, index, content, None, None, 3)
        backend.complete_snapshot(snapshot.snapshot_id)
        made.append(snapshot.snapshot_id)
    print(json.dumps({"Changed": made}), flush=True)
    main(["-p", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
