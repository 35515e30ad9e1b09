"""The commands. Heavy packages are imported when a command runs, so that help is quick."""

from . import listing, show, tour, verify

COMMANDS = (tour, verify, listing, show)
