"""The commands. Heavy packages are imported when a command runs, so that help is quick."""

from . import compare, families, listing, show, table, tour, verify

COMMANDS = (tour, compare, verify, table, families, listing, show)
