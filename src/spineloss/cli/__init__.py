"""The command line: parse, call, print; heavy imports stay inside the commands, so that --help is quick."""

import sys

from spineloss.cli.stopping import Stopped, stopped_by_signals
from spineloss.errors import UserError
from spineloss.extras import missing_extra
from spineloss.grammar import shortened

FAILED = 1


def main() -> None:
    """Run the command line; bad input or a missing extra ends in one sentence on stderr and exit code 1."""
    try:
        with stopped_by_signals():
            _run()
    except Stopped as stop:
        print(f"spineloss: {stop}", file=sys.stderr)
        sys.exit(stop.code)
    except UserError as error:
        _fail(error)
    except OSError as error:  # of a path that the system itself refuses, before anything is read or written
        if error.filename is None:
            raise
        _fail(f"{shortened(str(error.filename))} cannot be used ({error.strerror}): name another path.")
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error)) is None:
            raise
        _fail(sentence)


def _run() -> None:
    if sys.argv[1:] == ["doctor"]:  # it runs where typer is not installed
        from spineloss.cli.doctor import examine

        print("\n".join(examine()))
        return
    from spineloss.cli.application import app

    app()


def _fail(sentence: object) -> None:
    print(f"spineloss: {sentence}", file=sys.stderr)
    sys.exit(FAILED)
