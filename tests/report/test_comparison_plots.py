"""Pictures of comparisons: what they show, and that nothing is cut, covered or confused."""

import math
import statistics
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_comparison import made_comparison, made_result
from matplotlib.colors import to_hex
from matplotlib.text import Text

from recbole_ssr.comparison import Comparison, Line, Published
from recbole_ssr.errors import UserError
from recbole_ssr.report.comparison.bars import draw_beyond, draw_groups, draw_metrics
from recbole_ssr.report.comparison.labels import place_labels
from recbole_ssr.report.comparison.lines import draw_curve, draw_learning, draw_seconds, learned
from recbole_ssr.report.comparison.plots import pictures, write_plots
from recbole_ssr.report.comparison.styles import FEW, figure_of, plain, styles


def drawn_axes(figure):
    """Axes that show something, those of parts of the figure included."""
    return [axis for axis in figure.findobj(lambda a: hasattr(a, "get_xlim")) if axis.axison]


def texts_of(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def overlap(a, b):
    """Whether two boxes share more than a pixel."""
    return (min(a.x1, b.x1) - max(a.x0, b.x0) > 1) and (min(a.y1, b.y1) - max(a.y0, b.y0) > 1)


def assert_legible(figure):
    """No text is cut or tiny, no tick covers the next one, legends and titles cover no axes."""
    figure.canvas.draw()
    whole = figure.bbox
    hidden = {id(t) for axis in figure.findobj(lambda a: hasattr(a, "get_xlim"))
              for side in (axis.xaxis, axis.yaxis)
              for tick in (*side.get_major_ticks(), *side.get_minor_ticks())
              for t in (tick.label1, tick.label2)}
    for axis in drawn_axes(figure):
        for side in (axis.xaxis, axis.yaxis):
            shown = [label for label in side.get_ticklabels()
                     if label.get_visible() and label.get_text()]
            low, high = sorted(side.get_view_interval())
            places = dict(zip(side.get_ticklocs(), side.get_ticklabels()))
            shown = [label for place, label in places.items() if low <= place <= high
                     and label in shown]
            hidden -= {id(label) for label in shown}
            boxes = [label.get_window_extent() for label in shown]
            assert not any(overlap(a, b) for a, b in combinations(boxes, 2)), \
                [label.get_text() for label in shown]
    for text in texts_of(figure):
        if id(text) in hidden:
            continue
        box = text.get_window_extent()
        assert text.get_fontsize() >= 8, text
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1, text
    frames = [axis.get_window_extent() for axis in drawn_axes(figure)]
    assert not any(overlap(a, b) for a, b in combinations(frames, 2))
    beside = [legend.get_window_extent() for legend in figure.legends]
    beside += [t.get_window_extent() for t in (figure._suptitle, figure._supxlabel) if t]
    around = [axis.get_tightbbox() for axis in drawn_axes(figure)]
    assert not any(overlap(box, other) for box in beside for other in around)
    assert not any(overlap(a, b) for a, b in combinations(beside, 2))


@pytest.mark.parametrize("options", [
    {"n_lines": 3, "n_seeds": 1}, {"n_lines": 5, "n_seeds": 3, "long_labels": True},
    pytest.param({"n_lines": 8, "n_seeds": 2, "epochs": 1}, marks=pytest.mark.slow),
    pytest.param({"n_lines": 22, "n_seeds": 5, "epochs": 40}, marks=pytest.mark.slow)], ids=str)
def test_every_picture_is_legible(options):
    found = pictures(made_comparison(**options))
    assert [picture.name for picture in found] == [
        "metrics", "learning", "seconds", "groups", "beyond",
        "curve-1-image-noise-training-and-inference", "curve-2-text-missing-inference",
        "curve-3-interactions-used-in-training-training"]
    for picture in found:
        assert_legible(picture.figure)


def bars_of(axis):
    return [[p.get_height() for p in container.patches]
            for container in axis.containers if hasattr(container, "patches")]


def test_bars_are_the_means_and_whiskers_the_deviations():
    comparison = made_comparison(3, 3, published=False)
    axis, = drawn_axes(draw_metrics(comparison))
    lines = comparison.ranked("recall@20")
    assert bars_of(axis) == [[comparison.spread(line.label, m).mean for m in comparison.metrics]
                             for line in lines]
    for container, line in zip([c for c in axis.containers if hasattr(c, "patches")], lines):
        _, _, (whiskers,) = container.errorbar.lines
        lengths = [(segment[1, 1] - segment[0, 1]) / 2 for segment in whiskers.get_segments()]
        by_hand = [statistics.stdev(r.test[m] for r in line.results) for m in comparison.metrics]
        assert np.allclose(lengths, by_hand)


def test_one_seed_has_no_whiskers_and_says_so():
    figure = draw_metrics(made_comparison(3, 1))
    axis, = drawn_axes(figure)
    assert all(c.errorbar is None for c in axis.containers if hasattr(c, "patches"))
    assert "one seed" in figure.get_suptitle() and "whiskers" not in figure.get_suptitle()


@pytest.mark.parametrize("n_lines", [3, 8])
def test_published_bars_are_hatched_after_all_that_was_measured(n_lines):
    comparison = made_comparison(n_lines, 1, failures=False)
    for axis in drawn_axes(draw_metrics(comparison)):
        hatched = [p for p in axis.patches if p.get_hatch()]
        plain_bars = [p for p in axis.patches if not p.get_hatch()]
        assert all(p.get_facecolor()[3] == 0 for p in hatched)
        assert all(p.get_facecolor()[3] == 1 for p in plain_bars)
        if n_lines > FEW and hatched:  # rows: published ones lie below
            assert min(p.get_y() for p in hatched) > max(p.get_y() for p in plain_bars) + 1
    said = " ".join(t.get_text() for t in texts_of(draw_metrics(comparison)))
    assert "as published, not measured here" in said


def test_published_figures_of_other_metrics_are_left_out():
    other = (Published("X", {"precision@5": 0.3}, "somewhere", ""),)
    figure = draw_metrics(replace(made_comparison(3, 1), published=other))
    assert not [p for axis in drawn_axes(figure) for p in axis.patches if p.get_hatch()]


def test_many_lines_are_rows_with_the_best_on_top():
    comparison = made_comparison(9, 2)
    figure = draw_metrics(comparison)
    assert_legible(figure)
    axes = drawn_axes(figure)
    assert len(axes) == len(comparison.metrics)
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    order = [line.label for line in comparison.ranked("recall@20")]
    assert names[:-2] == order
    # By the number of its source, of which one may report a model that another reports, too.
    assert [name.partition(" [")[0] for name in names[-2:]] == ["SSR", "MMSSL_x"]
    below = figure.get_supxlabel().replace("\N{NO-BREAK SPACE}", " ")
    for name, given in zip(names[-2:], comparison.published):
        assert f"[{name[-2]}] {given.source}" in below
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]  # the first row is the uppermost
    widths = [p.get_width() for p in axes[1].patches if not p.get_hatch()]
    assert widths == [comparison.spread(line.label, "recall@20").mean
                      for line in comparison.ranked("recall@20")]


def test_metrics_of_another_scale_get_axes_of_their_own():
    comparison = made_comparison(2, 1, failures=False, published=False)
    lines = tuple(replace(line, results=tuple(
        replace(r, test=r.test | {"recall@10": 300.0}) for r in line.results))
        for line in comparison.lines)
    assert len(drawn_axes(draw_metrics(replace(comparison, lines=lines)))) == 4


def test_every_line_has_its_colour_in_all_pictures_and_its_own_look():
    comparison = made_comparison(22, 1, failures=False)
    looks = styles(comparison)
    assert len({(s.color, s.marker, s.dash) for s in looks.values()}) == 22
    assert len({(s.color, s.dash) for s in looks.values()}) == 22
    few = made_comparison(4, 1, failures=False)
    expected = [style.color for style in styles(few).values()]
    axis, = drawn_axes(draw_curve(few, few.curves[0]))
    order = [line.label for line in few.ranked("recall@20")]
    of_curves = {label: c.lines[0].get_color() for label, c in zip(order, axis.containers)}
    bars = [c for c in drawn_axes(draw_metrics(few))[0].containers if hasattr(c, "patches")]
    of_bars = {label: to_hex(c.patches[0].get_facecolor()) for label, c in zip(order, bars)}
    assert [of_curves[line.label] for line in few.lines] == expected
    assert [of_bars[line.label] for line in few.lines] == expected


def result_with(values, best, seed):
    """A run whose validation metric went as `values`, evaluated after every epoch."""
    history = [{"epoch": k, "seconds": 1.0, "loss": {}, "eval_seconds": 0.1,
                "valid": {"recall@20": value}} for k, value in enumerate(values)]
    return made_result("SSR", seed, epochs=len(values), history=history, best_epoch=best)


def test_learning_is_the_mean_while_all_seeds_train_then_each_on_its_own():
    line = Line("SSR", "SSR", {}, (result_with([0.1, 0.3, 0.2], 1, 1),
                                   result_with([0.2, 0.3, 0.4, 0.5, 0.4], 3, 2)))
    found = learned(line)
    assert found.epochs == [0, 1, 2]
    assert np.allclose(found.mean, [0.15, 0.3, 0.3])
    assert np.allclose(found.std, [0.1 / math.sqrt(2), 0, 0.2 / math.sqrt(2)])
    assert found.tails == [([2, 3, 4], [0.4, 0.5, 0.4])]
    assert found.chosen == [(1, 0.3), (3, 0.5)]


def test_learning_marks_selected_epochs():
    results = (result_with([0.1, 0.3, 0.2], 1, 1), result_with([0.2, 0.3, 0.4], 2, 2))
    comparison = Comparison("tiktok", {"valid_metric": "Recall@20"},
                            (Line("SSR", "SSR", {}, results),))
    axis, = drawn_axes(draw_learning(comparison))
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    assert [tuple(map(float, xy)) for xy in marks[0].get_xydata()] == [(1, 0.3), (2, 0.4)]
    band, = axis.collections
    assert np.isclose(band.get_paths()[0].vertices[:, 1].max(), 0.3 + 0.2 / math.sqrt(2))


def test_a_model_without_epochs_is_a_line_across():
    fitted = made_result("FeatureEASE", epochs=0, history=[], valid={"recall@20": 0.25})
    comparison = Comparison("tiktok", {"valid_metric": "Recall@20"}, (
        Line("FeatureEASE", "FeatureEASE", {}, (fitted,)),
        Line("SSR", "SSR", {}, (result_with([0.1, 0.3], 1, 1),))))
    axis, = drawn_axes(draw_learning(comparison))
    assert [0.25, 0.25] in [list(line.get_ydata()) for line in axis.lines]


def test_epochs_of_another_order_are_shown_by_powers():
    lines = tuple(Line(name, name, {}, (result_with(np.linspace(0.1, 0.3, n), n - 1, 1),))
                  for name, n in (("A", 5), ("B", 400)))
    axis, = drawn_axes(draw_learning(Comparison("d", {"valid_metric": "Recall@20"}, lines)))
    assert axis.get_xscale() == "symlog" and axis.get_xlim()[1] > 399


def test_a_closed_form_beside_a_long_training_leaves_epochs_evenly_spaced():
    lines = tuple(Line(name, name, {}, (result_with(np.linspace(0.1, 0.3, n), n - 1, 1),))
                  for name, n in (("FeatureEASE", 1), ("B", 400)))
    axis, = drawn_axes(draw_learning(Comparison("d", {"valid_metric": "Recall@20"}, lines)))
    assert axis.get_xscale() == "linear"


def test_seconds_are_those_of_a_whole_training_on_a_scale_by_powers():
    comparison = made_comparison(5, 3)
    axis, = drawn_axes(draw_seconds(comparison))
    assert axis.get_xscale() == "log"
    points = {(c.lines[0].get_xdata()[0], c.lines[0].get_ydata()[0]) for c in axis.containers}
    assert points == {(comparison.spread(line.label, "seconds", "cost").mean,
                       comparison.spread(line.label, "recall@20").mean)
                      for line in comparison.lines if line.results}


@pytest.mark.parametrize("seconds", [
    (0.9, 1.3, 1.9, 2.1), (1.2, 1.4), (0.011, 0.013), (900, 1300, 2100), (0.5, 7), (0.04, 2000)])
def test_ticks_of_seconds_are_distinct_and_true(seconds):
    lines = tuple(Line(f"M{k}", "SSR", {}, (made_result("SSR", k, seconds=s),))
                  for k, s in enumerate(seconds))
    axis, = drawn_axes(draw_seconds(Comparison("d", {"valid_metric": "Recall@20"}, lines)))
    low, high = axis.get_xlim()
    shown = {place: text.get_text().replace(",", "") for place, text in
             zip(axis.get_xticks(), axis.get_xticklabels()) if low <= place <= high}
    assert len(shown) > 1 and all(float(text) == pytest.approx(place, rel=1e-9)
                                  for place, text in shown.items())


def test_labels_of_a_crowd_neither_overlap_nor_leave_the_axes():
    rng = np.random.default_rng(7)
    figure = figure_of(5.6, "crowd", made_comparison(2, 1))
    axis = figure.subplots()
    points = [(float(x), float(y)) for x, y in 1 + 0.08 * rng.normal(size=(25, 2))]
    axis.plot(*zip(*points), "o")
    axis.set(xlim=(0, 2), ylim=(0, 2))
    notes = place_labels(axis, points, [f"FeatureLight{k}" for k in range(25)], [0.02] * 25)
    boxes = [note.get_window_extent() for note in notes]
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
    centres = axis.transData.transform(points)
    assert not any(b.contains(*centre) for b in boxes for centre in centres)
    frame = axis.get_window_extent()
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1
               for b in boxes)


@pytest.mark.parametrize("n_lines", [4, 8])
def test_curves_go_through_the_means(n_lines):
    comparison = made_comparison(n_lines, 3)
    curve = comparison.curves[2]
    figure = draw_curve(comparison, curve)
    assert_legible(figure)
    axes = drawn_axes(figure)
    assert len(axes) == (1 if n_lines <= FEW else n_lines)
    drawn = [tuple(c.lines[0].get_ydata()) for axis in axes for c in axis.containers]
    assert sorted(drawn) == sorted(tuple(s.mean for s in v) for v in curve.values.values())
    assert [t.get_text() for t in axes[-1].get_xticklabels()] == ["0.2", "0.4", "0.6", "0.8", "1"]


def test_groups_have_a_panel_per_kind_with_the_values_of_each_line():
    comparison = made_comparison(3, 3, failures=False)
    axes = {" ".join(axis.get_title().split()): axis
            for axis in drawn_axes(draw_groups(comparison))}
    assert list(axes) == ["users by training interactions", "items that training lacks",
                          "items by popularity"]
    tail = next(g for g in comparison.groups if g.name == "tail items")
    assert [bars[1] for bars in bars_of(axes["items by popularity"])] == [
        tail.values["recall@20"][line.label].mean for line in comparison.ranked("recall@20")]


def test_measures_beyond_accuracy_have_a_panel_each():
    comparison = made_comparison(3, 1, failures=False)
    axes = drawn_axes(draw_beyond(comparison))
    measures = [spreads for g in comparison.groups if g.kind == "beyond"
                for spreads in g.values.values()]
    assert len(axes) == len(measures) == 5
    for axis, spreads in zip(axes, measures):
        points = [line.get_xdata()[0] for line in axis.lines if line.get_marker() in "os^"]
        assert points == [spread.mean for spread in spreads.values()]


def test_labels_print_as_they_are():
    hostile = ("$x^2$ & <b>", "_hidden", "two\nlines", "50% $", r"a_\frac{1}{2}")
    lines = tuple(Line(label, "SSR", {}, (made_result("SSR", k),))
                  for k, label in enumerate(hostile))
    comparison = Comparison("d_$1$", {"valid_metric": "Recall@20"}, lines)
    for picture in pictures(comparison):
        assert_legible(picture.figure)
        said = [t.get_text() for t in texts_of(picture.figure)]
        for label in hostile:
            assert plain(label) in said, picture.name


def test_long_labels_keep_both_ends():
    assert plain("SSR with a very long description, lr=0.001") == "SSR with a ver…ion, lr=0.001"
    assert len(plain("x" * 100)) == 28


def test_files_are_written_and_an_unwritable_folder_is_an_error_of_the_user(tmp_path):
    comparison = made_comparison(2, 1, groups=False, curves=False)
    paths = write_plots(pictures(comparison), tmp_path)
    assert [path.name for path in paths] == ["metrics.png", "learning.png", "seconds.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    with pytest.raises(UserError, match="cannot write .*metrics.png"):
        write_plots(pictures(comparison), tmp_path / "metrics.png")


def test_nothing_is_drawn_where_no_run_finished(tmp_path):
    comparison = made_comparison(2, 1)
    empty = replace(comparison, lines=comparison.lines[-1:])
    assert write_plots(pictures(empty), tmp_path) == [] and not list(tmp_path.iterdir())
