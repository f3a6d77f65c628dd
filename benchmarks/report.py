"""The figures as benchmarks.json, as tables in benchmarks.md, and as a plot."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from komrc.storage import write_json, write_text

Figures = dict[str, Any]
DEV = 5_774  # questions of KorQuAD v1.0's dev set
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PEERS = {"haystack": (1.25, 3.5), "pipeline": (1.4, 4.0)}  # at least: fp32, best mode
LIMIT = (0.85, 0.65)
KINDS = {"komrc torch-bf16": "bf16", "komrc openvino-bf16": "bf16", "komrc onnx-int8": "int8"}
FP32 = ("komrc torch", "komrc onnx", "komrc openvino")
BEST = ("komrc torch-bf16", "komrc openvino-bf16", "komrc onnx-int8")


def read(folder: Path) -> Figures:
    path = folder / "benchmarks.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write(figures: Figures, folder: Path) -> None:
    """benchmarks.json, the marked part of benchmarks.md, benchmarks-growth.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmarks.json", figures)
    page = folder / "benchmarks.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    write_text(page, f"{before}{BEGIN}\n\n{tables(figures)}\n{END}{after}")
    if "growth" in figures:
        _plot(figures["growth"], folder / "benchmarks-growth.svg")


def tables(figures: Figures) -> str:
    """Markdown."""
    made = {
        "throughput": _throughput,
        "embedded": _embedded,
        "start": _start,
        "parts": _parts,
        "growth": _growth,
        "training": _training,
        "gpu": _gpu,
        "quantization": _quantization,
    }
    parts = [made[name](figures[name]) + _footer(figures[name]) for name in made if name in figures]
    return "\n".join([_targets(figures), *parts])


def _targets(figures: Figures) -> str:
    """Every target whose figure is there: what was found, what was wanted, met or missed."""
    rows: list[tuple[str, float, float, bool]] = []  # the last: more is better
    if part := figures.get("throughput"):
        rates, limit = part["questions a second"], part["limit, questions a second"]
        for column, names in enumerate((FP32, BEST)):
            name, rate = _best(rates, names)
            mode = f"{('fp32', 'best mode')[column]} ({name})"
            for peer, least in PEERS.items():
                if peer in rates:
                    rows.append((f"{mode} against {peer}", rate / rates[peer]["median"], least[column], True))
            share = rate / limit[KINDS.get(name, "fp32")]
            rows.append((f"{mode}: share of the limit", share, LIMIT[column], True))
    if part := figures.get("training"):
        speeds = part["real tokens a second"]
        ratio = speeds["komrc"]["median"] / speeds["2020"]["median"]
        rows.append(("training against the recipe of 2020", ratio, 2.5, True))
    if (part := figures.get("gpu")) and "not run" not in part:
        rows.append(("training on a GPU: share of 989 TFLOP/s", part["share of 989 TFLOP/s"], 0.4, True))
    if part := figures.get("embedded"):
        milliseconds = part["one question, ms"]["komrc onnx-int8"]["median"]
        rows.append((f"one question on {part['characters']} characters, ms", milliseconds, 60, False))
    if part := figures.get("start"):
        rows.append(("start to first answer, s", part["seconds"]["median"], 1.5, False))
        rows.append(("its peak memory, MB", part["memory MiB"]["median"] * 2**20 / 1e6, 250, False))
        if part.get("installed MB"):
            size = part["installed MB"]
            rows.append(("installed komrc[serve], MB, packages' files", size["packages"], 250, False))
            rows.append(("the same with pip's bytecode", sum(size.values()), 250, False))
    if (part := figures.get("parts")) and part["questions"] == DEV:  # the targets are for the whole dev set
        many = part["features of many"]
        rows.append(("windows of the dev set, s", part["features"]["median"], 0.6, False))
        rows.append(("windows of 60,000 questions, s", many["median"], 8, False))
        rows.append(("their memory above start, MB", many["MB above start"], 300, False))
        rows.append(("decoding of the dev set, s", part["decoding"]["median"], 3, False))
    head = ["", "found", "target", ""]
    lines = []
    for name, value, target, more in rows:
        met = value >= target if more else value <= target
        bound = f"at {'least' if more else 'most'} {target:g}"
        lines.append([name, f"{value:.2f}", bound, "met" if met else "missed"])
    return "### Targets\n\n" + table(head, lines)


def _footer(part: Figures) -> str:
    m = part["machine"]
    what = ", ".join(f"{name} {m[name]}" for name in ("torch", "onnxruntime", "transformers", "python"))
    line = (
        f"{m['date']}; {m['processor']} ({', '.join(m['instructions'])}), {m['cores']} cores, "
        f"{m['memory GiB']} GiB; load before: {m['load before']}; {what}."
    )
    return f"\n{textwrap.fill(line, 110, break_long_words=False)}\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def _range(value: dict[str, float], digits: int = 2) -> str:
    low = f" ({value['low']:.{digits}f} to {value['high']:.{digits}f})" if "low" in value else ""
    return f"{value['median']:.{digits}f}{low}"


def _best(rates: Figures, names: Sequence[str]) -> tuple[str, float]:
    found = {name: rates[name]["median"] for name in names if name in rates}
    name = max(found, key=lambda key: found[key])
    return name, found[name]


def _throughput(part: Figures) -> str:
    rates, limit = part["questions a second"], part["limit, questions a second"]
    rows = [
        [
            name,
            _range(value),
            f"{value['median'] / limit[KINDS.get(name, 'fp32')]:.2f}",
            f"{part['memory MiB'][name]:.0f}",
        ]
        for name, value in rates.items()
    ]
    rows += [
        [f"limit: matrix products alone, {name}", f"{value:.2f}", "1", ""] for name, value in limit.items()
    ]
    text = "### Throughput: KoBERT's architecture, random weights\n\n"
    text += (
        f"{part['questions']} real questions, {part['windows']} windows, {part['tokens']} tokens a round.\n\n"
    )
    text += table(
        ["", "questions a second (lowest to highest round)", "share of its limit", "peak MiB"], rows
    )
    speeds = part["GFLOP/s"]
    kinds_of = list(speeds["fp32"])
    text += "\nBest GEMM, GFLOP/s:\n\n" + table(
        ["", *kinds_of], [[name, *(f"{value[k]:.0f}" for k in kinds_of)] for name, value in speeds.items()]
    )
    return text


def _embedded(part: Figures) -> str:
    rows = [
        [name, _range(value, 1), _range(part["one question, ms"][name], 1), f"{part['memory MiB'][name]:.0f}"]
        for name, value in part["questions a second"].items()
    ]
    head = ["", "questions a second", f"ms for one, {part['characters']} characters", "peak MiB"]
    return "### The embedded model\n\n" + table(head, rows)


def _start(part: Figures) -> str:
    keys = ("import", "load", "first answer", "seconds")
    rows = [[key.replace("seconds", "all together"), f"{part[key]['median']:.2f} s"] for key in keys]
    rows.append(["peak memory", f"{part['memory MiB']['median']:.0f} MiB"])
    if part.get("installed MB"):
        size = part["installed MB"]
        rows.append(["installed size of komrc[serve]: its packages' files", f"{size['packages']:.0f} MB"])
        rows.append(["with the bytecode that pip compiles", f"{sum(size.values()):.0f} MB"])
    return "### Start of the embedded model, and size\n\n" + table(["", ""], rows)


def _parts(part: Figures) -> str:
    n, many = part["questions"], part["features of many"]
    naive, ours = part["features, the 2020 way"]["median"], part["features"]["median"]
    rows = [
        [f"features of {n:,} questions ({part['windows']:,} windows)", f"{ours:.3f} s", ""],
        [
            "the same the 2020 way, written again naively",
            f"{naive:.2f} s",
            f"{naive / ours:.0f} times as long",
        ],
        [
            f"features of {many['questions']:,} questions",
            f"{many['median']:.2f} s",
            f"{many['MB above start']:.0f} MB above start at most",
        ],
        [
            f"decoding of {n:,} questions",
            f"{part['decoding']['median']:.3f} s",
            f"{1e6 * part['decoding']['median'] / n:.0f} µs a question",
        ],
        [
            f"metric of {n:,} predictions",
            f"{part['metric']['median']:.3f} s",
            f"{n / part['metric']['median']:,.0f} a second",
        ],
    ]
    return "### Parts\n\n" + table(["", "median", ""], rows)


def _growth(part: Figures) -> str:
    rows = [
        [
            f"{entry['size']:,} {what}",
            f"{entry['seconds']:.3f} s",
            f"{1000 * entry['seconds'] / entry['size']:.3f} ms",
            f"{entry['memory MiB']:.0f}",
        ]
        for what in ("questions", "characters")
        for entry in part[what]
    ]
    plot = "\n![Seconds over size](benchmarks-growth.svg)\n"
    return "### Cost over size, embedded model\n\n" + table(["", "seconds", "each", "peak MiB"], rows) + plot


def _training(part: Figures) -> str:
    speeds = part["real tokens a second"]
    ratio = speeds["komrc"]["median"] / speeds["2020"]["median"]
    rows = [
        ["the recipe of 2020: padded to 512, fp32, batch 8", _range(speeds["2020"], 0), ""],
        ["komrc train", _range(speeds["komrc"], 0), f"{ratio:.2f} times (target 2.5)"],
    ]
    share = part["share of the GEMM limit (bf16)"]
    return (
        "### Training, KoBERT's architecture\n\n"
        + table(["", "real tokens a second", ""], rows)
        + f"\n{part['GFLOP/s']:.0f} GFLOP/s in forward and backward: {share:.2f} of what the matrix products "
        "alone reach in bf16.\n"
    )


def _gpu(part: Figures) -> str:
    text = "### Training on a GPU, KoBERT's architecture at 512 tokens\n\n"
    if "not run" in part:
        how = "`python -m benchmarks --only gpu` on a machine with one fills this in."
        return f"{text}Not run: {part['not run']}. {how}\n"
    rows = [
        ["device", part["device"]],
        ["real tokens a second", _range(part["real tokens a second"], 0)],
        ["share of 989 TFLOP/s (target 0.40)", f"{part['share of 989 TFLOP/s']:.2f}"],
        ["60,407 questions, 3 epochs", f"{part['minutes for KorQuAD']:.1f} minutes"],
    ]
    return text + table(["", ""], rows)


def _quantization(part: Figures) -> str:
    rows = [
        [
            name,
            f"{w['exact_match']:.2f}",
            f"{w['f1']:.2f}",
            f"{w['same answer']:.1f} %",
            f"{w['ms a question']:.1f}",
            f"{w['MB']:.0f}",
        ]
        for name, w in part["ways"].items()
    ]
    head = ["", "EM", "F1", "same answer as fp32", "ms a question", "MB"]
    return f"### Quantization: {part['model']}, {part['questions']} questions of the dev set\n\n" + table(
        head, rows
    )


def _plot(part: Figures, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "komrc", "svg.fonttype": "none"}  # text as text: a small file
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, what in zip(axes, ("questions", "characters"), strict=True):
        sizes = [entry["size"] for entry in part[what]]
        seconds = [entry["seconds"] for entry in part[what]]
        axis.loglog(sizes, seconds, "o-", label="measured")
        each = seconds[-1] / sizes[-1]
        axis.loglog(sizes, [each * size for size in sizes], "--", color="gray", label="in proportion")
        axis.set_xlabel("questions" if what == "questions" else "characters of context, one question")
        axis.set_ylabel("seconds")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
