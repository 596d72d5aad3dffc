"""The command line end to end: what it prints, what it writes, and how it refuses."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_mlsp
from tinygrad_mlsp import cli
from tinygrad_mlsp.experiments import report, vanishing

ROOT = Path(tinygrad_mlsp.__file__).parents[1]
TINY = ["--depth", "6", "--width", "8", "--epochs", "1", "--batch-size", "200"]


def start(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The program in a process of its own, in that folder."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_mlsp", *map(str, arguments)], cwd=folder, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip


def call(*arguments: object, folder: Path, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, folder=folder, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_vanishing_end_to_end(tmp_path):
    nets = "sigmoid,residual,rnn"
    code, out, err = call("vanishing", *TINY, "--nets", nets, folder=tmp_path)
    assert code == 0, err
    assert "Traceback" not in err and "sigmoid (1 of 3)" in err  # no terminal: a line a net, no bar
    head, *rows = out.splitlines()
    assert head.split() == ["net", "first", "last", "per", "layer", "accuracy", "%", "verdict"]
    assert rows[0].startswith("plain sigmoid") and "vanishes: below 1/100 of layer 6's from layer" in rows[0]
    assert rows[1].startswith("residual") and "healthy" in rows[1]
    assert rows[2].startswith("tanh RNN") and "time step" in rows[2]
    assert out.splitlines()[-1] == f"report: {tmp_path / 'vanishing-report' / 'index.html'}"
    page = (tmp_path / "vanishing-report" / "index.html").read_text("utf-8")
    command = re.search(r"<code>(tinygrad-mlsp vanishing [^<]*)</code> gives the same", page)
    assert command is not None

    # the command that the page names gives the same figures, to the byte
    code, _, err = call(*command[1].split()[1:], "--output", "again", folder=tmp_path)
    assert code == 0, err
    for name in ("figures.csv", "gains.csv", "profiles.csv", "curves.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "vanishing-report" / name).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "vanishing-report"]


def test_without_a_command_it_says_what_it_does_and_does_it(tmp_path):
    code, out, err = call(*TINY, "--nets", "tanh", "--epochs", "0", folder=tmp_path)
    assert code == 0, err
    assert err.startswith("tinygrad-mlsp: no command given, so this runs `tinygrad-mlsp vanishing`")
    assert "plain tanh" in out and (tmp_path / "vanishing-report" / "index.html").is_file()


def test_the_data_may_be_named(tmp_path):
    code, out, err = call("vanishing", "--data", "mnist", "--data-folder", tmp_path, folder=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("tinygrad-mlsp: error: mnist: expected train-images-idx3-ubyte") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_nothing(tmp_path):
    process = start("vanishing", "--nets", "lstm", "--output", "out", folder=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline() == "lstm (1 of 1)\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "\ntinygrad-mlsp: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_the_characters(tmp_path):
    code, out, err = call("vanishing", *TINY, "--nets", "tanh", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert code == 0 and "Traceback" not in err and "? 1" in out.replace("  ", " ")


@pytest.mark.parametrize("net", vanishing.NETS)
def test_draw(net, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", net, "--depth", "4", "--width", "3"]) == 0
    assert re.fullmatch(rf"{net}\.svg: the .* net, \d+ operations(, folded to \d+ nodes)?\n", capsys.readouterr().out)
    svg = (tmp_path / f"{net}.svg").read_text("utf-8")
    assert svg.startswith("<svg") and "‖∂L‖" in svg and ("layer 4" in svg or "output" in svg)
    assert [p.name for p in tmp_path.iterdir()] == [f"{net}.svg"]


def test_draw_without_gradients_and_as_text(tmp_path, capsys):
    target = tmp_path / "net.dot"
    assert cli.main(["draw", "tanh", "--depth", "3", "--no-backward", "--output", str(target)]) == 0
    assert "digraph" in target.read_text("utf-8") and "before a backward pass" in target.read_text("utf-8")
    for name, code, says in (
        ("net.gif", 2, "must end in"),
        ("no/net.svg", 2, "there is no folder"),
        (".", 2, "must end in"),
    ):
        assert cli.main(["draw", "tanh", "--depth", "3", "--output", str(tmp_path / name)]) == code
        assert says in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["net.dot"]


WRONG = [
    (["--depth", "1"], "--depth: expected a whole number from 3 to 1,000, got '1'"),
    (["--depth", "1e3"], "got '1e3'"),
    (["--width", "0"], "--width: expected a whole number from 1 to"),
    (["--epochs", "-1"], "--epochs: expected a whole number from 0 to"),
    (["--epochs", "9" * 5000], "--epochs: expected a whole number"),
    (["--batch-size", "1"], "--batch-size: expected a whole number from 2"),
    (["--seed", "-3"], "--seed: expected a whole number from 0"),
    (["--seed", "x"], "got 'x'"),
    (["--learning-rate", "nan"], "--learning-rate: expected a number above 0, got 'nan'"),
    (["--learning-rate", "0"], "got '0'"),
    (["--learning-rate", "inf"], "got 'inf'"),
    (["--nets", "sigmoid,resnet"], "no net is called 'resnet'; the nets are sigmoid, tanh"),
    (["--nets", ""], "no net is called ''"),
    (["--activation", "gelu"], "--activation: invalid choice: 'gelu'"),
    (["--init", "orthogonal"], "--init: invalid choice"),
    (["--data", "cifar"], "--data: invalid choice"),
    (["--data-folder", "x"], "--data-folder is for --data mnist"),
    (["--device", "tpu"], "--device: expected cpu, cuda or cuda:N, got 'tpu'"),
    (["--output", ""], "--output: expected a path, got ''"),
    (["--output", "a\0b"], "--output: expected a path"),
    (["--dep", "30"], "unrecognized arguments: --dep 30"),
    (["--batch-size", "2000"], "batch size 2,000 is more than the 1,297 training images"),
]


@pytest.mark.parametrize("options, says", WRONG, ids=[" ".join(o)[:30].replace("\0", "0") for o, _ in WRONG])
def test_wrong_options_are_one_line_and_leave_nothing(options, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["vanishing", *options])
    except SystemExit as end:  # argparse's way
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert says in err and err.count("\n") == 1 and err.startswith("tinygrad-mlsp") and "error: " in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["vanish"], ["draw"], ["draw", "resnet"], ["draw", "tanh", "--depth", "2"]])
def test_wrong_commands(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_not_ours_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(vanishing, "run", lambda *_: pytest.fail("trained nevertheless"))
    (tmp_path / "thesis.tex").write_text("mine")
    assert cli.main(["vanishing", "--output", str(tmp_path)]) == 1
    assert cli.main(["vanishing", "--output", str(tmp_path / "thesis.tex")]) == 1
    assert cli.main(["vanishing", "--output", str(tmp_path / "thesis.tex" / "report")]) == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert "it is not empty and holds no older report" in first
    assert "that is a file" in second
    assert "cannot write the report into" in third
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert cli.main(["vanishing", "--output", str(tmp_path / "report")]) == 1
    assert "Permission denied" in capsys.readouterr().err
    tmp_path.chmod(0o700)


def test_a_missing_gpu(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for device in ("cuda", "cuda:99"):
        monkeypatch.setitem(sys.modules, "cupy", None)
        monkeypatch.setattr("tinygrad_mlsp.backend._by_name", {"cpu": tinygrad_mlsp.backend.numpy_space})
        assert cli.main(["vanishing", "--device", device]) == 1
        err = capsys.readouterr().err
        assert "tinygrad_mlsp[gpu]" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_interruption_while_the_report_is_written(tmp_path, capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "page", interrupted)
    assert cli.main(["vanishing", *TINY, "--nets", "tanh"]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_said_so(capsys, monkeypatch, tmp_path):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vanishing, "run", exhausted)
    assert cli.main(["vanishing"]) == 1
    assert "not enough memory; try a smaller --depth" in capsys.readouterr().err


def test_help_reads_well_and_is_fast(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for arguments, says in (
        (["--help"], ["vanishing", "draw", "runs vanishing"]),
        (["vanishing", "--help"], ["--nets", "--device", "x + F(x)", "examples:", "(default: 30)"]),
        (["draw", "--help"], ["--no-backward", "--output"]),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        out, err = capsys.readouterr()
        assert end.value.code == 0 and err == ""
        assert all(word in out for word in says)
        assert max(map(len, out.splitlines())) <= 110
    code, out, _ = call("--version", folder=tmp_path)
    assert (code, out) == (0, f"tinygrad-mlsp {tinygrad_mlsp.__version__}\n")
    loaded = "import sys, tinygrad_mlsp.cli; print([m for m in ('matplotlib', 'scipy', 'graphviz', 'tqdm', "
    loaded += "'tinygrad_mlsp.experiments', 'tinygrad_mlsp.nn') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def look(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


SCRIPT = """
import tinygrad_mlsp as tg
from tinygrad_mlsp import nn

model = nn.Linear(2, 1, generator=tg.Generator(0))
w = tg.Tensor(2.0, requires_grad=True)

def loss():
    return tg.tanh(w * 3.0)

def other():
    return (model(tg.ones((4, 2))) ** 2).sum(), model

def wrong():
    return w @ 3.0

def number():
    return 3.0
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(SCRIPT)
    (tmp_path / "bare.py").write_text("import tinygrad_mlsp as tg\nloss = tg.Tensor(2.0, requires_grad=True) * 3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_explain_a_bundled_net_and_a_script(script, capsys):
    code, out, err = look(capsys, "explain", "tanh", "--depth", "4", "--width", "3")
    assert code == 0, err
    assert out.startswith("plain tanh net\n") and "∂z₂/∂z₁ = 1 − z₂²" in out and "layers.0.0.weight" in out
    code, out, err = look(capsys, "explain", "mine.py")
    assert code == 0, err
    assert "   z₁ = w 3 = 2 · 3 = 6\n" in out and "∂L/∂w = 7.367·10⁻⁵" in out
    code, out, _ = look(capsys, "explain", "mine.py:other", "--output", "other.md")
    assert code == 0 and out == "other.md: explain of mine.py:other\n"
    assert "W₁ is weight" in (script / "other.md").read_text("utf-8")


def test_play_and_diff(script, capsys):
    code, out, err = look(capsys, "play", "rnn", "--width", "2")
    assert (code, out) == (0, "player.html: play of rnn\n"), err
    assert "<title>tanh RNN net</title>" in (script / "player.html").read_text("utf-8")
    code, out, err = look(capsys, "diff", "tanh", "relu", "--output", "diff.dot")
    assert code == 0, err
    assert "+ relu" in (script / "diff.dot").read_text("utf-8")
    code, out, err = look(capsys, "diff", "mine.py", "mine:other")
    assert code == 0 and out.startswith("mine.py: 2 operations; mine:other: "), err


def test_flow(script, capsys):
    code, out, err = look(capsys, "flow", "sigmoid", "--depth", "12")
    assert code == 0, err
    assert out.startswith("vanishing: below 1/100 of the last layer's") and "skip connections" in out
    assert "layers.0.0 Linear " in out
    code, out, err = look(capsys, "flow", "rnn")
    assert code == 0 and "t=64: ‖∂L/∂h‖ = " in out and "h: vanishes" in out, err
    code, out, err = look(capsys, "flow", "mine.py:other", "--output", "flow.svg")
    assert (code, out) == (0, "flow.svg: flow of mine.py:other\n"), err
    assert "<svg" in (script / "flow.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["explain", "nix"], 2, "'nix' is neither a net (sigmoid, "),
        (["explain", "nix.py"], 2, "there is no file 'nix.py'"),
        (["explain", "mine.py:nix"], 2, "mine.py has no nix; it needs a function loss()"),
        (["explain", "nix:loss"], 1, "nix:loss: ModuleNotFoundError: No module named 'nix'"),
        (["explain", "mine.py:wrong"], 1, "mine.py:wrong, line 15 of mine.py: ShapeError: matmul"),
        (["explain", "mine.py:number"], 2, "number gives a float; a scalar Tensor is wanted"),
        (["play", "mine.py", "--output", "x.pdf"], 2, "its name must end in .html"),
        (["explain", "mine.py", "--output", "no/x.md"], 2, "there is no folder 'no'; make it first"),
        (["flow", "bare.py"], 2, "the script needs a function loss(), and the net as `model`"),
        (["diff", "tanh"], 2, "the following arguments are required: OTHER"),
    ],
)
def test_what_cannot_be_looked_at_is_told_in_a_line(script, capsys, arguments, code, told):
    try:
        got = cli.main(arguments)
    except SystemExit as leaving:
        got = leaving.code
    out, err = capsys.readouterr()
    assert (got, out) == (code, "")
    assert told in err and err.count("\n") == 1
