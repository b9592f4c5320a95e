"""Tables of what is chosen by name."""

import pytest

from napari_wsol.errors import UnknownNameError
from napari_wsol.registry import Registry


def test_names_are_unique_in_order_and_told_when_one_is_wrong():
    table = Registry("fruit", {"pear": 1})
    table.add("apple", 2)

    @table.adds("fig")
    def fig():
        return 3

    assert list(table) == ["pear", "apple", "fig"]
    assert table["fig"]() == 3
    with pytest.raises(ValueError, match="'apple' exists already"):
        table.add("apple", 4)
    assert table["apple"] == 2
    with pytest.raises(UnknownNameError, match=r"fruit “plum”.*pear, apple, fig"):
        table["plum"]
    assert table.get("plum") is None
