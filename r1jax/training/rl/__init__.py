"""Reinforcement learning: rollouts, rewards, advantages, updates."""
