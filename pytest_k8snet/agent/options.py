"""What a command line says."""

from __future__ import annotations


class Options:
    """The ``--name value`` pairs and the words; argparse would cost 10 ms a start."""

    def __init__(self, arguments: list[str]) -> None:
        self.words: list[str] = []
        self.pairs: list[tuple[str, str]] = []
        rest = iter(arguments)
        for argument in rest:
            if argument.startswith("--"):
                name, equals, value = argument[2:].partition("=")
                self.pairs.append((name, value if equals else next(rest, "")))
            else:
                self.words.append(argument)

    def many(self, name: str) -> list[str]:
        """Give every value of an option."""
        return [value for key, value in self.pairs if key == name]

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return bool(self.many(name))

    def text(self, name: str, default: str | None = None) -> str:
        """Give the last value of an option."""
        found = self.many(name)
        if not found and default is None:
            raise SystemExit(f"--{name} is missing")
        return found[-1] if found else default or ""
