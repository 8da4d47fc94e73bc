"""The command line `llm`, with the gateway as an OpenAI-compatible API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BASE_URL, KEY

QUESTION = "Why is the sky blue?"
MODEL = """
- model_id: penstock
  model_name: {model}
  api_base: {url}
  supports_tools: true
  supports_schema: true
  vision: true
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What llm's documentation prescribes: the models in a file, and the key in another."""
    (tmp_path / "extra-openai-models.yaml").write_text(MODEL.format(model="chat", url=BASE_URL))
    return tmp_path


def llm(home: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        env={**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": KEY},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def logged(home: Path) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads(llm(home, "logs", "--json").stdout)
    return entries


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_a_prompt_is_answered_and_its_usage_logged(home: Path, flags: list[str]):
    done = llm(home, "-m", "penstock", *flags, QUESTION)
    assert done.returncode == 0, done.stderr
    assert QUESTION in done.stdout
    (entry,) = logged(home)
    assert int(str(entry["output_tokens"])) == 40


def test_a_conversation_goes_on(home: Path):
    assert llm(home, "-m", "penstock", QUESTION).returncode == 0
    done = llm(home, "-c", "And at night?")
    assert "And at night?" in done.stdout
    first, second = sorted(logged(home), key=lambda entry: str(entry["datetime_utc"]))
    assert int(str(second["input_tokens"])) > int(str(first["input_tokens"])) + 40


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_a_tool_is_called_and_its_result_answered(home: Path, flags: list[str]):
    (home / "tools.py").write_text(
        'def multiply(a: int, b: int) -> int:\n    """Multiply."""\n    return a * b\n'
    )
    done = llm(
        home,
        "-m",
        "penstock",
        *flags,
        "--functions",
        str(home / "tools.py"),
        "--td",
        "multiply 6 and 7 for me",
    )
    assert done.returncode == 0, done.stderr
    assert "multiply({'a': 6, 'b': 7})" in done.stderr
    assert "“42”" in done.stdout


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_a_schema_is_followed(home: Path, flags: list[str]):
    done = llm(home, "-m", "penstock", *flags, "--schema", "name, age int", "A dog of 5 years")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "A dog of 5 years", "age": 5}


def test_the_error_of_an_unknown_model_is_shown(home: Path):
    (home / "extra-openai-models.yaml").write_text(MODEL.format(model="no-such-model", url=BASE_URL))
    done = llm(home, "-m", "penstock", QUESTION)
    assert done.returncode == 1
    assert "no-such-model" in done.stderr
