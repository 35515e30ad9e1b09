"""Rows: what is accumulated over the event axis, and how it is differentiated."""
