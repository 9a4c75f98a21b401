"""What Git says, for those who can do without an answer."""

import subprocess


def output(*arguments: str) -> str | None:
    """What ``git ARGUMENTS`` prints; None if it fails, if this is no repository, or if Git is not installed."""
    try:
        done = subprocess.run(["git", *arguments], check=False, capture_output=True)
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
