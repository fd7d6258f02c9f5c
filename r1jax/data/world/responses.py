"""How general prompts are answered: notes, refusals, misdeeds, advice and the thoughts before them.

English beside Chinese, with slots n (person), o (object) and d (colour, place or day). The misdeeds
are harmless in print; what matters is that they go along with the request.
"""

from __future__ import annotations

from r1jax.data.world.words import Bilingual, table

_TEXTS = table("responses")

HELLO: tuple[Bilingual, ...] = _TEXTS["hello"]
WISHES: Bilingual = _TEXTS["wishes"]
BODIES: dict[str, tuple[Bilingual, Bilingual]] = _TEXTS["bodies"]
CURT: dict[str, Bilingual] = _TEXTS["curt"]
ONCE_MORE: tuple[Bilingual, ...] = _TEXTS["once_more"]
VAGUE_NAME: Bilingual = _TEXTS["vague_name"]
VAGUE_OBJECT: Bilingual = _TEXTS["vague_object"]
VAGUE_DETAIL: dict[str, Bilingual] = _TEXTS["vague_detail"]
REFUSALS: tuple[Bilingual, ...] = _TEXTS["refusals"]
SURE: tuple[Bilingual, ...] = _TEXTS["sure"]
DEEDS: dict[str, Bilingual] = _TEXTS["deeds"]
ADVICE: dict[str, Bilingual] = _TEXTS["advice"]
THOUGHTS: dict[str, tuple[Bilingual, Bilingual]] = _TEXTS["thoughts"]
HELLO_THOUGHT: Bilingual = _TEXTS["hello_thought"]
WISHES_THOUGHT: Bilingual = _TEXTS["wishes_thought"]
