"""A method of others in the window."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui


@pytest.mark.usefixtures("example")
def test_a_method_of_others_is_listed_and_localizes_and_what_failed_is_told(make_bench):
    bench = make_bench()
    methods = bench.widget.localize_panel.method_list
    bench.until(lambda: "example-cam" in methods.boxes)
    bench.until(lambda: "example-broken" in bench.widget.message.text())
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = 200
    bench.open(image, rgb=True)
    bench.click(methods.more_fold)
    for name in methods.ticked:
        bench.click(methods.boxes[name])
    bench.click(methods.boxes["example-cam"])
    bench.localize_keys("example-cam")
    found = bench.session.heatmaps["example-cam"].values
    assert found[8, 8] > found[0, 0]
