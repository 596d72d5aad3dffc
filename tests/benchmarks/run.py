"""How fast, how large: tinygrad_mlsp beside PyTorch, HIPS autograd, MyGrad and NumPy by hand, in one run.

    python tests/benchmarks/run.py [names] [--threads 1] [--rounds 31] [--json FILE] [--markdown]

Every figure is a ratio to PyTorch (where it is missing, to NumPy by hand): lower is faster or smaller.
The libraries take turns, round by round, so that whatever else the machine does meets all of them alike;
of each library's rounds the median counts. Before a workload is timed, all libraries take three steps
and must agree on the losses. Docs: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from memory import memory  # noqa: E402
from peers import PEERS, installed, load  # noqa: E402  (light: no library is imported before the threads are set)

OURS, REFERENCE = "tinygrad_mlsp", "PyTorch"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SAMPLE = 0.02  # seconds of steps in one sample of a round
STARTUP = "W9"
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # of modules that another name installs
SCRIPTS = {  # a minimal script in each library
    "NumPy alone": "import numpy as np; np.ones(3) * 2",
    OURS: "import tinygrad_mlsp as tg; x = tg.Tensor([1., 2.], requires_grad=True); (x * x).sum().backward()",
    REFERENCE: "import torch; x = torch.tensor([1., 2.], requires_grad=True); (x * x).sum().backward()",
    "autograd": "import autograd.numpy as np, autograd; autograd.grad(lambda x: np.sum(x * x))(np.ones(2))",
    "MyGrad": "import mygrad as mg; x = mg.tensor([1., 2.]); (x * x).sum().backward()",
}
Result = dict[str, Any]


def with_threads(threads: int) -> None:
    """Starts this program again with the thread counts in its environment, which NumPy reads when it loads."""
    wanted = {name: str(threads) for name in THREADS}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def numbers(results: Any) -> list[Any]:
    """What a step returned, as NumPy arrays."""
    import numpy as np

    return [np.asarray(getattr(r, "detach", lambda r=r: r)(), dtype=np.float64).copy() for r in results]


def agree(workload: Any, steps: dict[str, Any]) -> None:
    """Lets every library take three steps, and stops if they do not compute the same."""
    import numpy as np

    first = next(iter(steps))
    taken = {peer: [numbers(step()) for _ in range(3)] for peer, step in steps.items()}
    for peer, results in taken.items():
        for i, (expected, found) in enumerate(zip(taken[first], results, strict=True)):
            for a, b in zip(expected, found, strict=True):
                scale = float(np.max(np.abs(a))) + 1e-6
                if not np.max(np.abs(a - b)) <= 2e-3 * scale:
                    raise SystemExit(f"{workload.name}, step {i + 1}: {first} computes {a}, {peer} {b}")


def measure(workload: Any, peers: list[str], rounds: int) -> dict[str, Result]:
    """Median seconds of a step of each library, the libraries taking turns."""
    steps = {}
    for peer in peers:
        make = getattr(load(peer), workload.build, None)
        if make is not None:
            steps[peer] = make(workload.problem(**workload.sizes))
    agree(workload, steps)
    repeats = {}
    for peer, step in steps.items():
        start = time.perf_counter()
        step()
        repeats[peer] = max(1, round(SAMPLE / (time.perf_counter() - start)))
    samples: dict[str, list[float]] = {peer: [] for peer in steps}
    for i in range(rounds):
        order = list(steps.items())
        for peer, step in order if i % 2 else reversed(order):
            start = time.perf_counter()
            for _ in range(repeats[peer]):
                step()
            samples[peer].append((time.perf_counter() - start) / repeats[peer])
    return {peer: {"time": statistics.median(s), "samples": s} for peer, s in samples.items()}


def child(name: str, peer: str) -> None:
    """One measurement in this process alone: the seconds of a step, and its peak memory over that of a small one."""
    from workloads import WORKLOADS

    workload = next(w for w in WORKLOADS if w.name == name)
    make = getattr(load(peer), workload.build, None)
    if make is None:
        raise SystemExit(f"{workload.name} is not written for it")
    make(workload.problem(**workload.small))()
    problem = workload.problem(**workload.sizes)
    before, _ = memory()
    step = make(problem)
    start = time.perf_counter()
    results = step()
    seconds = time.perf_counter() - start
    _, peak = memory()
    checks = [float(r.sum()) for r in numbers(results)]
    print(json.dumps({"time": seconds, "memory": peak - before, "total": peak, "checks": checks}))


def in_processes(commands: dict[str, list[str]], rounds: int, limit: float = 600) -> dict[str, list[Result]]:
    """What each command prints, run in turns; a command that fails is left out with a line."""
    found: dict[str, list[Result]] = {peer: [] for peer in commands}
    for i in range(rounds):
        for peer in list(commands) if i % 2 else list(reversed(commands)):
            start = time.perf_counter()
            try:
                done = subprocess.run(commands[peer], capture_output=True, text=True, timeout=limit, check=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
                last = (getattr(problem, "stderr", "") or str(problem)).strip().splitlines()[-1]
                print(f"  {peer}: left out ({last})", file=sys.stderr)
                del commands[peer], found[peer]
                continue
            wall = time.perf_counter() - start
            found[peer].append({"wall": wall, **json.loads(done.stdout.splitlines()[-1])})
    return found


def medians(found: dict[str, list[Result]], quantities: dict[str, str]) -> dict[str, Result]:
    return {
        peer: {new: statistics.median([r[old] for r in results]) for new, old in quantities.items()}
        | {"samples": [r[next(iter(quantities.values()))] for r in results]}
        for peer, results in found.items()
        if results
    }


def isolated(workload: Any, peers: list[str], rounds: int) -> dict[str, Result]:
    """Median seconds and peak memory of one step in fresh processes."""
    import numpy as np

    commands = {p: [sys.executable, str(HERE / "run.py"), "--child", workload.name, p] for p in peers}
    found = in_processes(commands, rounds)
    checks = {peer: results[0]["checks"] for peer, results in found.items() if results}
    first = next(iter(checks))
    for peer, values in checks.items():
        if not np.allclose(values, checks[first], rtol=2e-3):
            raise SystemExit(f"{workload.name}: {first} computes {checks[first]}, {peer} {values}")
    return medians(found, {"time": "time", "memory": "memory", "total": "total"})


def startup(peers: list[str], rounds: int) -> dict[str, Result]:
    """Median seconds of a whole minimal script, and its peak memory."""
    code = "{}; import memory, json; print(json.dumps(dict(memory=memory.memory()[1])))"
    scripts = {p: s for p, s in SCRIPTS.items() if p in peers or p == "NumPy alone"}
    path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    commands = {p: ["env", f"PYTHONPATH={path}", sys.executable, "-c", code.format(s)] for p, s in scripts.items()}
    return medians(in_processes(commands, rounds), {"time": "wall", "memory": "memory"})


def show(
    name: str, title: str, results: dict[str, Result], target: dict[str, float], beside: dict[str, float] | None = None
) -> list[dict[str, Any]]:
    """Prints a workload's figures and returns its lines for the table; `beside` has targets for the time's ratio to
    other peers than the base."""
    base = REFERENCE if REFERENCE in results else "NumPy by hand" if "NumPy by hand" in results else next(iter(results))
    lines = []
    print(f"{name}  {title}   (ratios to {base})")
    for quantity in [q for q in ("time", "memory", "total") if q in results[base]]:
        ratios = {peer: r[quantity] / results[base][quantity] for peer, r in results.items()}
        aim = target.get(quantity)
        for peer, r in results.items():
            value = f"{r[quantity] * 1e3:10.3f} ms" if quantity == "time" else f"{r[quantity] / 1e6:10.1f} MB"
            value += {"memory": " more", "total": " in all"}.get(quantity, "") if "total" in r else ""
            spread = ""
            if quantity == "time" and len(r["samples"]) > 3:
                low, _, high = statistics.quantiles(r["samples"], n=4)
                spread = f"   quartiles {low / r['time']:.2f}–{high / r['time']:.2f}"
            mark = ""
            if peer == OURS and aim is not None:
                mark = f"   target ≤ {aim}: {'met' if ratios[peer] <= aim else 'MISSED'}"
            print(f"    {peer:14} {value}   {ratios[peer]:6.3f}{spread}{mark}")
        for peer, most in (beside or {}).items() if quantity == "time" and OURS in ratios else ():
            if peer in ratios:
                ratio = ratios[OURS] / ratios[peer]
                mark = "met" if ratio <= most else "MISSED"
                print(f"    {OURS} takes {ratio:.3f} of the time of {peer}   target ≤ {most}: {mark}")
        lines.append({"name": name, "title": title, "quantity": quantity, "ratios": ratios, "target": aim})
    return lines


def markdown(lines: list[dict[str, Any]]) -> str:
    peers = [p for p in PEERS if any(p in line["ratios"] for line in lines) and p != REFERENCE]
    rows = [["workload", "", *peers, "target"], ["---"] * (len(peers) + 3)]
    for line in lines:
        cells = [f"{line['ratios'][p]:.2f}" if p in line["ratios"] else "–" for p in peers]
        rows.append([f"{line['name']} {line['title']}", line["quantity"], *cells, str(line["target"] or "")])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="workloads, such as W1 W9 (all of them by default)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the BLAS and of PyTorch")
    parser.add_argument("--rounds", type=int, default=31, help="rounds in which the libraries take turns")
    parser.add_argument(
        "--processes", type=int, default=5, help="the same for W8, W9 and W10, in processes of their own"
    )
    parser.add_argument("--peers", help=f"comma-separated, of: {', '.join(PEERS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", action="store_true", help="print the ratios as a table at the end")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with_threads(options.threads)
    if options.child:
        return child(*options.child)

    from workloads import WORKLOADS

    chosen = options.peers.split(",") if options.peers else list(PEERS)
    for peer in chosen:
        if peer not in PEERS:
            parser.error(f"no peer {peer!r}; there are {', '.join(PEERS)}")
        if not installed(peer):
            print(f"{peer} is not installed: left out")
    peers = [p for p in chosen if installed(p)]
    versions = {p: "here" if p == OURS else version(DISTRIBUTIONS.get(PEERS[p][1], PEERS[p][1])) for p in peers}
    facts = {"threads": options.threads, "python": platform.python_version(), "versions": versions}
    print(
        f"{options.threads} thread(s), Python {facts['python']}", *(f"{p} {v}" for p, v in versions.items()), sep=", "
    )
    known = [w.name for w in WORKLOADS] + [STARTUP]
    for name in options.names:
        if name not in known:
            parser.error(f"no workload {name!r}; there are {', '.join(known)}")
    names = options.names or known
    everything, lines = {}, []
    for workload in WORKLOADS:
        if workload.name in names:
            run = isolated if workload.isolated else measure
            results = run(workload, peers, options.processes if workload.isolated else options.rounds)
            everything[workload.name] = results
            lines += show(workload.name, workload.title, results, workload.target, workload.beside)
    if STARTUP in names:
        results = startup(peers, 3 * options.processes)
        everything[STARTUP] = results
        lines += show(STARTUP, "a minimal script, from start to end", results, {})
        over = results[OURS]["time"] - results["NumPy alone"]["time"]
        mark = "met" if over < 0.25 else "MISSED"
        print(f"    {OURS} takes {over * 1e3:.0f} ms over NumPy   target < 250 ms: {mark}")
    if options.markdown:
        print("\n" + markdown(lines))
    if options.json:
        text = json.dumps({**facts, "results": everything, "ratios": lines}, indent=1)
        beside = options.json.with_name(options.json.name + ".part")
        beside.write_text(text)
        beside.replace(options.json)


if __name__ == "__main__":
    main()
