"""Attacks: inputs that are changed a little, and with them the model's answer, or its explanation.

What an explanation must survive. An attack is a pure function of one example, as an explainer is; a batch is `jax.vmap`
and one program serves every size of the attack, target, checkpoint and key. Its size `epsilon` and the bounds `low` and
`high` are in units of `x`: attack the model together with its normalisation, `lambda pixels: f((pixels - mean) / std)`,
where they are known for pixels.
"""

from xaijax.attacks._attack import attack
from xaijax.attacks._explanation_attack import ExplanationAttack, explanation_attack
from xaijax.attacks._fgsm import fgsm
from xaijax.attacks._pgd import pgd
from xaijax.attacks._random_noise import random_noise

__all__ = [
    "ExplanationAttack",
    "attack",
    "explanation_attack",
    "fgsm",
    "pgd",
    "random_noise",
]
