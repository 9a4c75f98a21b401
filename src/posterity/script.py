"""How a script of the pipeline begins and ends.

A script calls `begin` before its slow imports and `run` with its work. From then on a mistake of the user, a signal and
the end of DVC each end it with one message and an exit code; what is left is a bug and keeps its traceback.
"""

import atexit
import gc
import os
import signal
import sys

# Other modules are imported where they are used: a signal before `begin` still ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn, TypeVar

    T = TypeVar("T")

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}
POLL_S = 0.5
# The longest that a script may take to tidy up after a signal. Then it ends at once: what it leaves is swept later.
GRACE_S = 20


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by SIGINT and SIGTERM; notes that are added to it are shown below its line.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(WORDS[signal.Signals(number)])
        self.number = number


class _State:
    """What the signal handler has to know."""

    installed = False
    running = False
    signal: int | None = None


def begin() -> None:
    """Make SIGINT and SIGTERM end this process with one line, also while modules are loading.

    If DVC runs the script, the process ends soon after DVC has died, so that a stage whose DVC was killed does not
    write its outputs into a later run.

    Until `run`, nothing searches for garbage.
    """
    if _State.installed:
        return
    _State.installed = True
    # Modules stay until the process ends: to search them again and again takes a tenth of a second while they load, and
    # nine when Python ends with TensorFlow loaded.
    gc.disable()
    atexit.register(gc.freeze)
    for number in WORDS:
        # What a parent ignores stays ignored: `nohup`, and shells that start something in the background, rely on it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable
    if "DVC_STAGE" in os.environ:
        _in_background(_end_after, _links_to_caller())


def owns_process() -> bool:
    """Whether `begin` was called: this process runs a script of the pipeline, and nothing of anybody else."""
    return _State.installed


def run(main: "Callable[[], None]") -> None:
    """Call ``main`` as the body of a script.

    A `UserError`, or what the system refuses, ends it with one message on stderr and exit code 2, a signal with one
    line and 128 + its number. It ends without a word, with 141, once nobody reads its stdout, as after ``| head``.
    """
    import io

    from posterity.errors import UserError, explained

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is escaped, not an error
            stream.reconfigure(errors="backslashreplace")
    if _State.installed:
        gc.freeze()
        gc.enable()
    _State.running = True
    try:
        _call(main)
    except UserError as error:
        if _State.signal is None:
            sys.exit(_report(f"error: {error}", code=2))
        _end(error)
    except KeyboardInterrupt as error:
        if not _State.installed:
            sys.exit(_report(_lines(error), code=128 + signal.SIGINT))
        _end(error)
    except OSError as error:
        if _State.signal is not None:
            _end(error)
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            _discard_stdout()
            sys.exit(128 + signal.SIGPIPE)
        if (text := explained(error)) is None:
            raise
        sys.exit(_report(f"error: {text}", code=2))
    except BaseException as error:
        # Libraries turn an exception that comes at a bad moment, such as the import of C code, into one of their own.
        if _State.signal is None:
            raise
        _end(error)
    if _State.installed:  # the work is done, and Python's own end would let a signal kill it without a word
        for number in WORDS:
            signal.signal(number, signal.SIG_IGN)


def _call(main: "Callable[[], None]") -> None:
    try:
        main()
    except SystemExit:
        _write_out()
        raise
    _write_out()


def _write_out() -> None:
    """Write what is left for stdout: at its own end Python would complain about what goes wrong in its own words."""
    from posterity.errors import UserError, explained

    if sys.stdout is None:  # closed from the start, as by `>&-`
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if (text := explained(error, "stdout", "written")) is None:
            raise
        _discard_stdout()
        raise UserError(text) from None


def _nobody_reads() -> bool:
    """Whether stdout is a pipe without a reader."""
    import select

    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in waiting.poll(0))


def _discard_stdout() -> None:
    """Let what is left for stdout go nowhere: Python tries once more to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_signal(number: int, frame: "FrameType | None") -> None:
    if _State.signal is not None:  # the second one: whoever sends it does not want to wait
        os._exit(128 + number)
    _State.signal = number
    if not _State.running:  # modules are loading: there is nothing to tidy up
        _exit(WORDS[signal.Signals(number)], 128 + number)
    _in_background(_end_in_time, number)
    raise Stopped(number)


def _in_background(function: "Callable[[T], None]", argument: "T") -> None:
    import threading

    threading.Thread(target=function, args=(argument,), daemon=True).start()


def _on_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise a signal's exception once more if it came in a destructor, where Python would only print it."""
    if isinstance(unraisable.exc_value, Stopped):
        _State.signal = None
        signal.raise_signal(unraisable.exc_value.number)
    else:
        sys.__unraisablehook__(unraisable)


def _end_in_time(number: int) -> None:
    import time

    time.sleep(GRACE_S)
    _exit(WORDS[signal.Signals(number)], 128 + number)


def _end(error: BaseException) -> "NoReturn":
    number = _State.signal or signal.SIGINT
    _exit(_lines(error) if isinstance(error, Stopped) else WORDS[signal.Signals(number)], 128 + number)


def _lines(error: KeyboardInterrupt) -> str:
    return "\n".join([str(error) or WORDS[signal.SIGINT], *getattr(error, "__notes__", [])])


def _report(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _exit(text: str, code: int) -> "NoReturn":
    """End the process without Python's own end, which waits for threads and in which libraries may still complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError, RuntimeError):  # a full disk, or the signal has come in the middle of a `print`
            continue
    try:
        line = f"\n{text}\n" if sys.stderr.isatty() else f"{text}\n"
        os.write(sys.stderr.fileno(), line.encode(errors="backslashreplace"))
    finally:
        os._exit(code)


def _links_to_caller() -> "Sequence[tuple[int, int]]":
    """Pairs (process, parent) from this process to the one that called it, through the shell that DVC uses."""
    links = [(os.getpid(), os.getppid())]
    while (parent := links[-1][1]) > 1 and _name(parent) in SHELLS and (above := _parent(parent)) is not None:
        links.append((parent, above))
    return links


def _name(process: int) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:  # it is gone, or this is not Linux
        return ""


def _parent(process: int) -> int | None:
    if process == os.getpid():
        return os.getppid()
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[1])  # the name in brackets may hold blanks and brackets itself


def _end_after(links: "Sequence[tuple[int, int]]") -> None:
    import time

    while all(_parent(process) == parent for process, parent in links):
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    # The handler runs between two steps of Python in the main thread; one step of a training may take long.
    time.sleep(GRACE_S)
    os._exit(128 + signal.SIGTERM)
