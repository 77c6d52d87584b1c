"""The chapter "autoregressive-trees": compilers, verifier, language models, experiments, against simulators and counts."""

import re
import sys
from itertools import product

import numpy as np
import pytest

from book.language.autoregressive_trees import (
    exercises,
    experiments,
    nets,
    probes,
    reading,
    reasoning,
    stories,
    texts,
    traces,
)
from lib import data
from lib.papers import autoregressive_trees as art
from lib.papers.autoregressive_trees import machines, tree


def every(machine, n):
    return [list(w) for w in product(machine.symbols, repeat=n)]


@pytest.mark.parametrize("make", experiments.AUTOMATA.values(), ids=experiments.AUTOMATA)
def test_an_automaton_and_its_tree_write_the_same(make):
    machine = make()
    for n in (1, 3, 6):
        running = art.compile_dfa(machine, n)
        said = art.bounds(running)
        assert running.tree.leaves == said["leaves"] and running.tree.depth <= said["depth"]
        words = every(machine, n)
        for word, row in zip(words, running.write(words), strict=True):
            states, accepted = machine.run(word)
            assert row == [*(("state", q) for q in states), "accept" if accepted else "reject"]
    assert art.verify(running).equal and str(art.verify(running)) == "the same on every word"


def test_the_champions_and_their_trees():
    for k, (steps, ones) in {2: (6, 4), 3: (21, 5), 4: (107, 13)}.items():
        machine = art.Turing.busy(machines.BEAVERS[k])
        tape, head, _, taken = machine.run(["0"] * 24, 12)
        assert (taken, tape.count("1")) == (steps, ones)
        running = art.compile_tm(machine, 24)
        assert running.tree.leaves == art.bounds(running)["leaves"] == {2: 16, 3: 22, 4: 28}[k]
        written = running.write([["0"] * 24], heads=[12])[0]
        assert len(written) == steps * 25 + head + 1 and art.configuration(running, written)[-1][:2] == (tape, head)


def test_increment_and_palindromes():
    running = art.compile_tm(machines.increment(), 8)
    for v in range(1, 64):
        written = running.write([list(f"_{v:06b}_")], heads=[1])[0]
        assert int("".join(art.configuration(running, written)[-1][0]).strip("_"), 2) == v + 1
    running = art.compile_tm(machines.palindrome(), 8)
    for word in product("ab", repeat=5):
        written = running.write([["_", *word, "_", "_"]], heads=[1])[0]
        assert art.configuration(running, written)[-1][2] == ("yes" if word == word[::-1] else "no")


def test_circuits_write_every_gate():
    add = art.compile_circuit(machines.adder(4))
    for x, y in product(range(16), repeat=2):
        bits = [x >> i & 1 for i in range(4)] + [y >> i & 1 for i in range(4)]
        row = [int(v) for v in add.write([bits])[0][:-1]]
        assert sum(row[2 * i] << i for i in range(4)) + (row[7] << 4) == x + y
    wide = art.compile_circuit(machines.xor_tree(64))
    assert wide.tree.leaves == 253 and wide.tree.depth <= art.bounds(wide)["depth"]


def test_bad_tables_name_the_state_and_the_symbol():
    with pytest.raises(art.TreeError, match="two moves on symbol 1"):
        art.Dfa.of([(0, 1, 0), (0, 1, 1)], 0, [0])
    with pytest.raises(art.TreeError, match="state 1 has no move on symbol 0"):
        art.Dfa.of([(0, 0, 1), (0, 1, 0), (1, 1, 0)], 0, [0])
    with pytest.raises(art.TreeError, match="'go' has no move on symbol '1'"):
        art.Turing.of([("go", "0", "go", "1", "R")], "go")
    with pytest.raises(art.TreeError, match="two moves"):
        art.Turing.of([("go", "0", "go", "0", "R"), ("go", "0", "go", "0", "L")], "go")
    with pytest.raises(art.TreeError, match="L, S or R"):
        art.Turing.of([("go", "0", "go", "0", "up")], "go")
    with pytest.raises(art.TreeError, match="gate 0 reads 2"):
        art.Circuit(2, [((0, 2), (0, 1, 1, 0))])
    with pytest.raises(art.TreeError, match="must hold 4 bits"):
        art.Circuit(2, [((0, 1), (0, 1))])


def test_bad_runs_name_their_remedy():
    beaver = art.Turing.busy(machines.BEAVERS[4])
    with pytest.raises(art.TreeError, match="leaves the tape of 6 cells in state"):
        beaver.run(["0"] * 6, 3)
    small = art.compile_tm(beaver, 6)
    with pytest.raises(art.TreeError, match="head left the tape of 6 cells in state"):
        art.configuration(small, small.write([["0"] * 6], limit=2000, heads=[3])[0])
    with pytest.raises(art.TreeError, match="made for 6 cells"):
        small.write([["0"] * 5])
    with pytest.raises(art.TreeError, match="words of 8 symbols"):
        art.compile_dfa(machines.parity(), 8).write([[1, 0]])
    with pytest.raises(art.TreeError, match="1 symbol or more"):
        art.compile_dfa(machines.parity(), 0)
    with pytest.raises(art.TreeError, match="no token"):
        art.compile_dfa(machines.parity(), 2).write([[1, 7]])
    with pytest.raises(art.TreeError, match="not halt within 50"):
        art.Turing.of([("a", "0", "a", "0", "S")], "a").run(["0"], 0, 50)
    with pytest.raises(art.TreeError, match="from 0 to"):
        small.tree.write([[99]], 3)
    with pytest.raises(art.TreeError, match="compares a tree"):
        art.verify(small)


def test_the_verifier_agrees_with_all_words():
    """Trees with one leaf changed: equal or not is decided as by trying every word."""
    machine, n = machines.divisible(3), 5
    running = art.compile_dfa(machine, n)
    gen, seen = np.random.default_rng(0), set()
    at = np.flatnonzero(running.tree.left < 0)
    for _ in range(60):
        token = running.tree.token.copy()
        token[gen.choice(at)] = gen.integers(len(running.tree.names))
        changed = art.Running(tree.Tree(**{**vars(running.tree), "token": token}), machine)
        words = every(machine, n)
        wrong = {tuple(w) for w, row in zip(words, changed.write(words, n + 1), strict=True)
                 if row != running.write([w], n + 1)[0]}
        verdict = art.verify(changed)
        assert verdict.equal == (not wrong) and (verdict.equal or verdict.word in wrong)
        if not verdict.equal:
            row = changed.write([list(verdict.word)], n + 1)[0]
            assert row[verdict.step - 1] == verdict.wrote and str(verdict).startswith("differs on")
        seen.add(verdict.equal)
    assert seen == {True, False}


def test_a_tree_is_learnt_from_runs_and_proven():
    found = traces.learn(machines.parity(), 10, 60, 0.3, 1, 100)
    assert found["cot"] == 1 and art.verify(found["tree"]).equal and found["leaves"] == 6
    x, y = traces.windows(art.compile_dfa(machines.parity(), 4), [[1, 0, 1, 1]])
    assert x.shape == (5, 8) and len(y) == 5
    with pytest.raises(art.TreeError, match="a window has 6"):
        from sklearn.tree import DecisionTreeClassifier
        traces.tree_of(DecisionTreeClassifier().fit(x, y), art.compile_dfa(machines.parity(), 3).tree)


def test_paths_are_what_the_writer_walks():
    running = art.compile_dfa(machines.divisible(7), 6)
    tokens = running.prompt([1, 0, 1, 1, 0, 1])
    for token in running.tree.write([tokens], 7)[0]:
        path = running.tree.path(tokens)
        assert running.tree.token[path[-1]] == token and len(path) <= running.tree.depth + 1
        tokens = [*tokens, int(token)]


def test_stories_pass_their_own_judges_and_have_exact_laws():
    texts = stories.sample(40, 3)
    assert all(stories.check(t) == (True, True, 1.0) for t in texts)
    for t in texts[:5]:
        law = stories.laws(t)
        assert np.allclose(law.sum(1), 1) and (law[np.arange(len(t)), t] > 0).all()
    at = {w: i for i, w in enumerate(stories.words())}
    text = texts[0].copy()
    toys = [i for i, t in enumerate(text) if stories.words()[t] in stories.TOYS]
    other = next(v for v in stories.TOYS if v != stories.words()[text[toys[-1]]])
    text[toys[-1]] = at[other]
    loose, strict, valid = stories.check(text)
    assert loose and not strict and valid == toys[-1] / len(text)
    assert stories.check(text[::-1])[0] is False and stories.check(texts[0][:-1])[:2] == (False, False)


MEMORIES = {"sums": art.Memory(np.eye(94), (0.5, 0.9)), "window": art.Memory(np.eye(94), window=3),
            "dense": art.Memory(np.random.default_rng(0).normal(size=(94, 4)), (0.8, ))}


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
def test_compiled_laws_are_those_of_scikit_learn(memory):
    told, stop = stories.sample(30, 1), stories.words().index(stories.END)
    forest = art.ARDT(memory, stop, "forest", n_estimators=3, shrink=0, floor=1e-3).fit(told)
    x = memory.read(told[0])[:-1].astype(np.float32)
    want = np.full((len(x), 94), 1e-3 / 94)
    want[:, forest.known] += (1 - 1e-3) * forest.estimator.predict_proba(x)
    assert np.allclose(forest.laws(told[0]), want)
    written = forest.generate(5, 150, 2, 0.03)
    again = forest.generate(5, 150, 2, 0.03)
    assert all(np.array_equal(a, b) for a, b in zip(written, again)) and all(t[-1] == stop or len(t) == 150 for t in written)
    for text in written[:2]:                                       # each word was likely enough where it stands
        law = forest.laws(text)
        chosen = law[np.arange(len(text)), text]
        assert (chosen >= np.minimum(0.03, law.max(1)) - 1e-12).all()
    assert forest.parameters > 100 and forest.score(told)[0] < 4


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("backend", ["xgboost", "lightgbm"])
def test_compiled_boosted_laws_are_those_of_the_library(backend, memory):
    pytest.importorskip(backend)
    told = stories.sample(20, 1)
    model = art.ARDT(memory, -1, backend, floor=0.0, n_estimators=4).fit(told)
    x, want = memory.read(told[0])[:-1].astype(np.float32), np.zeros((len(told[0]), 94))
    want[:, model.known] = model.estimator.predict_proba(x)
    assert np.allclose(model.laws(told[0]), want, atol=1e-5) and model.parameters > 500
    for text in model.generate(3, 40, 2, 0.03):
        law = model.laws(text)
        assert (law[np.arange(len(text)), text] >= np.minimum(0.03, law.max(1)) - 1e-12).all()
    two = art.ARDT(art.Memory(np.eye(3), (0.5, )), 1, backend, floor=0.0, n_estimators=3).fit([[0, 0, 1]] * 30)
    x = two.memory.read([0, 0, 1])[:-1].astype(np.float32)
    assert np.allclose(two.laws([0, 0, 1])[:, :2], two.estimator.predict_proba(x), atol=1e-5)
    assert not two.laws([0, 0, 1])[:, 2].any()


def test_a_regression_onto_embeddings_prefers_the_nearest_word():
    told, memory = stories.sample(20, 1), MEMORIES["dense"]
    model = art.ARDT(memory, -1, "xgboost-embedding", floor=0.0, n_estimators=5).fit(told)
    x = memory.read(told[0])[:-1].astype(np.float32)
    square = ((model.estimator.predict(x)[:, None] - memory.embedding) ** 2).sum(-1)
    law = np.exp(-4 * (square - square.min(1, keepdims=True)))
    assert np.allclose(model.laws(told[0]), law / law.sum(1, keepdims=True), atol=1e-4)
    assert len(model.generate(2, 30, 1)[0]) == 30


def test_parents_draw_a_law_towards_theirs():
    told = stories.sample(30, 1)
    model = art.ARDT(MEMORIES["sums"], -1).fit(told)
    share = np.bincount(np.concatenate(told), minlength=94) / sum(map(len, told))
    assert np.allclose(model.compile(1e9).laws(told[0]), share, atol=1e-5)
    assert model.compile(0.1).score(told)[0] < model.compile(50.0).score(told)[0]


def test_decayed_sums_follow_their_recursion():
    memory = art.Memory(np.eye(3), (0.5, ))
    assert np.allclose(memory.read([0, 1, 1]), [[0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0.25, 1.5, 0]])
    assert np.allclose(art.Memory(np.eye(2), window=2).read([0, 1])[-1], [1, 0, 0, 1])


@pytest.mark.parametrize("decays", [(0.5, ), (0.5, 0.97), (0.8, )])
def test_a_tree_explains_its_words_by_what_is_true_of_the_text(decays):
    names = stories.words()
    model = art.ARDT(art.Memory(np.eye(94), decays), names.index(stories.END)).fit(stories.sample(60, 1))
    checked = 0
    for text in stories.sample(12, 2):
        for i in range(1, len(text)):
            *told, last = model.explain(text[:i], names)
            assert last.startswith("so “")
            for said in told:
                word, _, rest = said[1:].partition("” ")
                ages = [k for k, t in enumerate(reversed(text[:i])) if names[t] == word]
                if found := re.fullmatch(r"(not )?within (\d+) words", rest):
                    came = bool(ages) and ages[0] < int(found[2])
                    assert came != bool(found[1]), (said, ages)
                    checked += 1
                else:
                    assert rest == "somewhere before" and ages or rest.startswith("not often of late")
    assert checked > 500
    with pytest.raises(art.TreeError, match="only a single tree"):
        art.ARDT(art.Memory(np.eye(94), window=2), 0).fit(stories.sample(3, 1)).explain(text[:3], names)


def test_what_is_not_fitted_and_symbols_that_the_tree_writes_itself_are_told():
    model = art.ARDT(art.Memory(np.eye(94), (0.5, )), 0)
    for ask in (lambda: model.score([[1, 2]]), lambda: model.generate(1, 5, 0), lambda: model.parameters,
                lambda: model.explain([1], stories.words())):
        with pytest.raises(art.TreeError, match="call fit first"):
            ask()
    hash_mark = art.Turing.of([("A", "0", "B", "#", "R"), ("A", "#", "B", "0", "R")], "A")
    with pytest.raises(art.TreeError, match="'#' is a token that the tree writes"):
        art.compile_tm(hash_mark, 4)
    with pytest.raises(art.TreeError, match="'pad' is a token"):
        art.compile_dfa(art.Dfa({("q", "pad"): "q"}, "q", frozenset({"q"})), 3)
    with pytest.raises(art.TreeError, match="compares a tree with an automaton"):
        art.verify(art.compile_tm(art.Turing.of([("A", "0", "B", "1", "R"), ("A", "1", "B", "0", "R")], "A"), 4))


def test_bad_memories_texts_and_back_ends_are_told(monkeypatch):
    with pytest.raises(art.TreeError, match="give one of them"):
        art.Memory(np.eye(2))
    with pytest.raises(art.TreeError, match="between 0 and 1"):
        art.Memory(np.eye(2), (1.5, ))
    memory = art.Memory(np.eye(2), (0.5, ))
    with pytest.raises(art.TreeError, match="no back-end 'oak'"):
        art.ARDT(memory, 0, "oak")
    with pytest.raises(art.TreeError, match="outside 0 to 1"):
        art.ARDT(memory, 0).fit([[0, 5]])
    with pytest.raises(art.TreeError, match="at least one"):
        art.ARDT(memory, 0).fit([])
    for backend in ("xgboost", "lightgbm"):
        with monkeypatch.context() as m, pytest.raises(art.TreeError, match=f"pip install {backend}"):
            m.setitem(sys.modules, backend, None)
            art.ARDT(memory, 0, backend)
    with pytest.raises(art.TreeError, match="call fit first"):
        art.ARDT(memory, 0).parameters  # noqa: B018


def test_reasoning_tasks_are_what_they_say():
    """Each automaton against an evaluation of its own question; half of the words are accepted, and none comes twice."""

    def honest(word):
        truth = None
        for symbol in word:
            truth = (symbol != "lies") if truth is None else truth == (symbol != "lies")
        return truth

    def returns(word):
        place, way = 0j, 1j
        for symbol in word:
            place += way * (symbol == "step")
            way *= {"step": 1, "left": 1j, "right": -1j, "around": -1}[symbol]
        return place == 0

    truths = {"boolean expressions": lambda w: eval(" ".join(v for v in w if v != reasoning.PAD)), "navigate": returns,
              "web of lies": honest}
    for task in reasoning.tasks():
        words, y = task.sample(60, 3)
        assert y.sum() == 30 and len({tuple(w) for w in words}) == 60 and all(len(w) == task.n for w in words)
        assert [truths[task.name](w) for w in words] == y.tolist()
        running = art.compile_dfa(task.machine, task.n)
        assert [row[-1] == "accept" for row in running.write(words)] == y.tolist() and running.tree.leaves < 1000
        assert task.ask(words[0]).endswith(("?", ".")) and probes.writing(task, words, words, y, 1) == (1.0, 1.0)
    assert "Bob says Ann lies." in reasoning.lies(3).ask(["truth", "lies", "truth"])


def test_readers_choose_their_layer_and_threshold_on_the_examples():
    gen = np.random.default_rng(0)
    y = np.arange(80) % 2 == 0
    layers = np.stack([gen.normal(size=(80, 3)), y[:, None] + 0.1 * gen.normal(size=(80, 3))], 1)
    for name in probes.READERS:
        assert probes.answered(name, 1, 20, layers, y, 60) > 0.9
    assert 2 <= probes.threshold(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) < 3
    assert probes.threshold(np.array([1.0, 2]), np.array([True, True])) < 1


def test_counts_fill_in_by_shorter_sequences():
    counts = texts.Counts([np.array([0, 1, 0, 1, 2])], 4, 2)
    base = np.array([2 + 3 / 4, 2 + 3 / 4, 1 + 3 / 4, 3 / 4]) / 8  # five words of three kinds, 1/4 each
    assert np.allclose(counts.law([3]), base) and np.allclose(counts.law([]), base)
    assert np.allclose(counts.law([1]), (np.array([1, 0, 1, 0]) + 2 * base) / 4)
    assert counts.parameters == 3 + 3 and counts.score([np.array([0, 1])])[1] == 1
    assert all(len(t) == 7 for t in counts.generate(3, 7, 1, 0.03))


def test_texts_are_split_without_overlap(monkeypatch):
    monkeypatch.setattr(data, "grimm", lambda: [f"w{chr(97 + i)} said: “don’t {chr(97 + i)}”!" for i in range(26)] * 20)
    t = texts.split("grimm", 600, 200, 12, 1)
    assert [sum(map(len, part)) for part in (t.train, t.held, t.unseen)] == [600, 200, 200]
    assert len(t.names) == 12 and t.names[-1] == texts.OTHER and {"said", "don't", "!"} < set(t.names)
    assert t.spelt([t.names.index("said"), t.names.index(":")]) == "said:"
    with pytest.raises(data.DataMissing, match="ask for fewer"):
        texts.split("grimm", 6000, 200, 12, 1)
    with pytest.raises(data.DataMissing, match="choose bbe, grimm"):
        texts.split("shakespeare", 10, 2, 3, 1)
    assert texts.fresh([np.arange(7)], [np.arange(6)]) == 0.5
    for name in reading.MODELS:
        first, second = reading.options(name, t, 8, 2, 1, "cpu")
        assert np.isfinite([first.score(t.held)[0], second.score(t.held)[0]]).all() and first.parameters > 5
        assert [len(w) for w in second.generate(2, 9, 1, 0.03)] == [9, 9]


def test_a_transformer_writes_by_the_same_rule():
    told = [np.array([0, 1, 2, 3])] * 8
    model = nets.Writer(nets.trained(nets.rows(told, 4, 6), 4, 8, 0.03, 150, 8, 1), 4, 6, 3)
    loss, right = model.score(told)
    assert loss < 0.2 and right == 1
    assert all(t.tolist() == [0, 1, 2, 3] for t in model.generate(3, 6, 1, 0.3))


def test_a_shallow_sum_of_trees_does_not_see_parity():
    found = experiments.parity_forests(6, 20, [1, 2])["correlation"]
    assert np.abs(found[:, 0]).max() < 1e-12 and (found[:, 1] > 0.1).all()
    once = experiments.parity_trees(6, (2, 16, 64), [1])
    assert np.allclose(once["accuracy"], once["exact"]) and (once["accuracy"] <= once["bound"] + 1e-12).all()
    assert (experiments.memory(3, 4, 50, [1, 2])["repeat"] <= 81).all()


def test_every_trial_has_seeds_first():
    assert not experiments.automata((1, 3), 5, [1, 2])["wrong"].any()
    assert not experiments.tapes([1, 2], 4, 3, 4)["wrong"].any()
    assert not experiments.circuits([1, 2], 4, 8)["wrong"].any()
    found = experiments.learnt(6, (10, 40), [1, 2])
    assert found["cot"].shape == found["equal"].shape == (2, 4, 2)
    kinds = (("tree", (0.8, ), 0, 0, ()), ("tree", (0.8, ), 0, 8, ()), ("forest", (), 3, 0, (("n_estimators", 2), )))
    found = experiments.written(kinds, 20, 6, [1])
    assert found["loss"].shape == (1, 3) and (found["parameters"] > 0).all() and (found["novelty"] <= 1).all()
    assert experiments.curves(kinds[:1], (10, 20), 4, [1, 2])["loss"].shape == (2, 1, 2)
    found = experiments.transformers((8, ), (10, ), 3, 4, (1e-3, 3e-3), 4, [1])
    assert found["loss"].shape == (1, 1, 1) and found["rate"].shape == (1, 1) and np.isfinite(found["loss"]).all()


def test_the_exercise_fails_the_stub_and_wrong_answers(cell):
    def stub():
        raise NotImplementedError
    right = cell("autoregressive-trees", "solution-double")["solved_unary_double"]
    rows = right()
    assert exercises.check_rows(right) == "right" and "not written" in exercises.check_rows(stub)
    ones = [(q, a, p, "1" if (q, a) == ("far", "_") else w, m) for q, a, p, w, m in rows]
    wrongs = (lambda: rows[:-1], lambda: ones, lambda: [("go", a, "done", a, "S") for a in "1_"], lambda: [*rows, ("go", )])
    assert all(exercises.check_rows(w).startswith("wrong") for w in wrongs)
