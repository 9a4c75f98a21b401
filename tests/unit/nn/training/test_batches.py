import numpy as np
import pytest

from posterity.cache import features
from posterity.nn.networks.augment import mix_rows
from posterity.nn.processes import Part
from posterity.nn.training.batches import Batches, images_of, share_of_known, standardised_vectors_of, vectors_of
from small_cache import TARGETS


def serve(cache, rows, **options):
    return Batches(images_of(cache), TARGETS, rows, **options)


def served_rows(batches, cache):
    """Which rows an epoch serves, told by their pixels."""
    all_images = cache.images(np.arange(len(cache))).reshape(len(cache), -1)
    return [
        int(np.flatnonzero((all_images == image.reshape(-1)).all(axis=1))[0])
        for k in range(len(batches))
        for image in batches[k][0]
    ]


def test_without_a_seed_rows_come_in_their_order(cache):
    rows = np.array([70, 3, 41, 5, 6])
    batches = serve(cache, rows, batch_size=2)
    assert len(batches) == 3
    assert served_rows(batches, cache) == rows.tolist()
    images, targets = batches[1]
    assert images.dtype == np.uint8
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, TARGETS[[41, 5]])


def test_every_epoch_is_another_permutation_and_repeats_from_the_seed(cache):
    rows = np.arange(10, 60)
    epochs = []
    for _ in range(2):
        batches = serve(cache, rows, batch_size=16, shuffle_seed=7)
        for _ in range(2):
            epochs.append(served_rows(batches, cache))
            batches.on_epoch_end()
    first, second, first_again, second_again = epochs
    assert first == first_again
    assert second == second_again
    assert sorted(first) == sorted(second) == rows.tolist()
    assert len({tuple(first), tuple(second), tuple(rows)}) == 3


def test_mixup_serves_the_images_as_they_are_and_mixes_the_targets(cache):
    plain = serve(cache, np.arange(40), batch_size=16, shuffle_seed=7)
    mixed = serve(cache, np.arange(40), batch_size=16, shuffle_seed=7, mixup=1.0)
    for k in range(3):
        (images, targets), (inputs, mixed_targets) = plain[k], mixed[k]
        np.testing.assert_array_equal(inputs["input"], images)
        assert sorted(inputs["partner"]) == list(range(len(images)))
        assert (inputs["share"] < 1).any()
        np.testing.assert_array_equal(mixed_targets, mix_rows(targets, inputs["partner"], inputs["share"]))
        assert (mixed_targets != targets).any()
        np.testing.assert_array_equal(mixed[k][0]["share"], inputs["share"])
    assert (mixed[0][0]["share"] != mixed[1][0]["share"]).any()
    first = mixed[0][0]["share"]
    mixed.on_epoch_end()
    assert (mixed[0][0]["share"] != first).any()


def test_mixup_of_0_mixes_nothing(cache):
    inputs, targets = serve(cache, np.array([70, 3, 41]), batch_size=3, mixup=0.0)[0]
    assert inputs["partner"].tolist() == [0, 1, 2]
    assert inputs["share"].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(targets, TARGETS[[70, 3, 41]])


def with_unknown():
    targets = TARGETS.copy()
    targets[np.random.default_rng(1).random(targets.shape) < 0.3] = 2
    return targets


def test_unknown_targets_are_nan(cache):
    targets, rows = with_unknown(), np.array([70, 3, 41, 5, 6])
    served = Batches(images_of(cache), targets, rows, 5)[0][1]
    np.testing.assert_array_equal(np.isnan(served), targets[rows] == 2)
    np.testing.assert_array_equal(served[targets[rows] < 2], TARGETS[rows][targets[rows] < 2])
    assert served.dtype == np.float32


def test_only_the_served_rows_count_as_unknown(cache):
    targets = TARGETS.copy()
    targets[50, 0] = 2
    assert Batches(images_of(cache), targets, np.arange(40, 60), 8).has_unknown
    assert not Batches(images_of(cache), targets, np.arange(0, 50), 8).has_unknown


def test_the_share_of_known_pairs_is_the_one_that_random_partners_have():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (4000, 3)).astype(np.uint8)
    targets[generator.random(targets.shape) < [0.1, 0.5, 0.0]] = 2
    assert share_of_known(targets, mixed=False) == pytest.approx((targets < 2).mean())
    partner = generator.permutation(4000)
    pairs = ((targets < 2) & (targets[partner] < 2)).mean()
    assert share_of_known(targets, mixed=True) == pytest.approx(pairs, abs=0.02)
    assert share_of_known(targets % 2, mixed=True) == 1


@pytest.mark.parametrize("mixup", [None, 0.0, 0.4])
def test_weights_bring_the_mean_over_all_cells_to_that_over_the_known_ones(cache, mixup):
    targets = with_unknown()
    batches = Batches(images_of(cache), targets, np.arange(80), 8, shuffle_seed=7, mixup=mixup)
    shares = []
    for _ in range(20):
        for k in range(len(batches)):
            _, served, weights = batches[k]
            assert weights.dtype == np.float32
            assert len(set(weights.tolist())) == 1
            shares.append(np.where(np.isnan(served), 0, weights[:, None]).mean())
        batches.on_epoch_end()
    assert np.mean(shares) == pytest.approx(1, rel=0.1 if mixup else 1e-6)  # a row may be its own partner
    assert len(serve(cache, np.arange(80), batch_size=8)[0]) == 2


@pytest.mark.parametrize("mixup", [0.0, 1e-6, 1.0])  # nothing is mixed, shares of 1, and any shares
def test_a_mixed_target_is_known_if_both_are(cache, mixup):
    targets, rows = with_unknown(), np.arange(40)
    batches = Batches(images_of(cache), targets, rows, 40, shuffle_seed=7, mixup=mixup)
    inputs, served, _ = batches[0]
    own = targets[batches._order]
    known = (own < 2) & (own[inputs["partner"]] < 2)
    np.testing.assert_array_equal(~np.isnan(served), known)
    # The known cells are those of fully known rows: whatever hides behind the others has no part in them.
    expected = Batches(images_of(cache), TARGETS, rows, 40, shuffle_seed=7, mixup=mixup)[0][1]
    np.testing.assert_array_equal(served[known], expected[known])


def test_a_label_whose_partner_is_unknown_does_not_show(cache):
    targets, rows = with_unknown(), np.arange(40)
    batches = Batches(images_of(cache), targets, rows, 40, shuffle_seed=7, mixup=1.0)
    inputs, served, _ = batches[0]
    order, partner = batches._order, inputs["partner"]
    back = np.argsort(partner)  # of which row each is the partner
    alone = (targets[order] < 2) & (targets[order][partner] == 2) & (targets[order][back] == 2)
    assert alone.any()
    flipped = targets.copy()
    flipped[order] = np.where(alone, 1 - targets[order], targets[order])
    again = Batches(images_of(cache), flipped, rows, 40, shuffle_seed=7, mixup=1.0)[0][1]
    np.testing.assert_array_equal(again, served)


@pytest.fixture
def vectors(tmp_path):
    """300 rows of length 1: row k sees k, and -k in the mirror."""
    with features.FeatureWriter(tmp_path, 300, 1) as writer:
        writer.append(np.arange(300)[:, None, None] * np.array([[1], [-1]]))
    features.write_meta(tmp_path, ["any"], num_rows=300, length=1)
    return features.FeatureCache(tmp_path)


def test_vectors_are_mirrored_at_random_only_if_asked(vectors):
    rows, targets = np.arange(1, 300), np.zeros((300, 1), np.uint8)
    np.testing.assert_array_equal(Batches(vectors_of(vectors), targets, rows, 299)[0][0][:, 0], rows)
    batches = Batches(vectors_of(vectors, flip=True), targets, rows, 299)
    served = batches[0][0][:, 0]
    np.testing.assert_array_equal(abs(served), rows)
    assert 0.35 < (served < 0).mean() < 0.65  # five standard deviations are 0.145
    np.testing.assert_array_equal(batches[0][0][:, 0], served)
    batches.on_epoch_end()
    assert (batches[0][0][:, 0] != served).any()


def test_parts_put_together_are_the_batch_of_one_process(cache, vectors):
    sources = images_of(cache), images_of(cache), vectors_of(vectors, flip=True)
    for source, targets in zip(sources, (TARGETS, with_unknown(), np.zeros((300, 2))), strict=True):
        options = {"shuffle_seed": 7, "mixup": 1.0}
        whole = Batches(source, targets, np.arange(42), 16, **options)
        parts = [Batches(source, targets, np.arange(42), 16, part=Part(k, 2, 2), **options) for k in range(2)]
        for _ in range(2):
            for k, size in enumerate([16, 16, 10]):
                inputs, served, *weights = whole[k]
                both = [part[k] for part in parts]
                assert len(both[0][1]) == size / 2
                for name in inputs:
                    np.testing.assert_array_equal(np.concatenate([part[0][name] for part in both]), inputs[name])
                np.testing.assert_array_equal(np.concatenate([part[1] for part in both]), served)
                assert [len(part) for part in both] == [2 + len(weights)] * 2
            for batches in (whole, *parts):
                batches.on_epoch_end()


def test_vectors_are_standardised_then_mixed_as_their_targets_are(vectors):
    rows, targets = np.arange(300), np.eye(300, dtype=np.uint8)
    scale = np.array([150.0], np.float32), np.array([100.0], np.float32)
    options = {"shuffle_seed": 7, "mixup": 1.0}
    mixed = Batches(standardised_vectors_of(vectors, *scale), targets, rows, 64, **options)
    for k in range(len(mixed)):
        served, shares = mixed[k]
        # The targets tell which rows were mixed, and by which shares.
        np.testing.assert_allclose(served[:, 0], shares @ ((rows - 150) / 100), atol=1e-5)
        assert ((shares > 0).sum(axis=1) == 2).any()
    plain = Batches(standardised_vectors_of(vectors, *scale), targets, rows, 64, mixup=0.0)
    np.testing.assert_allclose(plain[0][0][:, 0], (rows[:64] - 150) / 100, rtol=1e-6)


def test_vectors_are_dropped_after_they_are_mixed(vectors):
    rows, targets = np.arange(300), np.eye(300, dtype=np.uint8)
    scale, options = (np.zeros(1, np.float32), np.ones(1, np.float32)), {"shuffle_seed": 7, "mixup": 1.0}
    whole = Batches(standardised_vectors_of(vectors, *scale, flip=True), targets, rows, 300, **options)
    dropped = Batches(standardised_vectors_of(vectors, *scale, flip=True, dropout=0.5), targets, rows, 300, **options)
    served, expected = dropped[0][0], whole[0][0]
    np.testing.assert_array_equal(dropped[0][1], whole[0][1])
    kept = served != 0
    assert 0.35 < kept.mean() < 0.65  # five standard deviations are 0.145
    np.testing.assert_allclose(served[kept], 2 * expected[kept], rtol=1e-6)
    np.testing.assert_array_equal(dropped[0][0], served)
    dropped.on_epoch_end()
    assert ((dropped[0][0] != 0) != kept).any()


def test_parts_of_mixed_vectors_are_those_of_the_whole_batch(vectors):
    source = standardised_vectors_of(vectors, np.ones(1, np.float32), np.ones(1, np.float32), flip=True, dropout=0.5)
    targets, options = np.eye(300, dtype=np.uint8), {"shuffle_seed": 7, "mixup": 1.0}
    whole = Batches(source, targets, np.arange(42), 16, **options)
    parts = [Batches(source, targets, np.arange(42), 16, part=Part(k, 2, 2), **options) for k in range(2)]
    for k in range(3):
        for item in range(2):
            np.testing.assert_array_equal(np.concatenate([part[k][item] for part in parts]), whole[k][item])


def test_an_epoch_of_parts_leaves_out_what_does_not_divide(cache):
    whole = serve(cache, np.arange(19), batch_size=8, shuffle_seed=7)
    parts = [serve(cache, np.arange(19), batch_size=8, shuffle_seed=7, part=Part(k, 2, 4)) for k in range(2)]
    assert len(parts[0]) == 2  # the third batch would have had 3 rows for 4 devices
    served = [served_rows(part, cache) for part in parts]
    expected = served_rows(whole, cache)
    assert served[0] == expected[0:4] + expected[8:12]
    assert served[1] == expected[4:8] + expected[12:16]


def test_parts_for_validation_have_all_rows_and_copies_without_weight(cache):
    rows = np.array([70, 3, 41, 5, 6, 7])
    first, second = [Batches(images_of(cache), TARGETS, rows, 4, part=Part(k, 2, 4)) for k in range(2)]
    assert len(first) == 2
    assert first[0][2].tolist() == second[0][2].tolist() == [1, 1]
    assert first[1][2].tolist() == [1, 1]
    assert second[1][2].tolist() == [0, 0]
    np.testing.assert_array_equal(first[1][1], TARGETS[[6, 7]])
    np.testing.assert_array_equal(second[1][0], cache.images(np.array([70, 70])))


def test_copies_have_no_weight_beside_unknown_targets_either(cache):
    targets, rows = TARGETS.copy(), np.array([70, 3, 41, 5, 6, 7])
    targets[rows, 0] = 2
    batches = Batches(images_of(cache), targets, rows, 4, part=Part(1, 2, 4))
    assert batches[0][2].tolist() == [1.5, 1.5]  # two of three cells are known
    assert batches[1][2].tolist() == [0, 0]
