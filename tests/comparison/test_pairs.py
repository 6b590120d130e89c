import numpy as np
import pytest

from darkroom.comparison.pairs import find_leaks, pair
from darkroom.core.errors import UserError
from tests.comparison.revisions import (
    COUNT,
    KEYS,
    labelled,
    outlying,
    ratings,
    revision,
    revisions,
    splits_of,
)


def refusal(base, head):
    with pytest.raises(UserError) as error:
        pair(base, head)
    return str(error.value)


def test_below_80_percent_of_either_sides_test_images_is_refused():
    whole, most, few = ratings(1), ratings(1, KEYS[:48]), ratings(1, KEYS[:47])
    kept = pair(*revisions(whole, most))
    assert (len(kept.head), kept.left_out_base, kept.left_out_head) == (48, 12, 0)
    kept = pair(*revisions(most, whole))
    assert (kept.left_out_base, kept.left_out_head) == (0, 12)
    said = "only 47 of one's 60 test images are in both revisions (78%)"
    assert said in refusal(*revisions(whole, few))
    assert "only 47 of two's 60" in refusal(*revisions(few, whole))


def test_a_test_image_that_the_other_side_was_trained_on_is_refused():
    base, head = ratings(1), ratings(1, KEYS[:-1])
    moved = splits_of(head, train=[KEYS[-1]])
    said = refusal(*revisions(base, head, splits=moved))
    assert "1 test images of one" in said
    assert f"in the train split of two, such as {KEYS[-1]}" in said
    assert "test images of two" in refusal(revision(head, splits=moved), revision(base, "two"))


def test_a_relative_of_a_test_image_in_the_other_sides_train_is_a_leak():
    tested = splits_of(ratings(1, groups=["scene", *KEYS[1:]]))
    trained = splits_of(ratings(1), train=["new"]).replace({"split_group": {"new": "scene"}})
    assert find_leaks(tested, trained) == [KEYS[0]]
    assert find_leaks(tested, splits_of(ratings(1), train=["new"])) == []


def test_a_group_that_an_official_split_tears_apart_is_no_leak_into_itself():
    torn = splits_of(ratings(1), train=["new"]).replace({"split_group": {"new": KEYS[0]}})
    assert find_leaks(torn, torn) == []


def test_other_classes_are_refused():
    said = refusal(*revisions(labelled(5), labelled(5, ("cat", "fox"))))
    assert "the classes differ: one alone knows dog, two alone fox" in said


@pytest.mark.parametrize(
    ("test", "missing", "said"),
    [
        (labelled(9), ["predicted_label"], "predicted_label"),
        (labelled(9), ["probability_cat", "probability_dog"], "probability_<class>"),
        (outlying(1), ["target_label"], "target_label"),
    ],
)
def test_the_tables_of_another_version_are_refused(test, missing, said):
    one = revision(test)
    assert f"lacks the columns {said}: it was written" in refusal(
        one, one._replace(test=test.drop(columns=missing))
    )


def test_metrics_of_another_run_than_the_predictions_are_refused():
    said = refusal(*revisions(labelled(9), labelled(9), positive_class="fox"))
    assert "the positive class 'fox' is none of cat, dog" in said


def test_another_normal_class_is_refused():
    base, head = revisions(outlying(1), outlying(1))
    train = head.params.train.model_copy(update={"normal_class": "scratch"})
    head = head._replace(params=head.params.model_copy(update={"train": train}))
    assert "the normal classes differ: 'fine' in one, 'scratch' in two" in refusal(base, head)


def test_images_that_either_side_groups_stay_together():
    base = ratings(1, groups=["a", "a", *KEYS[2:]])
    head = ratings(1, groups=[KEYS[0], "b", "b", *KEYS[3:]])
    groups = pair(*revisions(base, head)).groups
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == COUNT - 2


@pytest.mark.parametrize(
    ("test", "changes", "said"),
    [
        (
            ratings(1).drop(columns="bin_3"),
            {},
            "lacks the columns bin_3: it was written by another",
        ),
        (ratings(1, predicted_mean=np.nan), {}, "60 of 60 test predictions are no numbers"),
        (ratings(1), {"cutoff": None}, "metrics/evaluate.json has no cutoff"),
        (labelled(9), {}, "the tasks differ: one has rating, two has classification"),
        (ratings(1, [k[::-1] for k in KEYS]), {}, "only 1 of one's 60 test images"),
        (ratings(1, [f"f{k[1:]}" for k in KEYS]), {}, "only 0 of one's 60 test images are in"),
    ],
    ids=["no bin", "nan", "no cutoff", "task", "few", "no keys"],
)
def test_a_revision_that_cannot_be_compared(test, changes, said):
    assert said in refusal(*revisions(ratings(0.4), test, **changes))
