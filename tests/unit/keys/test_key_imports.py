"""Commands that use no keys start as fast as they did: the ciphers are imported when needed."""

import subprocess
import sys
from pathlib import Path

from ebsim.caller import Caller
from ebsim.keys.keyring import Keyring

LOOKING = """
import sys
from pathlib import Path
import ebsim.format.sealing, ebsim.format.sector_cipher
from ebsim.caller import Caller
from ebsim.keys.keyring import Keyring
ring = Keyring.open(Path(sys.argv[1]))
(key,) = ring.list_keys(Caller("123456789012", "us-east-1"))
ring.describe_key(Caller("123456789012", "us-east-1"), key.arn)
loaded = {"cryptography", "cffi", "subprocess", "numpy", "lmdb"} & set(sys.modules)
print(sorted(loaded))
"""


def test_looking_at_keys_imports_no_cipher(fast_path: Path) -> None:
    path = fast_path / "keyring.json"
    Keyring.create(path).create_key(Caller("123456789012", "us-east-1"))

    done = subprocess.run(
        [sys.executable, "-c", LOOKING, str(path)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
