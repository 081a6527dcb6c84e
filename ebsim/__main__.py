"""`python -m ebsim` is the `ebsim` command, and so is the script that an installation makes."""

import signal


def main() -> None:
    """Run the command line, and exit.

    Ctrl-C ends the process without a traceback also while modules are still being imported, which
    is most of the time that a short command takes.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ebsim.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
