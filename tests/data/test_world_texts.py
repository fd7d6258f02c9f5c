"""The embedded world says what it has always said: digests of what it makes from fixed seeds.

The embedded bases were trained on these very words, so a wording that changes is a new world: then
the bases are trained anew, and the digests with them.
"""

from __future__ import annotations

import hashlib
import random

from r1jax.data.world import FAMILIES, KINDS, Mix, documents, write_reply
from r1jax.data.world.general import draw_general
from r1jax.data.world.problems import draw
from r1jax.data.world.requests import PARTS
from r1jax.data.world.rewrite import rewrite


def digest(texts):
    """Twelve digits of the SHA-256 of the texts, each ended by a zero byte."""
    return hashlib.sha256("".join(f"{text}\0" for text in texts).encode()).hexdigest()[:12]


def said(problem):
    return f"{problem.id}\n{problem.question}\n{problem.answer}"


def test_worked_problems():
    cases = [(family, language, split, harder) for family in FAMILIES for language in (0, 1)
             for split in ("train", "eval") for harder in (False, True)]  # fmt: skip
    drawn = [said(draw(random.Random(i), *case)) for case in cases for i in range(30)]
    assert digest(drawn) == "74a79fc5fd33"


def test_general_prompts_and_their_replies():
    prompts = [draw_general(random.Random(i), kind, language, part)
               for kind in KINDS for language in (0, 1) for part in PARTS
               for i in range(60)]  # fmt: skip
    rng = random.Random(0)
    assert digest(map(said, prompts)) == "27af14432b1e"
    assert digest(write_reply(prompt, rng).completion for prompt in prompts) == "36ccf7fe1a41"


def test_documents_and_how_they_are_rewritten():
    made = list(documents(0, 0, 800, Mix(general=0.3)))
    assert digest(document.text for document in made) == "f1d72629343e"
    told = [rewrite(document.problem.question, document.completion) or "" for document in made]
    assert digest(told) == "49f3e06dcd03"
