"""docs/messages.md as a list of commands, each with the exit status and the answer it quotes.

In the page's indented blocks a line is a command (with what is indented further, its rest), and
`[N] text` the answer of all commands since the answer before; `...` in a command is the task's
usual command line, and in an answer what was left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PREFIX = "python run_downstream.py -d emotion_spknorm -u spknorm_demo_hubert"
# What another machine may compute: digests, probabilities and other decimals of three places.
_FREE = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,12}\b|\b\d+\.\d{3,}\b")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One command of the page: its number, what is typed, and the answer that is quoted."""

    number: int
    command: str
    status: int
    answer: str

    def typed(self) -> str:
        """Return the command as bash takes it; a run that names no folder gets one of its own."""
        command = re.sub(r"(?<![^\s(])\.\.\. ", f"{PREFIX} ", self.command)
        if PREFIX in command and " -p " not in command:
            command = command.replace(PREFIX, f"{PREFIX} -p runs/{self.number}")
        return command

    def lacks(self, text: str) -> str | None:
        """Return the first piece of the quoted answer that `text` does not hold, in their order."""
        flat, at = " ".join(text.split()), 0
        for piece in self.answer.split("..."):
            words = " ".join(piece.split())
            pattern = "".join(
                r"[0-9a-f.]+" if free else re.escape(part) for free, part in _parts(words)
            )
            found = re.compile(pattern).search(flat, at)
            if found is None:
                return words
            at = found.end()
        return None


def _parts(words: str) -> list[tuple[bool, str]]:
    """Return `words` in pieces, each with whether another machine may print another."""
    parts, at = [], 0
    for free in _FREE.finditer(words):
        parts += [(False, words[at : free.start()]), (True, free.group())]
        at = free.end()
    return [*parts, (False, words[at:])]


def entries(page: Path) -> list[Entry]:
    """Return all commands of `page` in their order; ValueError names an answer of no command."""
    found: list[Entry] = []
    commands: list[str] = []
    answer: tuple[int, list[str]] | None = None

    def close() -> None:
        nonlocal answer, commands
        if answer is None:
            return
        if not commands:
            raise ValueError(f"{page}: no command was typed for `{answer[1][0]}`.")
        for command in commands:
            status, lines = answer
            entry = Entry(
                number=len(found) + 1, command=command, status=status, answer="\n".join(lines)
            )
            found.append(entry)
        answer, commands = None, []

    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if not line.startswith("    "):
            close()
            if line and commands:
                raise ValueError(f"{page}: `{commands[-1]}` has no answer.")
            continue
        text = line[4:]
        quoted = re.match(r"\[(\d+)\] (.*)", text)
        if quoted:
            close()
            answer = int(quoted[1]), [quoted[2]]
        elif text.startswith("    ") and answer is not None:
            answer[1].append(text)
        elif text.startswith("    "):
            commands[-1] = commands[-1].removesuffix("\\") + text.strip()
        else:
            close()
            commands.append(text)
    return found
