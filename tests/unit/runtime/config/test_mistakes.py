"""K6: every kind of mistake is reported with its line, its key, the text as written and the fix."""

import pytest

from tests.unit.runtime.config.example import RIGHT, load, refused, spoiled
from tests.unit.runtime.config.mistakes import MISTAKES


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[1][-40:])
def test_k6_a_mistake_is_reported_with_its_place_and_fix(row):
    right, wrong, line, key, value, problem, fix = row
    found = {problem.key: problem for problem in refused(spoiled(right, wrong))}[key]
    assert (found.line, found.value) == (line, value)
    assert problem in found.problem
    assert fix in found.fix


def test_a_mistake_reads_as_one_sentence():
    (problem,) = refused(spoiled("chain: [large, small]", "chain: [large, smal]"))
    assert problem.as_line("mine.yaml") == (
        'mine.yaml:15: roles.chat.chain[1] = "smal": there is no model of that name. '
        "Fix: define it under models:, or write small, if that is what you meant."
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("m-4.1", '"m-4.1"'),
        ('"a b"', '"a b"'),
        ('"x[0]"', '"x[0]"'),
        ("openai/gpt-oss", "openai/gpt-oss"),
        ("küche", "küche"),
    ],
)
def test_k6_a_key_that_would_blur_its_path_is_quoted(name: str, shown: str):
    text = spoiled(
        "large:\n    provider: here\n    price: {input: 100,",
        f"{name}:\n    provider: her\n    price: {{inputt: 1,",
    )
    found = refused(text.replace("[large, small]", f"[{name}, smal]"))
    assert [(problem.line, problem.key) for problem in found] == [
        (8, f"models.{shown}.provider"),
        (9, f"models.{shown}.price.inputt"),
        (15, "roles.chat.chain[1]"),
    ]


def test_k6_all_mistakes_are_reported_in_the_order_of_the_file():
    text = spoiled("provider: here\n    price", "provider: her\n    prise").replace(
        "[large, small]", "[lage, small]"
    )
    text = text.replace("{temperature: 0.4}", "{temperature: 0.1}").replace("https://here", "${NOT_SET}")
    found = refused(text + "brekaer: {}\n")
    assert [problem.key for problem in found] == [
        "providers.here.base_url",
        "models.large.provider",
        "models.large.prise",
        "roles.chat.chain[0]",
        "roles.chat.parameters.temperature",
        "brekaer",
    ]


def test_k6_a_misspelled_section_of_a_wrong_type_is_one_mistake():
    (problem,) = refused(RIGHT + "brekaer: 5\n")
    assert (problem.key, problem.problem) == ("brekaer", "there is no such key")


def test_a_mistake_in_one_entry_causes_no_follow_up_errors():
    """`large` is broken, yet it is still a name the chain may use."""
    (problem,) = refused(spoiled("price: {input: 100, output: 200}", "context_tokens: many"))
    assert problem.key == "models.large.context_tokens"


def test_the_rest_of_an_entry_with_a_wrong_type_is_checked():
    text = spoiled(
        "large:\n    provider: here\n    price: {input: 100,",
        "large:\n    provider: her\n    price: {input: -1,",
    )
    text = text.replace("output: 200}", "output: many}\n    context_tokens: 0").replace(
        "[large, small]", "[large, 7, smal]"
    )
    text = text.replace("{temperature: 0.4}", "{temperature: 3, top_p: [1]}").replace(
        "{temperature: 0.2}", "4"
    )
    assert [problem.key for problem in refused(text)] == [
        "models.large.provider",
        "models.large.price.input",
        "models.large.price.output",
        "models.large.context_tokens",
        "roles.chat.chain[1]",
        "roles.chat.chain[2]",
        "roles.chat.parameters",
        "roles.chat.ceilings.temperature",
        "roles.chat.ceilings.top_p",
    ]


@pytest.mark.parametrize("wrong", ["[[]]", "{a: {}}", "x y", "true"])
@pytest.mark.parametrize(
    "right",
    [
        "https://here.example/v1",
        "[HERE_KEY]",
        "{input: 100, output: 200}",
        "100",
        "{requests_per_minute: 30}",
        "30",
        "[large, small]",
        "{temperature: 0.2}",
        "{temperature: 0.4}",
        "0.4",
    ],
)
def test_a_wrong_type_is_reported_once(right, wrong):
    assert len({problem.line for problem in refused(spoiled(right, wrong))}) <= 1


def test_an_unreadable_vision_flag_is_not_taken_for_false():
    text = (
        spoiled("price: {input: 100, output: 200}", "supports_vision: perhaps")
        + "  vision:\n    chain: [large]\n"
    )
    assert [problem.key for problem in refused(text)] == ["models.large.supports_vision"]


@pytest.mark.parametrize("section", ["providers", "models", "roles"])
def test_a_missing_section_is_reported_once(section):
    head, _, rest = RIGHT.partition(f"\n{section}:\n")
    after = [line for line in rest.splitlines() if line]
    kept = next((index for index, line in enumerate(after) if not line.startswith(" ")), len(after))
    (problem,) = refused("\n".join([head, *after[kept:]]))
    assert (problem.key, problem.problem) == (section, "is missing")


def test_a_vision_role_needs_a_model_with_vision():
    text = RIGHT + "  vision:\n    chain: [large]\n"
    (problem,) = refused(text)
    assert (problem.line, problem.key) == (19, "roles.vision.chain")
    assert load(text.replace("price:", "supports_vision: true\n    price:")).models["large"].supports_vision


@pytest.mark.parametrize("key", ["gsk_0123456789abcdefghij", "sk-proj-0123456789", "not a name"])
def test_a_pasted_key_is_rejected_and_not_repeated(key):
    (problem,) = refused(spoiled("[HERE_KEY]", f"[{key}]"))
    assert problem.key == "providers.here.api_key_env[0]"
    assert key not in problem.as_line("mine.yaml")


def test_an_error_quotes_the_file_and_not_the_environment():
    (problem,) = refused(spoiled("https://here.example/v1", "${URL}"), {"URL": "hunter2"})
    assert "hunter2" not in problem.as_line("mine.yaml")
    assert problem.value == '"${URL}"'


def test_a_password_in_an_address_is_rejected_and_not_repeated():
    (problem,) = refused(spoiled("https://here.example/v1", "https://me:hunter2@here.example/v1"))
    assert problem.as_line("mine.yaml") == (
        "mine.yaml:4: providers.here.base_url: contains a user name or a password, with which every request would "
        "fail. Fix: remove it, and name the variable of the key in api_key_env."
    )


@pytest.mark.parametrize(
    "address", ["here.example/v1", "https:///v1", "http://host:port/v1", "http://host:/v1"]
)
def test_k6_an_address_needs_a_scheme_a_host_and_a_numeric_port(address: str):
    (problem,) = refused(spoiled("https://here.example/v1", address))
    assert (problem.key, problem.problem) == ("providers.here.base_url", "is not an address")


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1]:8080/v1",
        "http://here.example:8080",
        "https://here.example/@org/v1",
        "https://here.example/?to=a@b",
        "https://here.example/embeddings",
    ],
)
def test_an_address_may_have_a_port_an_at_sign_or_a_word_of_an_api_in_its_path(address: str):
    """A reverse proxy may serve a whole API below a path such as /embeddings."""
    assert load(spoiled("https://here.example/v1", address)).providers["here"].base_url == address


def test_two_names_of_one_model_must_have_the_same_limits():
    (problem,) = refused(spoiled("  small:\n", "  small:\n    name: large\n"))
    assert (problem.line, problem.key) == (13, "models.small.limits")
    assert "models.large" in problem.problem


def test_providers_of_one_quota_group_share_the_limits_of_a_model():
    group = "    quota_group: org\n  there:\n    base_url: https://there.example/v1\n    quota_group: org\n"
    text = spoiled("models:\n", f"{group}models:\n").replace(
        "small:\n    provider: here", "small:\n    provider: there"
    )
    assert load(text).providers["there"].quota_group == "org"
    (problem,) = refused(text.replace("    limits:", "    name: large\n    limits:"))
    assert problem.key == "models.small.limits"
    (empty,) = refused(spoiled("[HERE_KEY]\n", '[HERE_KEY]\n    quota_group: ""\n'))
    assert empty.key == "providers.here.quota_group"


def test_a10_a_catalogue_defines_roles_of_its_own():
    more = "  legal:\n    chain: [small]\n    auto: {keywords: [contract, statute of limitations]}\n"
    catalogue = load(RIGHT + more)
    assert list(catalogue.roles) == ["chat", "legal"]
    assert catalogue.roles["legal"].auto is not None
    assert catalogue.roles["legal"].auto.keywords == ("contract", "statute of limitations")


def test_a_reasoning_effort_is_not_compared_with_its_ceiling():
    text = spoiled("{temperature: 0.2}", "{reasoning_effort: medium}")
    assert refused(text.replace("{temperature: 0.4}", "{reasoning_effort: high}")) == ()
