"""R1-Zero end to end on a laptop: the embedded base learns to reason in a few minutes.

    r1jax zero_demo

The base in the package has read worked problems, guesses and mistakes, and is right about three
times in ten. GRPO with nothing but a right-or-wrong reward and a format reward makes it choose,
lengthen and finish its chains of thought. At most 8 minutes on 2 CPU cores; expect held-out pass@1
from about 0.3 to above 0.8 and the strict format from 0.16 to above 0.9. Leaves runs/demo.
"""

from r1jax.commands import Command
from r1jax.presets.zero import PRESETS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, PRESETS["demo"])
