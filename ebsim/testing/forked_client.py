"""The program that is started in place of one that `ebsim.testing.forked_programs` runs.

`python -I -S forked_client.py SOCKET PROGRAM ARGUMENT...`, and nothing of ebsim is imported: it
takes a hundredth of a second, also because `socket` and `array` are not imported.
"""

import _socket
import marshal
import os
import sys

LENGTH_SIZE = 8
"""Bytes of the number with which a request begins."""


def main(path: str, program: str, arguments: list[str]) -> int:
    """Have the server run a program with this process's streams; return its exit status."""
    umask = os.umask(0o077)
    request = marshal.dumps((program, arguments, os.getcwd(), umask, dict(os.environb)))
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(path)
    connection.sendmsg(
        [len(request).to_bytes(LENGTH_SIZE, "little")],
        [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)],
    )
    connection.sendall(request)
    status = connection.recv(1)
    if not status:
        os.write(2, b"the process of this command was killed\n")
        return 255
    return status[0]


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
