"""The one check of settings, for run, train, predict, show, reproduce and validate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.plan import Plan
from x2vlm.cli.compose import collect, plan, pretrain_plan, sweep
from x2vlm.cli.keys import Place
from x2vlm.errors import ConfigError
from x2vlm.ranges import Problem
from x2vlm.settings import Settings, SettingsError


def checked(arguments: Sequence[str]) -> tuple[dict[str, Any], Settings]:
    """The composed tree of a command, and its plan: a Plan, a PretrainPlan or an AblationPlan.

    SettingsError names everything that is wrong and can be known without the data: arguments that
    are not used, values of the wrong kind or out of range, settings that contradict one another,
    splits, languages and options that the benchmark does not have.
    """
    tree, problems = collect(arguments)
    made: Settings | None = None
    try:
        Place.from_dict({name: tree[name] for name in ("launcher", "cluster")})
        made = _plan_of(tree)(tree)
        if isinstance(made, Plan):
            made.check_names()
            _check_options(made)
    except SettingsError as error:
        problems += error.problems
    if problems or made is None:
        raise SettingsError(problems)
    return tree, made


def checked_run(arguments: Sequence[str], command: str) -> Plan:
    """The plan of a command that takes benchmarks alone."""
    made = checked(arguments)[1]
    if not isinstance(made, Plan):
        raise ConfigError(
            f"x2vlm {command} takes a benchmark, and this is a {type(made).__name__}\n"
            "  to do: benchmark=NAME, or the experiment of a benchmark (x2vlm list)"
        )
    return made


def validate(arguments: list[str]) -> int:
    """x2vlm validate: check the settings of a run without running it; with -m, of a sweep."""
    several = sweep([one for one in arguments if one != "-m"]) if "-m" in arguments else [arguments]
    problems: list[Problem] = []
    for combination in several:
        try:
            checked(combination)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    print("valid" if len(several) == 1 else f"valid: {len(several)} runs")
    return 0


def _plan_of(tree: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Settings]:
    if tree["ablation"]:
        from x2vlm.cli.ablation import ablation_plan

        return ablation_plan
    return pretrain_plan if tree["pretrain"] else plan


def _check_options(chosen: Plan) -> None:
    """SettingsError for options that the task or the metric does not have."""
    from benchmarks.score import check_scoring
    from x2vlm.tasks import check_options

    benchmark = chosen.value()
    try:
        check_scoring(benchmark, chosen.scoring)
        check_options(benchmark.task, chosen.options)
    except SettingsError:
        raise
    except ConfigError as error:
        raise SettingsError([Problem("", str(error))]) from None
