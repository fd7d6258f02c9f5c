"""Rounds of search and learning: what a search finds teaches the policy and the value model."""
