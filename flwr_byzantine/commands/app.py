"""The commands, their options and their help."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flwr_byzantine.audit import table
from flwr_byzantine.audit.file import read_lines, without_repeated
from flwr_byzantine.commands.doctor import report

NOTE = (
    "A suspect stood out in several rounds: its updates were far larger than usual or not finite, or its "
    "replies were malformed or failed. `trimmed` and `not selected` are no evidence against a client: many "
    "rules leave some clients out in every round."
)

app = typer.Typer(
    help="Byzantine-robust federated learning with Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()


def version(wanted: bool) -> None:
    """Print the version, and exit."""
    if wanted:
        from flwr_byzantine import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Byzantine-robust federated learning with Flower."""


def fail(message: str, code: int = 2) -> typer.Exit:
    """Print what was wrong in one line, and return the exit to raise."""
    Console(stderr=True, soft_wrap=True).print(f"[red]{escape(message)}[/red]")
    return typer.Exit(code)


@app.command(epilog="Example:  flwr-byzantine audit audit.jsonl --html")
def audit(
    file: Annotated[Path, typer.Argument(help="A file written with `audit_log=`.")],
    page: Annotated[
        Path | None, typer.Argument(help="The file of the page. By default, it is beside FILE.")
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also write a page: nodes by rounds, sizes and reasons.")
    ] = False,
) -> None:
    """Print which clients are suspects, and what became of each client's replies."""
    try:
        written, unreadable = read_lines(file)
    except OSError as error:
        raise fail(
            f"Cannot read the audit log: {error}. Pass the file that `audit_log=` names"
        ) from None
    if unreadable:
        print(
            f"{unreadable} lines are left out, because they are no audit records", file=sys.stderr
        )
    records = without_repeated(written)
    if len(records) < len(written):
        repeated = len(written) - len(records)
        print(
            f"{repeated} records are left out, because a later start repeated their rounds",
            file=sys.stderr,
        )
    if not records:
        raise fail(f"{file} holds no audit records. Pass the file that `audit_log=` names")
    for line in table(records):
        print(line)
    print(NOTE, file=sys.stderr)
    if html or page is not None:
        from flwr_byzantine.lab.page.audit_page import audit_page

        page = page or file.with_name(file.name.removesuffix(".jsonl") + ".html")
        try:
            page.write_text(audit_page(records, file.name), encoding="utf-8")
        except OSError as error:
            raise fail(f"Cannot write the page: {error}") from None
        print(f"Page: {page}")


@app.command(epilog="Example:  flwr-byzantine doctor")
def doctor() -> None:
    """Print whether the installation works."""
    raise typer.Exit(report())


EXAMPLE = (
    "Example:  flwr-byzantine stress ./my-flower-app --rules app,median,nnm+phocas "
    "--attacks none,sign_flip,lie --clients 10 --byzantine 2 --rounds 5 --out stress/"
)


@app.command(epilog=EXAMPLE)
def stress(
    context: typer.Context,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="APP", help="The folder of a Flower app, the same as for `flwr run`."
        ),
    ],
    rules: Annotated[
        str,
        typer.Option(
            help="Names of rules, with commas. `app` is the app alone, and `fedavg` is the plain mean."
        ),
    ] = "app,fedavg,median,phocas,covariance_filter,nnm+phocas",
    attacks: Annotated[
        str, typer.Option(help="Names of attacks, with commas. `none` is no attack.")
    ] = "none,sign_flip,lie,ipm,min_max",
    malicious: Annotated[
        str | None,
        typer.Option(help="`module:app`: a ClientApp in the app's folder that attackers run."),
    ] = None,
    clients: Annotated[int, typer.Option(help="How many nodes there are.")] = 10,
    byzantine: Annotated[
        str, typer.Option(metavar="NODES", help="How many of them attack: 2, or 20%.")
    ] = "2",
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of training. By default, the app's own number.")
    ] = None,
    rounds_key: Annotated[
        str | None, typer.Option(help="The key of the app's configuration that sets the rounds.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "-c",
            "--run-config",
            help="Other values of the app's configuration, written as for `flwr run`.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of all random choices.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            help="How many runs there are of each rule and attack, with consecutive seeds."
        ),
    ] = 1,
    metric: Annotated[
        str | None, typer.Option(help="The metric by which results are compared.")
    ] = None,
    lower_is_better: Annotated[
        bool | None,
        typer.Option(
            "--lower-is-better/--higher-is-better",
            help="By default, the name of the metric decides.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="`inline`: several runs work at once. `ray`: Flower's Ray engine, several nodes at once."
        ),
    ] = "inline",
    jobs: Annotated[
        int | None,
        typer.Option(
            help="How many runs (with Ray: nodes) work at once. By default, as many as there are cores."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for stress.json and stress.html.")] = Path(
        "stress"
    ),
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the app logs.")] = False,
) -> None:
    """Attack an app with several rules in front of it, and say which rule to take."""
    from flwr_byzantine.commands.options import part_of
    from flwr_byzantine.commands.stress import stress_shown

    try:
        stress_shown(
            console,
            folder,
            rules=_names(rules),
            attacks=_names(attacks),
            malicious=malicious,
            clients=clients,
            byzantine=part_of("byzantine", byzantine, clients),
            rounds=rounds,
            rounds_key=rounds_key,
            config=config or [],
            seed=seed,
            seeds=seeds,
            metric=metric,
            lower_is_better=lower_is_better,
            engine=engine,
            jobs=jobs,
            out=out,
            verbose=verbose,
        )
    except ValueError as error:
        raise fail(_in_options(error, context)) from None
    except KeyboardInterrupt:
        message = f"Stopped. Finished runs are kept in {out}. The same command goes on from there."
        raise fail(message, 130) from None


PLAN = "Example:  flwr-byzantine plan --population 100 --byzantine 10 --sample 20 --rounds 200 --risk 1e-3"


@app.command(epilog=PLAN)
def plan(
    context: typer.Context,
    population: Annotated[
        str, typer.Option(metavar="NODES", help="How many nodes a round may ask.")
    ],
    byzantine: Annotated[
        str,
        typer.Option(metavar="NODES", help="How many of these nodes are Byzantine: 10, or 10%."),
    ],
    rounds: Annotated[str, typer.Option(metavar="ROUNDS", help="How many rounds there are.")],
    sample: Annotated[
        str | None, typer.Option(metavar="NODES", help="How many of these nodes each round asks.")
    ] = None,
    fraction_train: Annotated[
        str | None,
        typer.Option(
            "--fraction-train",
            "--fraction-fit",
            metavar="SHARE",
            help="Which share of these nodes each round asks, in place of --sample.",
        ),
    ] = None,
    risk: Annotated[
        str,
        typer.Option(
            metavar="RISK",
            help="The accepted probability that some round has more than f Byzantine nodes.",
        ),
    ] = "1e-3",
    rules: Annotated[
        str, typer.Option(help="Names of rules, with commas, such as nnm+krum. By default, all.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the f to assume for a sample of the nodes, and which rules that allows."""
    from flwr_byzantine.commands.plan_shown import plan_written

    try:
        for line in plan_written(
            population,
            byzantine,
            sample=sample,
            fraction=fraction_train,
            rounds=rounds,
            risk=risk,
            rules=_names(rules),
            as_json=as_json,
        ):
            print(line)
    except ValueError as error:
        raise fail(_in_options(error, context)) from None


def _in_options(error: ValueError, context: typer.Context) -> str:
    """The text of an error, with the options of the command in the place of parameters."""
    from flwr_byzantine.commands.options import as_options

    options = [
        one for one in context.command.params if one.param_type_name == "option" and one.name
    ]
    flags = [one.name for one in options if getattr(one, "is_flag", False)]
    return as_options(str(error), {one.name: max(one.opts, key=len) for one in options}, flags)


def _names(text: str) -> list[str]:
    """The names in a text that separates them by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
