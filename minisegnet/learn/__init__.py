"""For readers, tutorials and documentation.

`equation` shows a formula beside its code, `check` and `check_grads` test a reader's own function, `guess` asks for a prediction
before it shows the result.
"""

from .equations import EquationPage, equation, listing
from .exercises import check
from .formulas import Formula, FormulaError, compute
from .gradients import check_grads
from .guesses import Guess, guess
from .verdict import Verdict

__all__ = [
    "EquationPage",
    "Formula",
    "FormulaError",
    "Guess",
    "Verdict",
    "check",
    "check_grads",
    "compute",
    "equation",
    "guess",
    "listing",
]
