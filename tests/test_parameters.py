"""params.yaml: what is accepted, and one readable message for everything that is not."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from t3vae.errors import ConfigError
from t3vae.settings import parameters, reference_page
from t3vae.settings.config import (
    LATENTS,
    Experiment,
    Parameters,
)
from t3vae.settings.problems import dotted
from t3vae.settings.yaml_reader import read

ROOT = Path(__file__).parent.parent
FILE = ROOT / "params.yaml"
TEXT = FILE.read_text(encoding="utf-8")


def _write(folder: Path, *changes: tuple[str, str]) -> Path:
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _problems(path: Path, overrides=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parameters.load(path, overrides)
    assert caught.value.exit_status == 2
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def _line(text: str, path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(i for i, line in enumerate(lines, start=1) if text in line)


# The file itself


def test_the_file_says_what_an_independent_reader_expands():
    """`like` and `grid` in a few lines of their own, against the values that were checked."""
    plain = yaml.safe_load(TEXT)

    def merged(base, over):
        both = isinstance(base, dict) and isinstance(over, dict)
        return {**base, **{k: merged(base.get(k), v) for k, v in over.items()}} if both else over

    def block(section, name):
        entry = dict(plain[section][name])
        like = entry.pop("like", None)
        if like in plain[section]:
            return merged(block(section, like), entry)
        return merged(members[like], entry) if like else entry

    members = {}
    for name, entry in plain["models"].items():
        for key, values in entry.get("grid", {}).items():
            for value in values:
                text = f"{value:g}".replace(".", "p")
                pattern = entry.get("pattern", f"{{name}}_{key}{{{key}}}")
                member = pattern.replace("{name}", name).replace(f"{{{key}}}", text)
                members[member] = {"family": entry["family"], key: value}
    expected = dict(plain)
    for section in ("datasets", "networks", "training", "sampling", "extractors", "evaluation"):
        expected[section] = {name: block(section, name) for name in plain[section]}
    expected["experiments"] = {n: block("experiments", n) for n in plain["experiments"]}
    named = {n: block("models", n) for n, e in plain["models"].items() if "grid" not in e}
    expected["models"] = members | named
    for entry in expected["experiments"].values():  # those of absent models are left out
        entry["controls"] = {
            model: controls
            for model, controls in entry.get("controls", {}).items()
            if model in entry.get("models", ())
        }
        entry["controls"] = entry["controls"] or None

    def contains(big, small):
        if isinstance(small, dict):
            return all(contains(big[key], value) for key, value in small.items())
        return big == small

    params = parameters.load(FILE).model_dump(mode="json")
    assert set(params["models"]) == set(expected["models"])
    assert contains(params, expected)


def test_the_papers_settings():
    params = parameters.load(FILE)
    one, two = params.experiments["univariate_paper"], params.experiments["bivariate_paper"]
    nus = {
        name: sorted(
            {params.models[m].nu for m in entry.models if params.models[m].family == family}
        )
        for name, entry, family in (
            ("t3vae 1", one, "t3vae"),
            ("vae_st 1", one, "vae_st"),
            ("de_vae 1", one, "de_vae"),
            ("t3vae 2", two, "t3vae"),
            ("vae_st 2", two, "vae_st"),
            ("de_vae 2", two, "de_vae"),
        )
    }
    assert nus == {
        "t3vae 1": [5, 9, 12, 15, 18, 21],
        "vae_st 1": [9, 12, 15, 18, 21],
        "de_vae 1": [9, 12, 15, 18, 21],
        "t3vae 2": [5, 30, 40, 50, 60, 70],
        "vae_st 2": [3, 5, 7, 9],
        "de_vae 2": [3, 5, 7, 9],
    }
    betas = [
        sorted(params.models[m].beta for m in entry.models if params.models[m].family == "vae")
        for entry in (one, two)
    ]
    assert betas == [[0.1, 0.2, 0.5, 1.0, 2.0], [0.1, 0.2, 0.5, 1.0]]
    assert (one.sigma, two.sigma, len(one.seeds), len(two.seeds)) == (0.1, 1.0, 5, 5)
    for name, rate, patience in (("univariate", 1e-3, 15), ("bivariate", 1e-2, 10)):
        block = params.training[name]
        assert (block.learning_rate, block.patience, block.epochs) == (rate, patience, 100)
        assert (block.epsilon, block.weight_decay, block.batch_size) == (1e-8, 1e-4, 1024)
        data = params.datasets[name]
        assert (data.train, data.validation, data.test) == (200_000, 200_000, 500_000)
        assert list(data.seeds.model_dump().values()) == [1, 2, 3]


def test_every_suite_loads_and_every_model_is_used():
    params = parameters.load(FILE)
    assert set(params.suites) == {"demo", "paper", "smoke", "folder"}
    for suite in params.suites:
        assert parameters.load(FILE, {"suite": suite}).suite == suite
    used = {model for entry in params.experiments.values() for model in entry.models or ()}
    assert used == set(params.models)


def test_the_file_is_a_few_screens_long():
    assert len(TEXT.splitlines()) <= 350


def test_reading_it_imports_nothing_heavy():
    code = (
        "import sys; from t3vae.settings import parameters\nfrom t3vae.workflow import jobs\n"
        f"parameters.load({str(FILE)!r}); jobs.config\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'matplotlib', 'snakemake'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# One message per problem

SIGMA = "sigma: 0.1                  # scale of the decoder"  # a line of the experiment univariate
MISTAKES = {
    "unknown key": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: 9.0, bta: 1.0}",
        ["models.t3hvae_nu10.bta = 1.0: unknown key. Did you mean beta?"],
    ),
    "unknown key at the top": (
        "device: auto",
        "device: auto\ndevcie: cpu",
        ["devcie = cpu: unknown key. Did you mean device?"],
    ),
    "missing key": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae}",
        ["models.t3hvae_nu10.nu: is missing .* Add it, for example nu: 2.5."],
    ),
    "wrong type": (
        "batch_size: 1024\n",
        "batch_size: many\n",
        ["training.univariate.batch_size = many: must be a whole number."],
    ),
    "a part of a row": (
        "batch_size: 1024\n",
        "batch_size: 10.5\n",
        ["training.univariate.batch_size = 10.5: must be a whole number."],
    ),
    "text that is a number": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: '9.0'}",
        ["models.t3hvae_nu10.nu = 9.0: must be a number"],
    ),
    "true as a number": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: true}",
        ["models.t3hvae_nu10.nu = true: must be a number"],
    ),
    "a list as a number": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: [9.0]}",
        [r"models.t3hvae_nu10.nu = \[9.0\]: must be a number"],
    ),
    "nothing": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: }",
        ["models.t3hvae_nu10.nu = null: is empty; must be a number"],
    ),
    "small nu": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: 1.5}",
        [
            "models.t3hvae_nu10.nu = 1.5: must be greater than 2, because .* Try 2.5 or more.",
        ],
    ),
    "nu of 2": (
        "{family: vae_st, grid: {nu: [3,",
        "{family: vae_st, grid: {nu: [2, 3,",
        [r"models.vae_st.grid.nu\[0\] = 2: must be greater than 2, because the prior needs a fin"],
    ),
    "large nu": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hvae, nu: 1.0e+7}",
        ["models.t3hvae_nu10.nu = 10000000.0: must be at most 1000000"],
    ),
    "negative sigma": (
        "sigma: 0.1 ",
        "sigma: -0.1 ",
        ["experiments.univariate.sigma = -0.1: must be greater than 0, because it is the scale"],
    ),
    "unknown family": (
        "{family: t3hvae, nu: 10.0}",
        "{family: t3hva, nu: 9.0}",
        ["models.t3hvae_nu10.family = t3hva: must be one of vae, .* Did you mean t3hvae?"],
    ),
    "missing family": (
        "{family: t3hvae, nu: 10.0}",
        "{nu: 9.0}",
        ["models.t3hvae_nu10.family: is missing. Add family: one of vae, "],
    ),
    "model that is no block": (
        "{family: t3hvae, nu: 10.0}",
        "9.0 ",
        ["models.t3hvae_nu10 = 9.0: must be a block of keys. Write it as {family: vae, ...}."],
    ),
    "beta": (
        "{family: vae, prior_scale: 1.5}",
        "{family: vae, beta: match}",
        ["models.vae_scale1p5.beta = match: must be a number above 0, or `matched`"],
    ),
    "matched without nu": (
        "{family: vae, prior_scale: 1.5}",
        "{family: vae, prior_scale: matched}",
        ["models.vae_scale1p5.nu: is missing: prior_scale = matched is that of the t3VAE"],
    ),
    "nu without matched": (
        "{family: vae, prior_scale: 1.5}",
        "{family: vae, nu: 5.0}",
        ["models.vae_scale1p5.nu = 5.0: has no effect: neither beta nor prior_scale is `matched`"],
    ),
    "name": (
        "  mlp64: ",
        "  MLP-64: ",
        [
            "networks.MLP-64: must be a name: lower-case letters",
            "experiments.univariate.network = mlp64: not in `networks`",
            "experiments.bivariate.network = mlp64: not in `networks`",
        ],
    ),
    "number as a name": (
        "  smoke: [constants, univariate_smoke, bivariate_smoke, digits_smoke]",
        "  smoke: [constants, univariate_smoke, bivariate_smoke, digits_smoke]\n  7: [constants]",
        ["suites = 7: a key must be text to every YAML reader", "suites.7: must be a name"],
    ),
    "unknown model": (
        "t3vae_nu9, t3vae_nu21]",
        "t3vae_nu9, t3vae_n21]",
        [r"experiments.univariate.models\[6\] = t3vae_n21: not a known model. Did you mean t3vae_"],
    ),
    "unknown dataset": (
        "dataset: bivariate\n",
        "dataset: bivaraite\n",
        ["experiments.bivariate.dataset = bivaraite: not in `datasets`. Did you mean bivariate?"],
    ),
    "unknown training": (
        "training: bivariate\n",
        "training: other\n",
        ["experiments.bivariate.training = other: not in `training`. Known: univariate, bivari"],
    ),
    "unknown metric": (
        SIGMA,
        f"{SIGMA}\n    metrics: [mmd_linear, mdm, ks]",
        [r"experiments.univariate.metrics\[1\] = mdm: not a known metric. Did you mean mmd"],
    ),
    "unknown figure": (
        SIGMA,
        f"{SIGMA}\n    figures: [density, densitylog]",
        [r"experiments.univariate.figures\[1\] = densitylog: not a known figure. Did you mean de"],
    ),
    "figure of another dimension": (
        SIGMA,
        f"{SIGMA}\n    figures: [heatmaps, survival]",
        [r"experiments.univariate.figures\[0\] = heatmaps: cannot show data of source `t_mixture"],
    ),
    "theory figure of a trained experiment": (
        SIGMA,
        f"{SIGMA}\n    figures: [tau_alpha, survival]",
        [r"experiments.univariate.figures\[0\] = tau_alpha: cannot show data of source"],
    ),
    "unknown distribution": (
        SIGMA,
        f"{SIGMA}\n    latents: [prior, aggregate]",
        [r"experiments.univariate.latents\[1\] = aggregate: must be one of prior, alternative"],
    ),
    "unknown suite": (
        "suite: demo ",
        "suite: damo ",
        ["suite = damo: not a suite. Did you mean demo?"],
    ),
    "unknown experiment": (
        "demo: [constants, univariate, bivariate, digits_lt]",
        "demo: [constants, univariat, bivariate]",
        [r"suites.demo\[1\] = univariat: not an experiment. Did you mean univariate?"],
    ),
    "experiment twice": (
        "demo: [constants, univariate, bivariate, digits_lt]",
        "demo: [constants, univariate, univariate]",
        [r"suites.demo\[2\] = univariate: a duplicate of entry \[1\]. Remove it."],
    ),
    "duplicate seeds": (
        "seeds: [0, 1, 2]\n",
        "seeds: [0, 1, 1.0]\n",
        [r"experiments.univariate.seeds\[2\] = 1.0: a duplicate of entry \[1\]. Remove it."],
    ),
    "negative seed": (
        "seeds: [0, 1, 2]\n",
        "seeds: [0, 1, -2]\n",
        [r"experiments.univariate.seeds\[2\] = -2: must be at least 0"],
    ),
    "no seed": (
        "seeds: [0, 1, 2]\n",
        "seeds: []\n",
        [r"experiments.univariate.seeds = \[\]: must not be empty."],
    ),
    "seeds that are no list": (
        "seeds: [0, 1, 2]\n",
        "seeds: 3\n",
        ["experiments.univariate.seeds = 3: must be a list, such as"],
    ),
    "equal seeds of splits": (
        "seeds: {train: 1, validation: 2, test: 3}",
        "seeds: {train: 1, validation: 2, test: 1}",
        ["datasets.univariate.seeds.test = 1: the seed of train too"],
    ),
    "weights": (
        "weight: 0.6,",
        "weight: 0.5,",
        ["datasets.univariate.components: the weights sum to 0.9, not to 1."],
    ),
    "no network": (
        "network: mlp64\n",
        "network:\n",
        ["experiments.univariate.network = null: is missing; `models` needs it."],
    ),
    "no model on rows": (
        "  constants: {dataset: constants}",
        "  constants: {dataset: univariate, figures: [tau_alpha]}",
        [
            "experiments.constants.models: is missing; a data set with rows needs models",
            r"experiments.constants.figures\[0\] = tau_alpha: cannot show data of source",
        ],
    ),
    "control": (
        SIGMA,
        f"{SIGMA}\n    control: t3vae_nu5x",
        ["experiments.univariate.control = t3vae_nu5x: not a known model. Did you mean t3vae_nu5?"],
    ),
    "more than there is": (
        "reconstructions: 200\n",
        "reconstructions: 8001\n",
        [
            f"sampling.smoke.reconstructions = 8001: more than the 8000 test rows of `{name}_smoke`"
            for name in ("bivariate", "univariate")
        ],
    ),
    "no dot": (
        "learning_rate: 1.0e-3",
        "learning_rate: 1e-3",
        ["training.univariate.learning_rate = 1e-3: text to one .* Write 1.0e-3."],
    ),
    "on": (
        "device: auto",
        "device: on",
        ["device = on: true or false to one YAML reader and text to another. Write true, false"],
    ),
    "octal": (
        "epochs: 100\n",
        "epochs: 0100\n",
        ["training.univariate.epochs = 0100: a number to base 8 .* Write 100, without"],
    ),
    "sexagesimal": (
        "epochs: 100\n",
        "epochs: 1:40\n",
        ["training.univariate.epochs = 1:40: a number to base 60 to one YAML reader"],
    ),
    "infinity": (
        "period: 8.0",
        "period: .inf",
        ["datasets.bivariate.period = .inf: must be a finite number."],
    ),
    "duplicate key": (
        "suite: demo ",
        "suite: paper\nsuite: demo ",
        ["suite: written twice; the first is on line 8. Delete one of the two."],
    ),
    "colour": (
        "inception: {}",
        "inception: {}\nfigures: {colours: {vae: red}}",
        ["figures.colours.vae = red: must be a colour written '#rrggbb'. Try '#0072B2'."],
    ),
    "colour of no model": (
        "inception: {}",
        "inception: {}\nfigures: {colours: {t3vae_nu71: '#0072b2'}}",
        ["figures.colours.t3vae_nu71: not a model. Did you mean t3vae_nu70?"],
    ),
    "small text": (
        "inception: {}",
        "inception: {}\nfigures: {style: {font_size: 5}}",
        ["figures.style.font_size = 5: must be at least 7, because smaller text is hard to read"],
    ),
    "grid": (
        "variance_min: 0.001,",
        "variance_min: 5.0,",
        ["datasets.constants.regularizer.variance_min = 5.0: must be less than variance_max = 3.0"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_its_messages_and_no_other(tmp_path, mistake):
    old, new, expected = MISTAKES[mistake]
    problems = _problems(_write(tmp_path, (old, new)))
    assert len(problems) == len(expected), problems
    for pattern in expected:
        place = rf".*params\.yaml:\d+: {pattern}"
        assert any(re.match(place, problem) for problem in problems), (pattern, problems)
    assert all(problem.endswith((".", "?")) for problem in problems)


def test_a_message_in_full(tmp_path, monkeypatch):
    path = _write(tmp_path, MISTAKES["small nu"][:2])
    monkeypatch.chdir(tmp_path)
    expected = (
        f"params.yaml:{_line('  t3hvae_nu10: ', path)}: models.t3hvae_nu10.nu = 1.5: must be "
        "greater than 2, because the objective needs a finite prior variance. Try 2.5 or more."
    )
    assert _problems(path) == [expected]


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path):
    parts = [
        "small nu",
        "negative sigma",
        "no dot",
        "unknown suite",
        "colour",
        "no seed",
        "weights",
    ]
    path = _write(tmp_path, *[MISTAKES[part][:2] for part in parts])
    problems = _problems(path)
    assert len(problems) == len(parts)
    lines = [int(problem.split("params.yaml:")[1].split(":")[0]) for problem in problems]
    assert lines == sorted(lines)


def test_nothing_is_written_and_the_file_is_named_as_given(tmp_path, monkeypatch):
    path = _write(tmp_path, MISTAKES["small nu"][:2])
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert _problems(path)[0].startswith("params.yaml:")
    assert sorted(tmp_path.rglob("*")) == before


# Overrides


def test_overrides_replace_values_also_as_text():
    given = {"suite": "smoke", "models": {"t3vae_nu9": {"nu": "8"}}, "device": "cpu"}
    params = parameters.load(FILE, given)
    assert (params.suite, params.device, params.models["t3vae_nu9"].nu) == ("smoke", "cpu", 8.0)
    assert params.models["t3vae_nu5"].nu == 5.0
    seeds = parameters.load(FILE, {"experiments": {"univariate": {"seeds": ["7", "8"]}}})
    assert seeds.experiments["univariate"].seeds == [7, 8]
    assert given["models"] == {"t3vae_nu9": {"nu": "8"}}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"suite": "papre"}, ["suite = papre: not a suite. Did you mean paper?"]),
        ({"suit": "paper"}, ["suit = paper: unknown key. Did you mean suite?"]),
        ({"suite": 3}, ["suite = 3: must be text."]),
        ({"suite": None}, ["suite = null: is empty; must be text."]),
        (
            {"models": {"t3vae_nu9": {"nu": "1.5", "nuu": 1}}},
            ["models.t3vae_nu9.nu = 1.5: must be", "models.t3vae_nu9.nuu = 1: unknown key."],
        ),
        ({"models": {"t3vae_nu9": {"nu": float("nan")}}}, ["models.t3vae_nu9.nu = NaN: must be a"]),
        ({"models": {"t3vae_nu9": {"nu": 10**400}}}, ["models.t3vae_nu9.nu = 1000"]),
        (
            {"experiments": {"univariate": {"seeds": "3"}}},
            ["experiments.univariate.seeds = 3: must"],
        ),
        ({"experiments": []}, [r"experiments = \[\]: must be a block of keys."]),
        ({"suite": "paper", "under_dvc": 1}, ["suite = paper: not allowed under DVC, because "]),
        ({"under_dvc": "maybe"}, ["under_dvc = maybe: must be 1 or 0."]),
    ],
)
def test_a_wrong_override_is_named_as_one(overrides, expected):
    problems = [text for text in _problems(FILE, overrides) if text.startswith("--config: ")]
    assert len(problems) == len(expected), problems
    for pattern, problem in zip(expected, problems, strict=True):
        assert re.match(f"--config: {pattern}", problem)


@pytest.mark.parametrize("value", [1, "1", True, "true"])
def test_under_dvc_alone_is_accepted(value):
    assert parameters.load(FILE, {"under_dvc": value}).suite == "demo"


@pytest.mark.parametrize("value", [0, "0", False, None])
def test_not_under_dvc_leaves_overrides_free(value):
    assert parameters.load(FILE, {"under_dvc": value, "suite": "paper"}).suite == "paper"


def test_an_override_that_holds_itself_is_refused():
    loop: dict = {}
    loop["models"] = {"x": loop}
    assert "--config" in _problems(FILE, loop)[0]


# Families of one's own

FAMILY = """
from pydantic import BaseModel, Field

class Laplace:
    class Config(BaseModel):
        model_config = {{"extra": "forbid"}}
        rate: float = Field(gt=0)
        depth: int = 2

class Bare: ...

class Taken:
    class Config(BaseModel):
        sigma: float = 1.0

raise_at_import = {broken}
"""


def _own(folder: Path, entry: str, broken: str = "0") -> Path:
    (folder / f"own_{folder.name}.py").write_text(FAMILY.format(broken=broken), encoding="utf-8")
    family = f"own_{folder.name}:{entry}"
    return _write(
        folder, ("  vae: {family: vae}", f"  own: {{family: '{family}}}\n  vae: {{family: vae}}")
    )


def test_a_family_of_ones_own_is_checked_by_its_config_and_gets_its_defaults(tmp_path):
    before = list(sys.path)
    params = parameters.load(_own(tmp_path, "Laplace', rate: 2"))
    family = f"own_{tmp_path.name}:Laplace"
    assert params.models["own"].model_dump() == {"family": family, "rate": 2.0, "depth": 2}
    assert sys.path == before


@pytest.mark.parametrize(
    ("entry", "broken", "expected"),
    [
        ("Laplace', rate: -2", "0", "models.own.rate = -2: must be greater than 0"),
        ("Laplace'", "0", "models.own.rate: is missing"),
        (
            "Laplace', rate: 2, dpth: 3",
            "0",
            "models.own.dpth = 3: unknown key. Did you mean depth?",
        ),
        ("Other'", "0", "models.own.family = .*: cannot be used .AttributeError"),
        ("Bare'", "0", "models.own.family = .*: cannot be used .TypeError: Bare has no nested"),
        ("Taken'", "0", "models.own.family = .*: Taken.Config declares sigma, which every model"),
        ("Laplace', rate: 2", "1 / 0", "models.own.family = .*: cannot be used .ZeroDivisionErr"),
    ],
)
def test_a_wrong_family_of_ones_own(tmp_path, entry, broken, expected):
    (problem,) = _problems(_own(tmp_path, entry, broken))
    assert re.search(expected, problem), problem


# Generated files: whatever is in them, the end is a ConfigError or valid parameters

DOCUMENT = read(FILE, "params.yaml")


def _leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))
    else:
        yield path


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LEAVES = list(_leaves(DOCUMENT.values))


def _set(value, path, new):
    for part in path[:-1]:
        value = value[part]
    value[path[-1]] = new


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_wrong_value_anywhere_is_refused_at_its_place(data, tmp_path_factory):
    path = data.draw(st.sampled_from(LEAVES))
    wrong = data.draw(
        st.sampled_from([{"oops": 1}, [[]], [{"a": [1]}], True, "no such thing", -7.5, [True], {}])
    )
    values = copy.deepcopy(DOCUMENT.values)
    _set(values, path, wrong)
    file = tmp_path_factory.getbasetemp() / "wrong.yaml"
    file.write_text(yaml.dump(values, Dumper=DUMPER), encoding="utf-8")
    free = path[-1] in ("mean", "amplitude") and wrong == -7.5
    free |= path[-1] == "folder" and wrong == "no such thing"
    free |= path[-1] in ("flip", "download") and wrong is True
    free |= json.dumps(values) == json.dumps(DOCUMENT.values)  # what stood there
    if free:
        parameters.load(file)
        return
    problems = _problems(file)
    places = [problem.split(" = ")[0].split(": ")[1] for problem in problems]
    places = [place.removesuffix(":") for place in places]
    near = {dotted(path), dotted(path[:-1])}
    assert any(place.startswith(tuple(near)) for place in places), (path, wrong, problems)


JUNK = st.sampled_from(
    [
        "\t",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "&a ",
        "*a",
        "!!int ",
        "? ",
        "#",
        "|",
        ">",
        "\n",
        "---\n",
        "1e5",
        "on",
        "é",
        "\x07",
        "%",
        "@",
        ",",
        "010",
        "~",
        "<<: ",
        "\ufeff",
        "9" * 400,
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(TEXT)), st.integers(0, 40), JUNK | st.text(max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_never_ends_in_anything_but_a_config_error(edits, tmp_path_factory):
    text = TEXT
    for at, cut, junk in edits:
        text = text[:at] + junk + text[at + cut :]
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    problems = None
    try:
        parameters.load(file)
    except ConfigError as error:
        problems = error.problems
    assert problems is None or problems
    assert all("damaged.yaml" in text and "\n" not in text for text in problems or ())


@settings(max_examples=100, deadline=None)
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8"))
)
def test_any_other_file_is_refused(content, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "other.yaml"
    file.write_bytes(content)
    assert _problems(file)


# The pages that come from the declarations


def test_the_reference_page_is_up_to_date():
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    remedy = "run: python -m t3vae.settings.reference_page > docs/parameters.md"
    assert page == reference_page.page(), remedy


def test_the_reference_page_and_the_listing_hold_every_key_of_the_file():
    listed = [row.key for row in reference_page.rows()]
    keys = {re.sub(r" \([^)]*\)", "", key).replace("[]", "") for key in listed}
    sections = {"suites", "datasets", "networks", "models", "training", "sampling", "evaluation"}
    sections.add("extractors")
    for path in LEAVES:
        names = [part for part in path if isinstance(part, str)]
        if names[0] in sections | {"experiments"}:
            names[1] = "<name>"
        if names[2:3] == ["controls"]:
            names = names[:3]
        if names[-1] in ("like", "pattern") or "grid" in names:
            continue  # keys of every block; the introduction explains them
        key = ".".join(names)
        assert key.removesuffix(".<name>") in keys, key
    assert all(key in parameters.describe() for key in listed)


def test_the_json_schema_is_plain_json_with_the_limits():
    schema = json.loads(json.dumps(parameters.json_schema()))
    nu = schema["$defs"]["T3Vae"]["properties"]["nu"]
    assert (nu["exclusiveMinimum"], nu["type"]) == (2.0, "number")
    assert schema["additionalProperties"] is False
    assert set(yaml.safe_load(TEXT)) <= set(schema["properties"]) == set(Parameters.model_fields)


def test_latent_distributions_are_those_that_a_model_has():
    (distributions,) = get_args(get_args(Experiment.model_fields["latents"].annotation)[0])
    assert get_args(distributions) == LATENTS


def test_every_family_takes_exactly_its_parameters():
    from t3vae import models
    from t3vae.settings.families import FAMILIES

    params = parameters.load(FILE)
    for model in params.models.values():
        models.build(model.model_dump(mode="json"), [1], 1, sigma=0.1, classes=2)
    assert {model.family for model in params.models.values()} == set(FAMILIES)
