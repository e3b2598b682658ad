"""Run the command with ``python -m traceprop_engine.cli``."""

from traceprop_engine.cli.app import main

if __name__ == "__main__":
    main(prog_name="traceprop")
