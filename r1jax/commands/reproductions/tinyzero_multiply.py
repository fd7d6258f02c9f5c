"""TinyZero's multiplication: products of numbers of up to 3 digits (Jiayi-Pan/TinyZero).

    r1jax tinyzero_multiply --model QWEN2.5-3B-DIRECTORY

Prompt (one line, <think> already open), task and reward (0 no whole number, 0.1 wrong, 1 right) are
TinyZero's, from multiply.py, whose newest commit does not parse; the sizes of the factors are those
of the commit before it. Problems are generated, training and evaluation disjoint by factors.

TinyZero trained with PPO; its PPO comes later, and GRPO here is ours. Published: a model comes to
break products up by the distributive law, where countdown makes it search; 200 rollouts by
default, time and result here are not measured yet. `--data.train "tinyzero:multiply?digits=2"` is
easier. Leaves runs/tinyzero_multiply.
"""

from r1jax.commands import Command
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, REPRODUCTIONS["tinyzero-multiply"])
