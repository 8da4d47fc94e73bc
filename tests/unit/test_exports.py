"""K2: an application imports everything from `penstock`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import penstock
from penstock import errors
from penstock.contract.reply import ReplyEvent


def test_k2_every_error_is_exported():
    for name in errors.__all__:
        assert getattr(penstock, name) is getattr(errors, name)


def test_k2_every_event_of_a_reply_is_exported():
    for event in ReplyEvent.__args__:
        assert getattr(penstock, event.__name__) is event


def test_k2_every_listed_name_exists():
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None


def test_k2_completion_lists_the_public_names_before_their_use():
    listing = "import penstock; print(dir(penstock) == sorted(penstock.__all__))"
    found = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "True"


def test_k2_an_import_of_the_package_loads_nothing_else():
    listing = "import sys, penstock; print([m for m in sys.modules if m.startswith('penstock.')])"
    found = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_the_command_without_the_server_extra_names_the_extra():
    program = (
        "import sys; sys.modules['yaml'] = None; sys.argv = ['penstock', 'config', 'check'];"
        "from penstock.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'PATH[server]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("nats://127.0.0.1:4222",)])
def test_k2_a_client_without_a_connection_names_connect(arguments):
    with pytest.raises(TypeError, match=r"await Client\.connect"):
        penstock.Client(*arguments)
