import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.document import read_document
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from tests.unit.runtime.config.example import RIGHT, load


def read(text, **env):
    return read_document(text, source="x.yaml", env=env)


def test_every_key_has_its_line():
    document = read("a:\n  - 1\n  - b: 2\nc: {d: [5,\n 6]}\n")
    assert document.data == {"a": [1, {"b": 2}], "c": {"d": [5, 6]}}
    assert document.lines == {
        "": 1,
        "a": 1,
        "a[0]": 2,
        "a[1]": 3,
        "a[1].b": 3,
        "c": 4,
        "c.d": 4,
        "c.d[0]": 4,
        "c.d[1]": 5,
    }


@pytest.mark.parametrize(
    ("text", "env", "value"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A}/${B:-y}", {"A": "x"}, "x/y"),
        ("${A:-}", {}, None),
        ("${A:-http://h:1}/v1", {"A": ""}, "http://h:1/v1"),
        ("$${A}", {"A": "x"}, "${A}"),
        ("${A}", {"A": "5"}, 5),
        ("'${A}'", {"A": "5"}, "5"),
        ("${A}", {"A": "true"}, True),
        ("${A}", {"A": "{evil: [1]}"}, "{evil: [1]}"),
        ("${A}", {"A": "${B}", "B": "x"}, "${B}"),
        ("costs $5", {}, "costs $5"),
    ],
)
def test_the_environment_fills_a_value_and_never_the_structure(text, env, value):
    assert read(f"k: {text}", **env).data == {"k": value}


def test_a_date_or_a_version_stays_text():
    assert read("a: 2024-05-01\nb: '1'\nc: !!str 1").data == {"a": "2024-05-01", "b": "1", "c": "1"}


def test_anchors_and_merges_work_and_own_keys_take_precedence():
    document = read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 8}, *a]}\nd: *a")
    assert document.data == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 8, "y": 2},
        "d": {"x": 1, "y": 2},
    }
    assert not document.problems


def test_aliases_that_multiply_are_refused_at_once():
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigurationRefused, match="more than 50000 values"):
        read("\n".join(lines))


def test_nesting_that_would_overrun_the_stack_is_rejected():
    for text in ("[" * 100_000, "- " * 100_000, "{a: " * 100_000):
        with pytest.raises(ConfigurationRefused, match="levels deep"):
            read(text)


def judge(text, env=None):
    """Reads, or refuses with at least one problem, a line for each; anything else fails the test."""
    try:
        load_catalogue(text, source="x.yaml", env=env or {})
    except ConfigurationRefused as refused:
        refusal = refused
    else:
        return
    assert refusal.problems
    assert len(str(refusal).splitlines()) == len(refusal.problems)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    judge(text)


@given(st.text(alphabet="abc:-[]{}&*<!|>?'\"%@` \n\t#,$0x.~_1e", max_size=60))
def test_any_text_of_yaml_signs_is_read_or_refused(text):
    judge(text)
    judge(f"name: {text}")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["here", "large", "${A}", "chat", "0x_", "1e400", "9" * 5000, "=", "<<"])
)
KEYS = st.text(max_size=4) | st.sampled_from(
    [
        "name",
        "providers",
        "models",
        "roles",
        "chat",
        "vision",
        "chain",
        "provider",
        "limits",
        "price",
        "large",
    ]
)
FIELDS = st.sampled_from(
    [
        "timeouts",
        "retry",
        "parameters",
        "ceilings",
        "temperature",
        "max_tokens",
        "total_s",
        "initial_backoff_s",
        "<<",
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | FIELDS, inner, max_size=5),
    max_leaves=25,
)


@given(TREES)
def test_any_tree_is_read_or_refused(tree):
    judge(yaml.safe_dump(tree, allow_unicode=True), {"A": "1"})


PLACES = [
    "name", "providers", "providers.here", "providers.here.api_key_env", "models", "models.large.price",
    "models.large.limits", "models.small.context_tokens", "roles", "roles.vision", "roles.chat.chain",
    "roles.chat.parameters", "roles.chat.ceilings.max_tokens", "roles.chat.parameters.max_tokens",
    "roles.chat.timeouts", "roles.chat.timeouts.total_s", "roles.chat.retry.initial_backoff_s", "breaker", "routing",
    "batch",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(PLACES), TREES | SCALARS), min_size=1, max_size=4))
def test_a_valid_file_with_any_value_anywhere_is_read_or_rejected(changes):
    data = yaml.safe_load(RIGHT)
    for place, value in changes:
        *above, last = place.split(".")
        inside = data
        for name in above:
            if not isinstance(inside.get(name), dict):
                inside[name] = {}
            inside = inside[name]
        inside[last] = value
    judge(yaml.safe_dump(data, allow_unicode=True), {"A": "1"})


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 5000, "9" * 5000, "9223372036854775808", "0x_", "1:" * 900 + "1.0"]
)
def test_a_number_beyond_64_bits_is_rejected(number):
    judge(RIGHT.replace("input: 100", f"input: {number}"))
    document = read(f"a: {number}")
    assert isinstance(document.data["a"], str | None)


@given(st.integers(0, len(RIGHT)), st.integers(0, 12), st.text(alphabet="ab:-[]{}&*\n '\"0.", max_size=6))
def test_a_valid_file_with_any_piece_replaced_is_read_or_rejected(start, length, piece):
    judge(RIGHT[:start] + piece + RIGHT[start + length :])


def test_the_example_itself_is_valid():
    assert load(RIGHT).roles["chat"].chain == ("large", "small")
