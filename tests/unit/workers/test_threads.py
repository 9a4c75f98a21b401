from posterity.workers.threads import ordered_map


def test_ordered_map_takes_only_a_few_items_ahead():
    taken = []

    def items():
        for k in range(100):
            taken.append(k)
            yield k

    results = ordered_map(lambda k: k * k, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 9
    assert list(results) == [k * k for k in range(1, 100)]
