"""The commands. Heavy packages are imported when a command runs, so that help is quick."""

from . import compare, listing, show, table, tour, verify

COMMANDS = (tour, compare, verify, table, listing, show)
