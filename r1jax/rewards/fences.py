"""Which part of a completion is its program; linear in the text, and nothing is compiled."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*(.*)")
_TAG = re.compile(r"[{.]*([\w+#-]*)")
_PYTHON = frozenset({"python", "py", "python3", "py3", "python2", "ipython", "ipython3", "sage"})
_NO_PROGRAM = frozenset(
    "output out result results stdout stdin stderr input console terminal bash sh shell zsh "
    "shell-session powershell bat cmd fish pycon python-repl doctest json yaml yml toml ini xml "
    "html css sql csv tsv diff log logs markdown md latex tex math mermaid c cpp c++ cxx c# cs "
    "csharp java javascript js jsx typescript ts tsx go golang rust rs ruby rb php perl swift "
    "kotlin scala haskell hs julia r matlab lua asm makefile dockerfile".split()
)
"""Tags of blocks that are no program in Python, whatever else there is."""
_CODE = re.compile(
    r"^[ \t]*(?:(?:async +)?def |class |import |from \w[\w.]* +import|for .+:|while .+:|if .+:|"
    r"with .+:|try:|return\b|print *\(|@\w|[\w.\[\], ]+ *[-+*/%&|^]?=(?!=))",
    re.MULTILINE,
)
_DEFINED = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
_USED = re.compile(r"(?<![\w.])(?<!def )(?<!class )(\w+) *\(")


@dataclass
class _Block:
    """A fenced block: its tag in small letters, and its text without the fence's indentation."""

    tag: str
    indent: int
    text: str

    @property
    def rank(self) -> int:
        """How far it looks like the program; 0: it is none."""
        if self.tag in _NO_PROGRAM:
            return 0
        if self.tag in _PYTHON:
            return 5
        if self.tag in ("text", "txt", "plaintext", "plain"):
            return 1
        code = _CODE.search(self.text) is not None and not self.text.lstrip().startswith(">>>")
        return 2 + code + bool(code and not self.tag)


def program(text: str) -> str:
    """The program in `text`: the last fenced block that is Python, else the answer itself.

    The answer is what follows the thought, and of that the last closed <answer> block if there is
    one. Blocks tagged as Python come before untagged ones; those of output, of a shell or of other
    languages are none. Functions that the last block calls and an earlier one defines come with it.
    A block that is not closed reaches to the end.
    """
    answer = _answer(text)
    blocks = _blocks(answer)
    if not blocks:
        return answer.removeprefix("\ufeff")
    best = max(block.rank for block in blocks)
    if not best:
        return ""
    return _with_its_functions([block.text for block in blocks if block.rank == best])


def _answer(text: str) -> str:
    """What `text` answers, thoughts aside."""
    said = text.rpartition("</think>")[2]
    closed = said.rfind("</answer>")
    start = said.rfind("<answer>", 0, closed) if closed >= 0 else -1
    return said[start + 8 : said.find("</answer>", start)].strip() if start >= 0 else said


def _blocks(text: str) -> list[_Block]:
    """The fenced blocks of `text`; those in a string of a program without a fence do not count."""
    blocks: list[_Block] = []
    opened, lines = "", []  # the fence that is open, and the lines behind it
    bare = False  # whether there is code outside every fence
    for line in text.splitlines(keepends=True):
        match = _LINE.match(line)
        indent, fence, rest = match.groups() if match else ("", "", "")
        if opened:
            deeper = len(indent) > blocks[-1].indent
            if not fence.startswith(opened) or deeper or rest.startswith(opened[0]):
                lines.append(line)
                continue
            blocks[-1].text = _dedented(lines, blocks[-1].indent)
            opened, lines = "", []
            if not rest or " " in rest.strip():
                continue  # closed; a tag instead opens the next block
        elif not fence or (fence[0] == "`" and "`" in rest) or (bare and len(indent) > 3):
            bare = bare or _DEFINED.match(line) is not None
            continue
        opened = fence
        tag = _TAG.match(rest)
        blocks.append(_Block(tag.group(1).lower() if tag else "", len(indent), ""))
    if opened:
        blocks[-1].text = _dedented(lines, blocks[-1].indent)
    return blocks


def _dedented(lines: list[str], indent: int) -> str:
    """The lines without as much of their indentation as the fence had."""
    kept = [line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines]
    return "".join(kept).removeprefix("\ufeff")


def _with_its_functions(blocks: list[str]) -> str:
    """The last block, behind the earlier ones that define what it calls."""
    parts = [blocks[-1]]
    known, used = set(_DEFINED.findall(blocks[-1])), set(_USED.findall(blocks[-1]))
    for block in reversed(blocks[:-1]):
        names = set(_DEFINED.findall(block)) - known
        if names & used:
            parts.insert(0, block)
            known |= names
            used |= set(_USED.findall(block))
    return "\n".join(parts)
