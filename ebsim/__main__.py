"""`python -m ebsim` is the `ebsim` command."""

from ebsim.cli.main import main

main()
