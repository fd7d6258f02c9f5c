"""R1-Zero on GSM8K with low-rank factors: a 7B model on one 80 GB device.

    r1jax gsm8k_lora --model QWEN2.5-7B-DIRECTORY \
      --data.train gsm8k_train.jsonl --data.eval gsm8k_test.jsonl

Without the two files GSM8K comes from Hugging Face (package datasets). Only the factors are
trained, beside a bfloat16 base that is the KL term's reference too, should `--loss.beta` ask for
one. What it needs of a device before anything is loaded: `r1jax memory_plan
--preset gsm8k-lora --model DIRECTORY --device-gb 80`. Leaves runs/gsm8k_lora; with --export the
merged model in hf/ and the factors alone, as PEFT reads them, in adapter/.
"""

from r1jax.commands import Command
from r1jax.presets.zero import PRESETS
from r1jax.stages import zero

main = zero.run
COMMAND = Command(main, PRESETS["gsm8k-lora"])
