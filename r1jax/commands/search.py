"""Rounds of search over steps and learning from what was found (paper v2, G.2).

    r1jax search --preset demo
    r1jax search --preset demo --method sample --run runs/control

Finds solutions of training problems by a beam of steps or by MCTS (`--method mcts`), guided by a
value model; the right ones teach the policy, all of them the value model; and again (`--rounds`).
`--method sample` draws whole solutions for the same tokens instead. After each round: pass@1
without a search, accuracy with one beside the best of N and the vote at equal tokens, and how well
the value model tells good prefixes from bad ones. Leaves rounds/N/solutions.jsonl, checkpoints/N,
metrics.jsonl and report.html; killed anywhere, the same command goes on. The demo takes some
minutes on two cores. What to read from it: docs/search.md.
"""

from r1jax.commands import Command
from r1jax.presets.search import PRESETS
from r1jax.stages.search import run

main = run.run
COMMAND = Command(main, PRESETS["demo"], PRESETS)
