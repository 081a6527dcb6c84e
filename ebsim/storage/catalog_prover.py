"""Proves a catalog, or looks how a commit ended: a program of its own, run by `catalog_proof`.

It is run as a file and imports nothing of ebsim, so that it is up in 12 ms. It may die, hang or be
killed: the process that asked lives, and takes that for an answer. One JSON object a line goes to
standard output: `{"progress": PART}` now and then, and the answer at the end.

The structure comes first, by a walk over pages that never hands the file to LMDB's engine: what
passes cannot lead the engine astray. Then each table is read as ebsim reads it: each value's
checksum is compared, and each key is looked up from the root.
"""

import json
import os
import sys
from typing import Any

PROGRESS_ENTRIES = 50_000
DAMAGES_MAX = 20
_CHECKSUM_SIZE = 16


def _say(answer: "dict[str, Any]") -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _structure(path: str) -> "list[str]":
    from lmdb.verify import VerifyError, verify

    try:
        return list(verify(path))  # type: ignore[no-untyped-call]  # the package says nothing
    except VerifyError as error:
        return [str(error)]


def _open(path: str, **options: Any) -> Any:  # noqa: ANN401 - an lmdb.Environment
    import lmdb

    return lmdb.open(path, create=False, max_dbs=64, readahead=False, lib_version=1, **options)


def _table(env: Any, txn: Any, name: bytes, tell: Any) -> "list[str]":  # noqa: ANN401 - lmdb's
    """Return what is wrong with a table: its values, and whether each key is found."""
    from xxhash import xxh3_128_digest

    damage: list[str] = []
    database = env.open_db(name, txn=txn, create=False)
    head, count = name + b"\0", 0
    with txn.cursor(database) as cursor, txn.cursor(database) as finder:
        for key, sealed in cursor:
            count += 1
            value = sealed[:-_CHECKSUM_SIZE]
            if xxh3_128_digest(b"".join((head, key, b"\0", value))) != sealed[-_CHECKSUM_SIZE:]:
                damage.append(f"the entry {name.decode()}/{key.hex()} is damaged")
            elif not finder.set_key(key):
                damage.append(f"the entry {name.decode()}/{key.hex()} is not found by its key")
            if count % PROGRESS_ENTRIES == 0:
                tell()
            if len(damage) >= DAMAGES_MAX:
                break
    stated = txn.stat(database)["entries"]
    if count != stated and not damage:
        damage.append(f"the table {name.decode()} has {count} entries, and says {stated}")
    return damage


def prove(path: str, tables: "list[str]") -> "dict[str, Any]":
    """Return the last commit's number, the counter of the journal, and what is damaged.

    Args:
        path: The catalog's folder. Nobody writes to it meanwhile.
        tables: The names that tables may have.
    """
    if damage := _structure(path):
        return {"damage": damage[:DAMAGES_MAX], "commit": 0, "sequence": None}
    env = _open(path, readonly=True, lock=False)
    commit = int(env.info()["last_txnid"])
    with env.begin() as txn:
        with txn.cursor() as cursor:
            found = [bytes(name).rstrip(b"\0") for name in cursor.iternext(values=False)]
        unknown = [name for name in found if name.decode("ascii", "replace") not in tables]
        damage = [f"there is a table {name!r} that is not ebsim's" for name in unknown]
        total = sum(_entries(env, txn, name) for name in found if name not in unknown) or 1
        done = 0

        def tell() -> None:
            nonlocal done
            done += PROGRESS_ENTRIES
            _say({"progress": min(done / total, 1)})

        for name in found:
            if name not in unknown:
                damage += _table(env, txn, name, tell)
        sequence = _meta(env, txn, b"sequence") if b"meta" in found else None
        store = _meta(env, txn, b"store") if b"meta" in found else None
    env.close()
    return {
        "damage": damage[:DAMAGES_MAX],
        "commit": commit,
        "sequence": sequence,
        "store": store,
    }


def _meta(env: Any, txn: Any, key: bytes) -> "str | None":  # noqa: ANN401 - lmdb's
    """Return a value of the table META in hex."""
    sealed = txn.get(key, db=env.open_db(b"meta", txn=txn, create=False))
    return None if sealed is None else bytes(sealed[:-_CHECKSUM_SIZE]).hex()


def _entries(env: Any, txn: Any, name: bytes) -> int:  # noqa: ANN401 - lmdb's
    return int(txn.stat(env.open_db(name, txn=txn, create=False))["entries"])


def settle(path: str, commit: int) -> "dict[str, Any]":
    """Return whether a commit is in the catalog, and make that last.

    The one who asks holds the lock of commits, so nobody has committed since. What is seen may be
    in the kernel's memory only; another commit, of what is there already, makes it durable: it is
    written and synced behind everything that it builds on.
    """
    env = _open(path, map_size=os.stat(os.path.join(path, "data.mdb")).st_size + (64 << 20))
    happened = int(env.info()["last_txnid"]) >= commit
    _say({"happened": happened})
    with env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn=txn, create=False)
        stated = txn.get(b"store", db=meta)
        if stated is not None:
            txn.put(b"store", bytes(stated), db=meta)
    env.close()
    return {"happened": happened, "settled": True}


def main() -> None:
    """Do what the first argument says, and print the answer."""
    order = json.loads(sys.argv[1])
    sys.path += order["imports"]
    if order["do"] == "prove":
        _say(prove(order["path"], order["tables"]))
    else:
        _say(settle(order["path"], order["commit"]))


if __name__ == "__main__":
    main()
