"""Runs other programs, and waits for what they bring about."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

from .errors import CommandError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# ip, nft and containerd live in sbin, which an ordinary PATH may leave out.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """Return our environment, with the system's programs on PATH."""
    return {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:{PATH}",
        # Messages are shown and matched: in one language.
        "LC_ALL": "C.UTF-8",
    }


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; a failure carries all that it said."""
    try:
        done = subprocess.run(
            argv,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment() if env is None else env,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} was not found on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"`{shlex.join(argv)}` did not end within {timeout:.0f} s"
        ) from error
    if check and done.returncode:
        said = (done.stderr + done.stdout).strip() or "it said nothing"
        raise CommandError(f"`{shlex.join(argv)}` exited {done.returncode}: {said}")
    return done


def start_detached(argv: Sequence[str], log: Path) -> int:
    """Start a command that outlives us; what it says is added to a log.

    Returns its process, or one that lasts as long.
    """
    # The shell is the parent that does not wait: the command becomes nobody's child.
    detach = f'setsid "$@" </dev/null >>{shlex.quote(str(log))} 2>&1 & echo $!'
    return int(run(["/bin/sh", "-c", detach, "k8snet", *argv]).stdout)


def run_aloud(
    argv: Sequence[str], tell: Callable[[str], None], *, name: str = ""
) -> None:
    """Run a long command to its end, and tell of each line that it says.

    Args:
        argv: the command; it is ended when whoever waits for it is.
        tell: takes a line.
        name: what a failure calls it; by default its program.

    """
    said: list[str] = []
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                if line.strip():
                    tell(line.strip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        text = "".join(said).strip()
        raise CommandError(f"{name or argv[0]} exited {process.returncode}:\n{text}")


def wait_for(
    what: str,
    happened: Callable[[], object],
    *,
    timeout: float,
    every: float = 0.05,
    hint: Callable[[], str] = str,
) -> None:
    """Ask again and again until it is so; an OSError means not yet."""
    deadline = time.monotonic() + timeout
    last = ""
    while True:
        try:
            if happened():
                return
        except OSError as error:
            last = f" (last error: {error})"
        if time.monotonic() > deadline:
            more = hint()
            raise TimedOutError(
                f"{what} did not happen within {timeout:.0f} s{last}"
                + (f"\n{more}" if more else "")
            )
        time.sleep(every)


def tail(log: Path, size: int = 2000) -> str:
    """Return the end of a log; nothing when there is none."""
    try:
        return log.read_text(errors="replace")[-size:]
    except OSError:
        return ""
