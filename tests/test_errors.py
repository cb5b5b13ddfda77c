import inspect
import re

import pytest

from minigpt import errors
from minigpt.errors import InputError, MinigptError, RunFault

CLASSES = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls)}


def drawn_tree():
    """Parse the tree in the module's docstring into {class: parent}."""
    parents, stack = {}, []
    for line in re.search(r"```\n(.*?)```", errors.__doc__, re.DOTALL)[1].splitlines():
        match = re.match(r"([│├└─ ]*)(\w+)", line)
        depth = len(match[1]) // 4
        stack[depth:] = [match[2]]
        parents[match[2]] = stack[depth - 1] if depth else None
    return parents


def test_the_drawn_tree_of_errors_is_the_actual_one():
    tree = {name: cls.__base__.__name__ for name, cls in CLASSES.items()}
    tree["MinigptError"] = None
    assert drawn_tree() == tree
    assert len(tree) > 15


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_every_error_has_a_problem_and_a_hint(cls):
    error = cls("It broke.", mend="Mend it.")
    assert (error.problem, error.mend, str(error)) == ("It broke.", "Mend it.", "It broke. Mend it.")
    with pytest.raises(TypeError):
        cls("It broke.")


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_every_error_is_either_the_users_or_ours(cls):
    if cls not in (MinigptError, InputError, RunFault):
        assert issubclass(cls, InputError) != issubclass(cls, RunFault)
    assert issubclass(cls, MinigptError)
    assert cls.__doc__.strip().endswith(".") or "Args:" in cls.__doc__
