"""How long certificates of ``make-certificates.sh`` are valid, and how they and their CA are renewed."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "deploy" / "make-certificates.sh"
DAY = 86400

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


class Federation:
    """The folders of the CA, of the SuperLink, and of a node with its copy of ca.crt."""

    def __init__(self, root):
        self.ca, self.link, self.node = root / "ca", root / "superlink", root / "node"
        self.authority = self.ca / "ca.crt"
        self.certificate, self.key = self.link / "server.pem", self.link / "server.key"
        self.trusted = self.node / "ca.crt"

    def make(self, **settings):
        """Run the script on the folders, and return its outcome."""
        env = {k: v for k, v in os.environ.items() if k not in ("DAYS", "CA_DAYS")}
        command = [SCRIPT, self.ca, self.link, "localhost", "127.0.0.1"]
        return subprocess.run(command, env=env | settings, capture_output=True, text=True)

    def copy(self, root):
        """A federation with copies of the files, which a test may change."""
        for folder in filter(Path.exists, (self.ca, self.link, self.node)):
            shutil.copytree(folder, root / folder.name)
        return Federation(root)

    def tell_the_node(self):
        """Bring ca.crt to the node, as an operator does."""
        self.node.mkdir(exist_ok=True)
        shutil.copy(self.authority, self.trusted)

    def files(self):
        """The bytes of every file, including hidden and temporary ones."""
        found = (p for folder in (self.ca, self.link) for p in folder.rglob("*"))
        return {p: p.read_bytes() if p.is_file() else None for p in found}


def openssl(*arguments):
    """What openssl prints. It has to succeed."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objection(authority, certificate, day=0):
    """Why a node with that ca.crt rejects a certificate on a later day, or None if it trusts it."""
    moment = ["-attime", str(int(time.time()) + day * DAY)]
    command = ["openssl", "verify", *moment, "-CAfile", authority, certificate]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else None


def belong_together(certificate, key):
    """Whether a certificate belongs to a key."""
    return openssl("x509", "-pubkey", "-noout", "-in", certificate) == openssl(
        "pkey", "-pubout", "-in", key
    )


def set_aside(authority):
    """Move a ca.crt away, as the script says, and return its new place."""
    return authority.rename(authority.with_name("ca-old.crt"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A federation after the first run. The node has its ca.crt."""
    federation = Federation(tmp_path_factory.mktemp("first"))
    done = federation.make()
    assert done.returncode == 0, done.stderr
    federation.told = done
    federation.tell_the_node()
    return federation


@pytest.fixture(scope="module")
def renewed(first, tmp_path_factory):
    """The same after a second run with DAYS=3000. The node was not told."""
    federation = first.copy(tmp_path_factory.mktemp("renewed"))
    federation.key.chmod(0o640)
    done = federation.make(DAYS="3000")
    assert done.returncode == 0, done.stderr
    return federation


@pytest.fixture(scope="module")
def yearly(tmp_path_factory):
    """A federation of an older version of the script, whose CA and certificate are valid for one year."""
    federation = Federation(tmp_path_factory.mktemp("yearly"))
    federation.ca.mkdir()
    federation.link.mkdir()
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    authority = ["-x509", "-days", "365", "-subj", "/CN=flower-ca", "-out", federation.authority]
    constraints = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    extensions = [word for constraint in constraints for word in ("-addext", constraint)]
    openssl(*new, *authority, *extensions, "-keyout", federation.ca / "ca.key")
    request = federation.link / "server.csr"
    openssl(*new, "-new", "-subj", "/CN=localhost", "-keyout", federation.key, "-out", request)
    signer = ["-CA", federation.authority, "-CAkey", federation.ca / "ca.key", "-CAcreateserial"]
    sign = ["x509", "-req", "-days", "365", *signer]
    openssl(*sign, "-in", request, "-out", federation.certificate)
    request.unlink()
    shutil.copy(federation.authority, federation.link)
    federation.tell_the_node()
    return federation


def test_a_first_run_says_what_it_made_and_nothing_else(first):
    made = f"made {first.authority}\nmade {first.certificate} for DNS:localhost,IP:127.0.0.1\n"
    assert (first.told.stdout, first.told.stderr) == (made, "")
    left = {path.relative_to(first.ca.parent).as_posix() for path in first.files()}
    link = {f"superlink/{name}" for name in ("ca.crt", "server.key", "server.pem")}
    assert left == {"ca/ca.crt", "ca/ca.key"} | link
    assert all(path.stat().st_mode & 0o077 == 0 for path in first.files())


def test_the_servers_certificate_is_valid_for_a_year(first):
    assert objection(first.trusted, first.certificate) is None
    assert objection(first.trusted, first.certificate, day=364) is None
    ended = objection(first.trusted, first.certificate, day=366)
    assert "error 10 at 0 depth" in ended
    assert "at 1 depth" not in ended  # the CA has not ended


def test_the_ca_is_valid_for_ten_years(first):
    assert objection(first.trusted, first.authority, day=3600) is None
    assert "expired" in objection(first.trusted, first.authority, day=3651)


def test_certificates_are_valid_for_those_who_verify_strictly(first):
    """Python 3.13 verifies so: a certificate has to name its CA's key, and the CA its own."""
    openssl("verify", "-x509_strict", "-CAfile", first.trusted, first.certificate)
    for certificate in (first.authority, first.certificate):
        text = openssl("x509", "-noout", "-text", "-in", certificate)
        assert text.count("Subject Key Identifier") == 1
    assert "Authority Key Identifier" in text
    assert "serial:" not in text  # a renewed CA has another serial number


def test_a_node_with_the_first_runs_ca_trusts_the_renewed_certificate(first, renewed):
    assert renewed.certificate.read_bytes() != first.certificate.read_bytes()
    assert belong_together(renewed.certificate, renewed.key)
    assert objection(first.trusted, renewed.certificate) is None
    assert objection(first.trusted, renewed.certificate, day=2900) is None


def test_renewing_the_certificate_leaves_the_ca_alone(first, renewed):
    for name in ("ca.key", "ca.crt"):
        assert (renewed.ca / name).read_bytes() == (first.ca / name).read_bytes()
    assert (renewed.link / "ca.crt").read_bytes() == first.trusted.read_bytes()
    assert renewed.files().keys() == {
        renewed.ca.parent / path.relative_to(first.ca.parent) for path in first.files()
    }


def test_a_renewed_key_can_be_read_by_whoever_could_read_it(renewed):
    assert renewed.key.stat().st_mode & 0o777 == 0o640


def test_a_certificate_that_would_outlive_its_ca_is_refused(first, tmp_path):
    federation = first.copy(tmp_path)
    before = federation.files()
    done = federation.make(DAYS="3650")
    assert done.returncode == 1
    assert federation.files() == before
    ends = openssl("x509", "-enddate", "-noout", "-in", federation.authority).strip()
    ca = f"the CA, {federation.authority}, ends on {ends.removeprefix('notAfter=')}"
    assert f"DAYS=3650 is too many: {ca}" in done.stderr
    assert "Pass DAYS=3649 or fewer, or renew the CA" in done.stderr


def test_the_number_of_days_that_a_refusal_names_is_accepted(yearly, tmp_path):
    federation = yearly.copy(tmp_path)
    (days,) = re.findall(r"Pass DAYS=(\d+) or fewer", federation.make(DAYS="400").stderr)
    assert days == "364"
    done = federation.make(DAYS=days)
    assert done.returncode == 0, done.stderr
    assert objection(yearly.trusted, federation.certificate, day=363) is None


def test_a_new_ca_has_to_outlive_the_certificate_too(tmp_path):
    done = Federation(tmp_path).make(DAYS="400", CA_DAYS="400")
    assert done.returncode == 1
    assert "DAYS=400" in done.stderr
    assert "CA_DAYS=400" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_ca_of_one_year_is_renewed_as_the_refusal_says(yearly, tmp_path):
    federation = yearly.copy(tmp_path)
    before = federation.files()
    refused = federation.make(DAYS="400")
    assert refused.returncode == 1
    assert federation.files() == before
    old = federation.ca / "ca-old.crt"
    assert f"renew the CA: mv {federation.authority} {old}, leave" in refused.stderr
    set_aside(federation.authority)
    done = federation.make(DAYS="400")
    assert done.returncode == 0, done.stderr
    assert f"made {federation.authority}\n" in done.stdout
    assert (federation.ca / "ca.key").read_bytes() == before[federation.ca / "ca.key"]
    assert belong_together(federation.certificate, federation.key)
    assert (federation.link / "ca.crt").read_bytes() == federation.authority.read_bytes()
    # Nodes with the old ca.crt, nodes with the new one, and the certificate that was made before.
    assert objection(yearly.trusted, federation.certificate, day=364) is None
    assert "error 10 at 1 depth" in objection(yearly.trusted, federation.certificate, day=366)
    assert objection(federation.authority, federation.certificate, day=399) is None
    assert objection(federation.authority, yearly.certificate, day=364) is None
    assert objection(federation.authority, federation.authority, day=3600) is None


def test_without_the_cas_key_nothing_is_made(first, tmp_path):
    federation = first.copy(tmp_path)
    (federation.ca / "ca.key").unlink()
    before = federation.files()
    done = federation.make()
    assert done.returncode == 1
    assert f"{federation.ca / 'ca.key'} is not there" in done.stderr
    assert "Put the key there" in done.stderr
    assert federation.files() == before


def test_a_new_ca_does_not_take_the_place_of_one_that_nodes_trust(first, tmp_path):
    """If ca.crt was moved and ca.key is elsewhere, the script would make a new CA that no node knows."""
    federation = first.copy(tmp_path)
    (federation.ca / "ca.key").unlink()
    set_aside(federation.authority)
    before = federation.files()
    done = federation.make()
    assert done.returncode == 1
    assert f"{federation.link / 'ca.crt'} is another CA's" in done.stderr
    assert federation.files() == before


def test_where_openssl_fails_its_words_are_shown_and_the_files_stay(first, yearly, tmp_path):
    federation = first.copy(tmp_path)
    shutil.copy(yearly.ca / "ca.key", federation.ca)
    before = federation.files()
    done = federation.make()
    assert done.returncode == 1
    assert "openssl x509 failed" in done.stderr
    assert "do not match" in done.stderr
    assert done.stdout == ""
    assert federation.files() == before


@pytest.mark.parametrize("name", ["DAYS", "CA_DAYS"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a year", "0365", "1000000", "1" * 30])
def test_days_are_whole_numbers(name, value, tmp_path):
    done = Federation(tmp_path).make(**{name: value})
    assert done.returncode == 2
    assert re.match(rf"{name} has to be a whole number .* found '{value}'", done.stderr)
    assert f"Pass for example {name}=" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "host",
    ["localhost 10.0.0.1", "localhost:9092", "a,b", "münchen.de", "1.2.3", "1.2.3.400", "-a", ""],
)
def test_hosts_are_names_or_addresses(tmp_path, host):
    command = [SCRIPT, tmp_path / "ca", tmp_path / "server", "localhost", host]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "HOST has to be a DNS name or an IP address" in done.stderr
    assert not (tmp_path / "ca").exists()


def test_names_may_be_as_long_as_dns_allows(tmp_path):
    long = ".".join(["a" * 60] * 4)
    command = [SCRIPT, tmp_path / "ca", tmp_path / "server", long, "*.example", "::1", "10.0.0.1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"for DNS:{long},DNS:*.example,IP:::1,IP:10.0.0.1" in done.stdout
