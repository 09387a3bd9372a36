"""What the page of an executed notebook leaves out."""

import nbformat

from sportskills_lib.runs import notebooks


def notebook(injected: str) -> nbformat.NotebookNode:
    told = nbformat.v4.new_code_cell(
        'run: str = "demo"  # its name\nrates: list = [5e-4]', metadata={"tags": ["parameters"]}
    )
    given = nbformat.v4.new_code_cell(injected, metadata={"tags": ["injected-parameters"]})
    return nbformat.v4.new_notebook(cells=[told, given])


def test_parameters_are_shown_twice_only_where_they_were_changed() -> None:
    same = notebooks._without_repeats(notebook('# Parameters\nrun = "demo"\nrates = [0.0005]'))
    assert len(same.cells) == 1
    changed = notebooks._without_repeats(notebook('# Parameters\nrun = "mine"\nrates = [0.0005]'))
    assert (
        changed.cells[1].source == "# set for this run, in place of the values above\nrun = 'mine'"
    )


def test_a_notebook_without_parameters_stays() -> None:
    assert notebooks._without_repeats(nbformat.v4.new_notebook()).cells == []
