"""Process rewards: labels of steps, what a model of them is worth, and all of it in one command."""
