"""The console command `posterity`, also as `python -m posterity`."""

from posterity import script


def main() -> None:
    """Run the command line; a signal ends it with one line from here on, also while its modules are loading."""
    script.begin()

    from posterity import cli

    cli.main()


if __name__ == "__main__":
    main()
