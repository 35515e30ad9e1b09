"""Distributions whose rows are never whole: tiles of outcomes, and shards of them."""
