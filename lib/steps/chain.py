"""A derivation: a chain of checked steps, the right side of one being the left side of the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from lib.steps import anchor as anchors
from lib.steps.balls import check_box, prove_on_box
from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.limits import check_limit, check_series
from lib.steps.memory import once
from lib.steps.page import Sheet
from lib.steps.points import Points, show
from lib.steps.pointwise import Findings, Pointwise
from lib.steps.printer import RELATIONS, latex
from lib.steps.result import Result, Row, joined, weakest
from lib.steps.sides import Side, expression, has_matrices, rebuilt
from lib.steps.sign import Proof, prove_sign
from lib.steps.substitution import value_in_domain
from lib.steps.weaken import findings
from lib.steps.zero import prove_zero


class Derivation:
    """A chain that starts at one expression; made with `derive`.

    Parameters
    ----------
    title : str
        What is derived; may hold ``$...$``.
    start : sympy.Expr or sympy.Matrix
        The first expression.
    given : sequence of str
        The domain; see `lib.steps.grammar`.
    """

    def __init__(self, title: str, start: Side, given: Sequence[str]):
        self.title = title
        self.domain = Domain(given)
        self.proved: list[Row] = []
        self._typed: dict[Side, Side] = {}  # what was written in matrix symbols, by its entries
        self._lhs = self._rhs = self._side(start)
        self.start_latex, self.start_text = latex(self._shown(self._lhs)), str(self._shown(self._lhs))
        self._checked: list[Pointwise] = []
        self._findings: list[Findings] = []
        self._remainder = sp.S.Zero
        self._points = Points(self.domain)

    # ---- steps that no machine checks

    def cite(self, relation: str, expr: Side, reason: str) -> Derivation:
        """A step that rests on a cited result."""
        return self._unchecked(relation, expr, reason, "cited")

    def argue(self, relation: str, expr: Side, reason: str) -> Derivation:
        """A step that is argued in words."""
        return self._unchecked(relation, expr, reason, "by words")

    def _unchecked(self, relation: str, expr: Side, reason: str, kind: str) -> Derivation:
        if relation not in RELATIONS or relation == "~":
            raise StepError(f"The relation {relation!r} is not one of =, <=, <, >=, >, ->.")
        right = self._side(expr)
        return self._add(relation, right, reason, f"{kind}, not checked by machine", "", kind)

    # ---- checked steps

    def equals(self, expr: Side, reason: str, numeric: bool = False) -> Derivation:
        """The present expression equals `expr` on the whole domain.

        Parameters
        ----------
        expr : sympy.Expr or sympy.Matrix
            The next expression.
        reason : str
            Why; may hold ``$...$``.
        numeric : bool
            True: no prover is asked; agreement at the points is enough, and the step is marked "numeric".
        """
        right = self._side(expr)
        step, found = self._at_points("=", right)
        name = None if numeric else once(self.domain, "zero", prove_zero, self._rhs - right, self.domain)
        if name is None and not numeric:
            raise StepError(
                f"Not proved: {self._rhs} = {right} holds at {found.points} points, but no prover shows it; "
                "take a smaller step, or use numeric=True, argue or cite."
            )
        proof = Proof(name) if name else Proof("points only", "numeric")
        return self._accept(step, found, right, reason, proof)

    def at_most(self, expr: sp.Expr, reason: str, gap: sp.Expr | None = None) -> Derivation:
        """``present <= expr``; `gap` may state ``expr - present`` in a form whose sign is visible."""
        return self._compare("<=", expr, reason, gap)

    def below(self, expr: sp.Expr, reason: str, gap: sp.Expr | None = None) -> Derivation:
        """``present < expr``."""
        return self._compare("<", expr, reason, gap)

    def at_least(self, expr: sp.Expr, reason: str, gap: sp.Expr | None = None) -> Derivation:
        """``present >= expr``; `gap` may state ``present - expr``."""
        return self._compare(">=", expr, reason, gap)

    def above(self, expr: sp.Expr, reason: str, gap: sp.Expr | None = None) -> Derivation:
        """``present > expr``."""
        return self._compare(">", expr, reason, gap)

    def _compare(self, relation: str, expr: sp.Expr, reason: str, gap: sp.Expr | None) -> Derivation:
        right, difference = self._inequality(relation, expr)
        step, found = self._at_points(relation, right)
        if gap is not None:
            gap = expression(gap)
            self.domain.check_symbols(gap)
            if gap == difference:
                raise StepError("The stated gap is the difference of the sides itself, so it shows nothing.")
        proof = once(self.domain, "sign", prove_sign, difference, self.domain, len(relation) == 1, gap)
        if proof is None and gap is not None:
            raise StepError(f"Not proved: {gap} is not the difference of the sides, or its sign is not visible.")
        if proof is None:
            proof = self._random(step)
        return self._accept(step, found, right, reason, proof)

    def _random(self, step: Pointwise) -> Proof:
        """The weakest evidence for an inequality: it holds at two hundred more points."""
        more = [] if step.rough else self._points.more
        for point in more:
            if step.holds(point) is not True:
                raise StepError(f"Not true: the step fails at {show(point, step.used)}.")
        return Proof(f"no prover, {len(self._points.first) + len(more)} points", "numeric")

    def on_box(self, relation: str, expr: sp.Expr, reason: str, box: dict | None = None) -> Derivation:
        """An inequality verified on a whole closed box by ball arithmetic; the box must cover the closed domain."""
        right, difference = self._inequality(relation, expr)
        symbols = sorted(difference.free_symbols, key=str)
        self.domain.check_symbols(difference)
        sides = check_box(box, self.domain, symbols) if box is not None else None
        step, found = self._at_points(relation, right)
        cells = once(self.domain, "box", prove_on_box, difference, self.domain, len(relation) == 1, sides)
        if cells is None:
            raise StepError("Not verified on the box: the balls could not settle every cell of it.")
        return self._accept(step, found, right, reason, Proof("balls on the whole closed box", "verified on box"))

    def put(self, symbol: sp.Symbol, expr: sp.Expr, reason: str) -> Derivation:
        """Choose a value of a free symbol; the value must be proved to lie in the domain."""
        new = expression(expr)
        if symbol not in self._rhs.free_symbols:
            raise StepError(f"There is no free {symbol} to put a value for.")
        self.domain.check_symbols(symbol)
        self.domain.check_symbols(new)
        proof = once(self.domain, "value", value_in_domain, symbol, new, self.domain, self._points)
        right = expression(self._rhs.subs(symbol, new, simultaneous=True))
        if right == self._rhs:
            raise StepError(f"Putting {symbol} = {new} changes nothing.")
        if symbol in self._lhs.free_symbols:
            self._lhs = self._lhs.subs(symbol, new, simultaneous=True)
        words = f"put ${latex(symbol)} = {latex(new)}$: {reason}"
        return self._add(
            "=", right, words, f"the value lies in the domain ({proof.prover})", proof.prover, proof.evidence
        )

    def tends_to(self, expr: sp.Expr, reason: str, var: sp.Symbol, point: sp.Expr, dir: str = "+") -> Derivation:
        """The present expression tends to `expr` as `var` tends to `point` from one side."""
        right, target = self._side(expr), sp.sympify(point)
        self._only_numbers(right, "a limit")
        self._need_domain(self._rhs, right, var)
        if dir not in ("+", "-") or right.free_symbols & {var} or var not in self._rhs.free_symbols:
            raise StepError(f"A limit needs a direction '+' or '-', and {var} on the left side only.")
        side = "-" if target is sp.oo else dir
        name, found = once(self.domain, "limit", check_limit, self._rhs, right, self._points, var, target, side)
        self._findings.append(found)
        sign = "" if target.is_infinite else f"^{dir}"
        words = f"{reason} (${latex(var)} \\to {latex(target)}{sign}$)"
        return self._add("->", right, words, f"{name}; {_points(found)}", name, "symbolic")

    def series(self, expr: sp.Expr, reason: str, var: sp.Symbol, order: int, at: sp.Expr = 0) -> Derivation:
        """`expr` is the Taylor polynomial of the present expression, with remainder ``O((var - at)**order)``."""
        right, centre = self._side(expr), sp.sympify(at)
        self._only_numbers(right, "a series")
        self._need_domain(self._rhs, right, var)
        if rebuilt(right) == rebuilt(self._rhs):
            raise StepError("Both sides are the same expression, so the step says nothing.")
        name, found = once(self.domain, "series", check_series, self._rhs, right, self._points, var, order, centre)
        self._findings.append(found)
        rest = sp.Order((var - centre) ** order, (var, centre))
        self._remainder += rest
        formula = f"= {latex(right)} + O\\left({latex((var - centre) ** order)}\\right)"
        return self._add(
            "~",
            right,
            reason,
            f"{name}; {_points(found)}",
            name,
            "symbolic",
            formula,
            f"{right} + O({(var - centre) ** order})",
        )

    def anchor(self, reason: str, fn: Callable[..., object], points: Sequence[dict], tol: float = 0) -> Derivation:
        """Compare the present expression with an independent enumeration or simulation ``fn(**values)``."""
        self.domain.check_symbols(self._rhs)
        count = anchors.check_anchor(self._rhs, fn, list(points), tol, self._points)
        how = "exactly" if tol == 0 else f"within {tol:g}"
        check = f"anchored {how} at {count} point{'s' * (count > 1)}"
        return self._add("=", self._rhs, reason, check, "anchor", "anchored", r"\text{(anchor)}", "(anchor)")

    # ---- what came out

    @property
    def ok(self) -> bool:
        """True: every step that a machine checks was proved (a step that is not raises at once)."""
        return bool(self.proved) and any(row.prover for row in self.proved)

    @property
    def evidence(self) -> str:
        """The weakest evidence of the chain, and whether something was cited or argued."""
        return weakest([row.evidence for row in self.proved])

    @property
    def result(self) -> Result:
        """The relation between the first and the last expression."""
        used = self._rhs.free_symbols
        args = [s for s in self.domain.symbols if s in used] + sorted(used - set(self.domain.symbols), key=str)
        relation = joined([row.relation for row in self.proved] or ["="])
        return Result(self._lhs, relation, self._rhs, self.evidence, tuple(args), self._remainder)

    @property
    def assumptions(self) -> list[tuple[str, str]]:
        """Each sentence of the domain, and what happens to the steps without it."""
        key = len(self.proved)
        if getattr(self, "_assumed", (None,))[0] != key:
            steps = tuple(self._checked)
            self._assumed = (key, once(self.domain, "assumptions", findings, self._points, steps))
        return self._assumed[1]

    @property
    def notes(self) -> list[str]:
        """The lines below the table."""
        killed, total = sum(f.killed for f in self._findings), sum(f.mutants for f in self._findings)
        count = sum(f.points for f in self._findings)
        lines = [
            f"Checked at {count} points; {killed} of {total} mutants refuted."
            if self._findings
            else "Values that were put in lie in the domain; nothing else was checked by machine."
            if self.proved and any(row.prover for row in self.proved)
            else "Nothing here was checked by machine."
        ]
        alive = [str(m) for f in self._findings for m in f.survivors]
        if alive:
            lines.append("Not told apart from the right side: " + "; ".join(alive) + ".")
        return lines + [f"Assumption {text}: {finding}." for text, finding in self.assumptions if self._checked]

    def _sheet(self) -> Sheet:
        given = [sentence.text for sentence in self.domain.given]
        return Sheet(self.title, given, self.start_latex, self.start_text, self.proved, self.notes)

    def __repr__(self) -> str:
        return self._sheet().as_text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        sheet = self._sheet()
        return {"text/html": sheet.as_html(), "text/plain": sheet.as_text()}

    # ---- the common part of all steps

    def _side(self, expr: Side) -> Side:
        side = expression(expr)
        if has_matrices(expr):
            self._typed[side] = expr
        return side

    def _shown(self, side: Side) -> Side:
        return self._typed.get(side, side)

    def _only_numbers(self, right: Side, what: str) -> None:
        if isinstance(right, sp.MatrixBase) or isinstance(self._rhs, sp.MatrixBase):
            raise StepError(f"There is no {what[what.index(' ') + 1 :]} of matrices here, only equality.")

    def _need_domain(self, *sides: Side) -> None:
        for side in sides:
            self.domain.check_symbols(side)

    def _inequality(self, relation: str, expr: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        if relation not in ("<=", "<", ">=", ">"):
            raise StepError(f"The relation {relation!r} is not one of <=, <, >=, >.")
        right = self._side(expr)
        self._only_numbers(right, "an inequality")
        if self._remainder != 0:
            raise StepError("After a series no inequality follows for the first expression: start a new chain.")
        return right, (right - self._rhs if relation[0] == "<" else self._rhs - right)

    def _at_points(self, relation: str, right: Side) -> tuple[Pointwise, Findings]:
        self._need_domain(self._rhs, right)
        if rebuilt(self._rhs) == rebuilt(right):
            raise StepError("Both sides are the same expression, so the step says nothing.")
        step = Pointwise(self._rhs, relation, right)
        return step, once(self.domain, "points", Pointwise.check, step, self._points)

    def _accept(self, step: Pointwise, found: Findings, right: Side, reason: str, proof: Proof) -> Derivation:
        self._checked.append(step)
        self._findings.append(found)
        parts = [proof.prover, _points(found)] + [found.tightest] * bool(found.tightest)
        if proof.evidence != "symbolic":
            parts.insert(0, proof.evidence)
        return self._add(step.relation, right, reason, "; ".join(parts), proof.prover, proof.evidence)

    def _add(
        self,
        relation: str,
        right: Side,
        reason: str,
        check: str,
        prover: str,
        evidence: str,
        formula: str = "",
        text: str = "",
    ) -> Derivation:
        joined([row.relation for row in self.proved] + [relation])
        formula = formula or f"{RELATIONS[relation]} {latex(self._shown(right))}"
        number = len(self.proved) + 1
        self.proved.append(Row(number, relation, formula, reason, check, prover, evidence, text or str(self._shown(right))))
        self._rhs = right
        return self


def _points(found: Findings) -> str:
    return f"{found.points} point{'s' * (found.points != 1)}, {found.killed}/{found.mutants} mutants refuted"


def derive(title: str, start: Side, given: Sequence[str] = ()) -> Derivation:
    """Start a derivation.

    Parameters
    ----------
    title : str
        What is derived; may hold ``$...$``.
    start : sympy.Expr or sympy.Matrix
        The first expression, in the plain symbols of `symbols`.
    given : sequence of str
        The domain, for example ``["0 < p < 1", "a, B > 0", "x real", "L = 2, 3, ..."]``.

    Returns
    -------
    Derivation
        Every checked step either succeeds or raises `StepError`.
    """
    return Derivation(title, start, given)


def identity(title: str, lhs: Side, rhs: Side, given: Sequence[str] = (), why: str = "both sides agree") -> Derivation:
    """A chain of one step, ``lhs = rhs``."""
    return derive(title, lhs, given).equals(rhs, why)
