"""Machine code compiled for processors that are not here; run by test_llvm.

In a process of its own, as LLVM ends it where it has no instruction for an operation. Prints what
is called from the code of each.
"""

import json
import re

import jax
import jax.numpy as jnp
from llvmlite import binding

import jaxdiv as jd
from jaxdiv.rows import llvm_call

TARGETS = [
    ("x86_64-unknown-linux-gnu", "x86-64"),
    ("x86_64-unknown-linux-gnu", "haswell"),
    ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    ("aarch64-unknown-linux-gnu", "generic"),
    ("aarch64-unknown-linux-gnu", "neoverse-v1"),
    ("arm64-apple-macosx", "apple-m1"),
]


def modules() -> list[str]:
    """The code of some kernels, which differ in what they are made of."""
    found = []
    module = llvm_call.module

    def noted(*args):
        made = module(*args)
        found.append(str(made))
        return made

    llvm_call.module = noted
    for name, dtype in (("kl", jnp.bfloat16), ("renyi_half", jnp.float32), ("js", jnp.float32)):

        def total(a, b, name=name):
            f = jd.CATALOGUE[name]
            return f(jd.Logits(a), jd.Logits(b), implementation="llvm").sum()

        x = jax.ShapeDtypeStruct((64, 1024), dtype)
        jax.jit(jax.grad(total, (0, 1))).lower(x, x)
    return found


def main() -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    codes = modules()
    calls: dict[str, list[str]] = {}
    for triple, cpu in TARGETS:
        target = binding.Target.from_triple(triple)
        machine = target.create_target_machine(cpu=cpu, features="", opt=2, jit=True)
        for code in codes:
            text = machine.emit_assembly(llvm_call.optimised(code, machine))
            called = re.findall(r"^\s+(?:callq?|bl)\s+_?([a-z]\w*)", text, re.MULTILINE)
            calls[cpu] = sorted({*calls.get(cpu, []), *called})
    print(json.dumps(calls))


if __name__ == "__main__":
    main()
