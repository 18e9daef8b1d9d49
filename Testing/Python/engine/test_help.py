"""Every option tells what it is: people who have only the command line read nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from brbs.__main__ import parser
from brbs.settings import Settings

UNITS = {"--minutes": "minutes", "--idle-minutes": "minutes", "--spacing": "mm", "--region-margin": "mm"}


def commands() -> dict[str, argparse.ArgumentParser]:
    return next(action.choices for action in parser()._actions if isinstance(action.choices, dict))


def options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in command._actions if not isinstance(action, argparse._HelpAction))


@pytest.mark.parametrize("name", commands())
def test_every_option_says_what_it_is(name: str) -> None:
    told = {" ".join(action.option_strings) or action.dest: action.help for action in options(commands()[name])}
    assert [option for option, text in told.items() if len((text or "").split()) < 3] == []


@pytest.mark.parametrize("name", commands())
def test_options_with_a_default_or_a_unit_name_it(name: str) -> None:
    for action in options(commands()[name]):
        option = action.option_strings[-1]
        if action.default not in (None, False):
            assert "default" in action.help, option
        assert UNITS.get(option, "") in action.help, option


def test_every_command_says_what_it_does_and_formats_its_help() -> None:
    for name, command in commands().items():
        assert len(command.description.split()) > 3 and command.format_help().startswith(f"usage: brbs {name}")


def test_settings_tell_their_defaults() -> None:
    told = {action.dest: action.help for action in options(commands()["train"])}
    assert f"default: {Settings().learning_rate}" in told["learning_rate"]
    assert "default: {} {}".format(*Settings().percentiles) in told["percentiles"]
