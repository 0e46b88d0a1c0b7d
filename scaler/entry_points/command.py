"""What all commands do around their program: options, logs, and an exit status that says how it went.

Status 0: it was told to stop. 1: it could not go on. 2: it was called wrongly. In the last two cases one line on stderr
says why, and for what nobody had thought of the log has the traceback.

Rule 1: the signals that end it wait from the first moment until the program can stop in an orderly way, so that there
        is no moment in which they show a traceback or leave something behind. Hence the late imports.
Rule 2: nobody need read what is written: it ends in time all the same (scaler.program.logs).
"""

import sys

from scaler.program.signals import hold

_CONSOLE = {"/dev/stdout", "/dev/stderr"}


def run_command(command: str, module: str, *held: int) -> int:
    """Run the program in this module, which obeys the signals `held` too, with the config that sys.argv gives. Its exit
    status."""
    hold(*held)
    import logging
    from importlib import import_module

    from scaler.config.command_line import read_command_line
    from scaler.config.idle import warn_of_idle
    from scaler.config.table import COMMANDS
    from scaler.exceptions import OptionError, ScalerError
    from scaler.program import logs

    program, _, _ = COMMANDS[command]
    config = read_command_line(command, sys.argv[1:])
    try:
        logs.set_up(config.logging_paths, config.logging_level, config.logging_config_file)
        warn_of_idle(config, "--")
        status: int = import_module(module).run(config)
        return logs.end(status)
    except (ScalerError, OSError) as error:
        logs.say(f"{program}: {' '.join(str(error).split())}")
        on_console = not config.logging_config_file and _CONSOLE.issuperset(config.logging_paths)
        if logging.getLogger().hasHandlers() and not on_console:
            logging.getLogger(__name__).error("%s", error)
        return logs.end(2 if isinstance(error, OptionError) else 1)
    except Exception as error:
        logs.say(f"{program}: {' '.join(f'{type(error).__name__}: {error}'.split())}")
        logging.getLogger(__name__).critical("%s has failed", program, exc_info=True)
        return logs.end(1)


def run_viewer(command: str, module: str) -> int:
    """Run a program whose stdout is what it has to show, so that it has no log. Its exit status."""
    hold()
    from importlib import import_module

    from scaler.config.command_line import read_command_line
    from scaler.config.table import COMMANDS
    from scaler.exceptions import OptionError, ScalerError

    program, _, _ = COMMANDS[command]
    config = read_command_line(command, sys.argv[1:])
    try:
        status: int = import_module(module).run(config)
        return status
    except ModuleNotFoundError as error:
        print(f"{program}: there is no {error.name}: `pip install scaler[{command}]`", file=sys.stderr)  # noqa: T201
        return 1
    except (ScalerError, OSError) as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, OptionError) else 1
