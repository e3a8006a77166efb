#!/usr/bin/env python3
"""Changes that nobody planted: which of those that cargo-mutants lists do the tests notice?

    tests/mutants/mutants.py sqlite            # builds, asks, prints the score; goes on where it was cut short
    tests/mutants/mutants.py sqlite --again    # asks once more about what was missed, with the tests of today
    tests/mutants/mutants.py postgres --only claim.rs --jobs 4
    tests/mutants/mutants.py postgres-sql --only settle_plain --near

Needs Python 3.9 and `cargo install cargo-mutants --locked`. cargo-mutants itself builds once per change. This puts all
changes of a part into one build: each function gets a copy of its body per change, and a number in the environment says
which copy runs.

    fn is_due(at: u64, now: u64) -> bool { match crate::__change() { 7 => { at < now } _ => { at <= now } } }

The changed text is cargo-mutants' own. Of SQL, which it knows nothing of, `sql_changes.py` lists them, and the same number says which
text a statement has. What does not compile is found from the compiler's errors and dropped. The switch
cannot be asked in a constant, in a `const` function that a constant needs, and where `impl Trait` is returned, since copies
would be of different types: with `--apart` each of those has a build of its own, otherwise it counts as not tried.

A change is noticed when a test fails, or does not end in three times its usual time and half a minute. The suites of a part
are asked from the quickest on, each about what those before have missed; about a statement, and Postgres's Rust, first the cases that are nearest to it. What no test can notice is in `explained.txt`; functions
whose comment begins with "Planted bugs only" do nothing in these builds, and need no line there.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import sql_changes

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = Path(__file__).with_name("explained.txt")
SWITCH = "TOURBILLON_CHANGE"
# Address space of one test process: a change may well make a loop that allocates.
MEMORY_KIB = 8 << 20
LIBRARY = "lib"
SUITE = "tourbillon-tests"

# Of each part: where the changes are, and who is asked, as (package, test target, filter), the quickest first.
PARTS = {
    "checkers": (["sim/src/checker/*.rs"], [("tourbillon-sim", LIBRARY, "checker")]),
    "core": (
        ["core/src/plan/**/*.rs", "core/src/model/transition.rs", "core/src/health/*.rs", "core/src/store/apply/*.rs"],
        [("tourbillon", LIBRARY, ""), (SUITE, "conformance", "memory::")],
    ),
    "sqlite": (
        ["sqlite-backend/src/*.rs"],
        [
            ("tourbillon-sqlite", LIBRARY, ""),
            ("tourbillon-sqlite", "file", ""),
            ("tourbillon-sqlite", "transaction", ""),
            ("tourbillon-sqlite", "sharing", ""),
            ("tourbillon-sqlite", "differential", ""),
            (SUITE, "conformance", "sqlite::"),
            (SUITE, "conformance", "sqlite_file::"),
        ],
    ),
    "postgres": (
        ["pg-backend/src/*.rs"],
        [
            ("tourbillon-pg", LIBRARY, ""),
            (SUITE, "postgres", ""),
            (SUITE, "conformance", "postgres::"),
            (SUITE, "conformance", "pooled::"),
            (SUITE, "races", "postgres::"),
        ],
    ),
    "postgres-sql": (
        ["pg-backend/sql/*.sql"],
        [
            (SUITE, "conformance", "postgres::"),
            # Its rows tell of exceptions alone, and take the short ways.
            (SUITE, "conformance", "pooled::"),
            (SUITE, "postgres", ""),
            (SUITE, "races", "postgres::"),
        ],
    ),
}
# Both calls of each pair at once, which what one session does alone cannot show.
PERMUTATIONS = "races postgres::every_pair"
# Of a statement, by what its file is called: topics of conformance that are about it, which are asked before the whole. With a
# store in front it is that one's, and "program filter" is of another program.
NEAREST = {
    "cancel": ["cancel"], "check": ["enqueue", "postgres key"], "claim": ["claim", "limits", "rates", "pauses", "unreadable", "postgres held::", "postgres gate", "postgres who_takes"], "claim_again": ["receipts"],
    "claim_onward": ["postgres claim"], "claim_plain": ["pooled::claim", "postgres claim"],
    "clamp": ["clock_steps", "rates", "lock", "postgres held::"], "clean": ["items"], "delete": ["items"],
    "edit_schedule": ["stored_schedules", "plan"], "enqueue": ["enqueue", "limits", "items", "audit", "postgres gate"],
    "heartbeat": ["heartbeat", "claim"], "hold_lock": ["lock", "postgres an_acquire"],
    "list_audit": ["audit"], "list_executions": ["list"], "list_items": ["items"], "list_jobs": ["jobs"],
    "list_pauses": ["pauses"], "list_recent": ["jobs", "list"], "list_schedules": ["stored_schedules"], "list_scopes": ["jobs"],
    "list_skipped": ["list", "prune"], "lock": ["lock"], "lock_executions": ["requeue", "cancel", PERMUTATIONS],
    "lock_jobs": ["register", PERMUTATIONS], "lock_queue": ["enqueue", PERMUTATIONS],
    "lock_requeue": ["requeue", PERMUTATIONS], "make_gates": ["limits"], "pause": ["pauses"],
    "plan": ["plan", "pauses", "stored_schedules", "limits", "clock_steps", "postgres gate"],
    "prune": ["prune", "rates", "stored_schedules", "pauses"], "prune_gates": ["postgres gate"],
    "read_cursors": ["plan", "pauses", "stored_schedules"], "read_due": ["claim"], "read_queue": ["items", "rates"],
    "read_stats": ["list", "rates"], "register": ["register", "plan"],
    "requeue": ["requeue", "items", "enqueue", "limits", "postgres gate"], "rescue": ["rescue", "clock_steps", "postgres a_rescued", "postgres held::gates"], "resume": ["pauses"],
    "set_aside": ["unreadable", "postgres held::"], "settle": ["settle", "cancel", "limits", "postgres held::gates"],
    "settle_plain": ["pooled::settle", "postgres settle"], "start": ["start", "claim"], "tell": ["notices"],
    "trigger": ["pauses", "postgres gate"], "update": ["items", "enqueue"],
}
# Of Postgres's Rust, by its file: what is asked before the whole.
NEAREST_OF_RUST = {
    "bind": ["prune", "plan", "heartbeat", "rescue", "lock"],
    "builder": ["postgres settings_that", "postgres unreachable", "postgres connection::", "postgres pooler"],
    "claim": ["claim", "pooled::claim", "rates", "pooled::rates", "limits", "unreadable", "receipts", "postgres claim", "postgres onward"],
    "error": ["postgres is_unavailable", "postgres privilege", "postgres missing_schema", "postgres crash_of",
              "postgres first_cursor", "races postgres::producers"],
    "herald": ["postgres connection::", "postgres announced", "postgres closing_store"],
    "item": ["items"], "listener": ["postgres listener", "postgres hear"], "migrate": ["migrate", "postgres migrat", "postgres schema_newer"],
    "parameter": ["prune", "items", "enqueue"], "pause": ["pauses"], "planted": ["postgres planted::"],
    "queue": ["enqueue", "pooled::enqueue", "items", "postgres transaction", "postgres a_key", "races postgres::producers",
              PERMUTATIONS],
    "schedule": ["stored_schedules"],
    "session": ["postgres connection::", "postgres call_leaves", "postgres late_answer", "postgres transaction", "postgres pooler", "enqueue", "pooled::enqueue"],
    "session_lock": ["postgres session_lock", "postgres ended_session", "postgres dropped_session"],
    "settle": ["settle", "pooled::settle", "cancel", "postgres short_way"], "sql": ["postgres planted::", "claim", "postgres claim"],
    "store": ["postgres connection::", "postgres settings_that", "postgres gate", "postgres crash_of", "postgres transaction", "enqueue", "pauses", "postgres announced",
              "postgres closing_store", "postgres enqueue", "postgres claim", PERMUTATIONS],
    "transaction": ["postgres transaction"],
}
# Asked of every statement behind those: sequences, which have all verbs.
SEQUENCES = ["generated", "pooled::generated"]
# Asked of a row lock instead.
LOCKS = ["postgres held::", "postgres passes_over", "postgres an_acquire", "races postgres::opposite", "races postgres::a_lock", PERMUTATIONS]
# Where a part's statements are read into the program.
READERS = {"postgres-sql": "pg-backend/src/sql.rs"}

SWITCH_FUNCTION = f"""
#[doc(hidden)]
pub(crate) fn __change() -> u32 {{
    static CHANGE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *CHANGE.get_or_init(|| std::env::var("{SWITCH}").ok().and_then(|number| number.parse().ok()).unwrap_or(0))
}}
"""

SQL_FUNCTION = """
#[doc(hidden)]
pub(crate) fn __sql(text: &'static str) -> &'static str {
    const CHANGES: &[(u32, &str, std::ops::Range<usize>, &str)] = &[
%s
    ];
    let change = CHANGES.iter().find(|(number, whole, ..)| *number == __change() && *whole == text);
    change.map_or(text, |(_, _, place, new)| {
        format!("{}{new}{}", &text[..place.start], &text[place.end..]).leak()
    })
}
"""


class Source:
    """A source file, with places as offsets of characters."""

    def __init__(self, file):
        self.text = (ROOT / file).read_text()
        self.lines = [0] + [at + 1 for at, letter in enumerate(self.text) if letter == "\n"]

    def place(self, span):
        return tuple(self.lines[end["line"] - 1] + end["column"] - 1 for end in (span["start"], span["end"]))


class Function:
    """A function that has changes: where its block is, and what its header says of the switch."""

    def __init__(self, source, listed):
        self.begin, self.end = source.place(listed["span"])
        self.name = listed["function_name"].split("::")[-1]
        self.changes = []
        # Comments and attributes may have braces, and the words that are looked for.
        text = re.sub(r"//[^\n]*|/\*.*?\*/|#\[[^\]]*\]", lambda found: " " * len(found[0]),
                      source.text[self.begin:self.end], flags=re.S)
        name = re.search(rf"\bfn\s+{re.escape(self.name)}\b", text)
        depth, at = 0, name.end()
        while depth or text[at] != "{":
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[at], 0)
            at += 1
        self.block = self.begin + at
        self.is_opaque = re.search(r"->.*\bimpl\b", text[name.end():at], flags=re.S) is not None
        above = source.text[:self.begin + name.start()].rsplit("\n\n", 1)[-1]
        self.is_planted = re.search(r"^\s*/// Planted bugs only\b", above, re.M) is not None
        constant = re.search(r"\bconst\s+(?=fn\b|async\b|unsafe\b)", text[:name.end()])
        self.constant = constant and (self.begin + constant.start(), self.begin + constant.end())

    def rewrite(self, text, inner, constants):
        """The function as one that asks the switch; `inner` are those inside it."""
        head = text[self.begin:self.block]
        if self.constant and self.name not in constants:
            head = text[self.begin:self.constant[0]] + text[self.constant[1]:self.block]
        arms = [f"{change.number} => /*<{change.number}*/ {change.body(text, self)} /*{change.number}>*/\n"
                for change in self.changes]
        usual = rewrite(text, self.block + 1, self.end - 1, inner, constants)
        return f"{head}{{ match crate::__change() {{\n{''.join(arms)}_ => {{{usual}}} }} }}"


def rewrite(text, begin, end, functions, constants):
    """`text[begin:end]` with these functions in it rewritten."""
    out = []
    for function in sorted(functions, key=lambda function: function.begin):
        if function.begin >= begin and function.end <= end:
            inner = [one for one in functions if function.begin < one.begin and one.end <= function.end]
            out += [text[begin:function.begin], function.rewrite(text, inner, constants)]
            begin = function.end
    return "".join(out) + text[begin:end]


class Change:
    """One change. Its key names it without the line, so that it outlives edits elsewhere in the file."""

    def __init__(self, number, key, listed, place, function):
        self.number, self.key, self.name, self.file = number, key, listed["name"], listed["file"]
        self.begin, self.end = place
        self.replacement, self.function = listed["replacement"], function

    def body(self, text, within):
        return text[within.block:self.begin] + self.replacement + text[self.end:within.end]


class Build:
    """The copy of the workspace that has the changes."""

    def __init__(self, part, folder):
        files, self.suites = PARTS[part]
        self.tree, self.found = folder.parent / "tree", folder / "found.json"
        self.seen = collections.Counter()
        # Changes that do not compile, and functions that constants need.
        self.unviable, self.constants = map(set, load(self.found, [[], []]))
        self.sources, self.functions, self.changes, self.reader = {}, {}, [], READERS.get(part)
        if self.reader:
            self.list_sql(files)
        else:
            self.list_rust(files)

    def list_sql(self, files):
        for number, (file, name, *place, replacement) in enumerate(sql_changes.listed(ROOT, files), 1):
            self.sources.setdefault(file, Source(file))
            listed = {"name": name, "file": file, "replacement": replacement}
            self.changes.append(Change(number, self.key(name), listed, place, None))
        for file in (self.reader, str(Path(self.reader).with_name("lib.rs"))):
            self.sources[file] = Source(file)

    def list_rust(self, files):
        command = ["cargo", "mutants", "--list", "--json", "--workspace", "--colors", "never"]
        command += [argument for file in files for argument in ("--file", file)]
        listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
        for number, one in enumerate(listed, 1):
            source = self.sources.setdefault(one["file"], Source(one["file"]))
            function = None
            if one["function"]:
                place = (one["file"], source.place(one["function"]["span"]))
                function = self.functions.get(place) or Function(source, one["function"])
                self.functions[place] = function
            self.changes.append(Change(number, self.key(one["name"]), one, source.place(one["span"]), function))
        for root in {file.split("/src/")[0] + "/src/lib.rs" for file in self.sources}:
            self.sources.setdefault(root, Source(root))

    def key(self, name):
        key = re.sub(r":\d+(:\d+)?: ", ": ", name, count=1)
        self.seen[key] += 1
        return key + (f" #{self.seen[key]}" if self.seen[key] > 1 else "")

    def is_apart(self, change):
        """Whether the switch cannot be asked there."""
        function = change.function
        if self.reader:
            return False
        return not function or function.is_opaque or bool(function.constant and function.name in self.constants)

    def text(self, file, only):
        text = self.sources[file].text
        if only:
            return text[:only.begin] + only.replacement + text[only.end:] if only.file == file else text
        if self.reader:
            return self.text_of_sql(file, text)
        for function in self.functions.values():
            function.changes = []
        for change in self.changes:
            if change.file == file and not self.is_apart(change) and change.key not in self.unviable:
                change.function.changes.append(change)
        functions = [function for function in self.functions.values() if function.changes]
        text = rewrite(text, 0, len(text), functions, self.constants)
        return text + SWITCH_FUNCTION if file.endswith("/src/lib.rs") else text

    def text_of_sql(self, file, text):
        if file == self.reader:
            # Not fragments, which are in a constant.
            return re.sub(r'include_str!\((concat!.*?\)|"\.\./sql/\w+\.sql")\)', r"crate::__sql(\g<0>)", text)
        if not file.endswith("/src/lib.rs"):
            return text
        folder = Path(file).parent
        rows = []
        for change in self.changes:
            whole = self.sources[change.file].text
            begin, end = (len(whole[:at].encode()) for at in (change.begin, change.end))
            path = os.path.relpath(change.file, folder)
            rows.append(f'        ({change.number}, include_str!("{path}"), {begin}..{end}, "{change.replacement}"),')
        return text + SWITCH_FUNCTION + SQL_FUNCTION % "\n".join(rows)

    def write(self, only=None):
        """Writes what differs: all changes behind the switch, or `only` this one for good."""
        command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode()
        for file in filter(None, listed.split("\0")):
            if (ROOT / file).is_file():
                data = self.text(file, only).encode() if file in self.sources else (ROOT / file).read_bytes()
                target = self.tree / file
                if not target.is_file() or target.read_bytes() != data:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)

    def compile(self):
        """Builds the tests, without what does not compile. Returns their programs by (package, target)."""
        while True:
            self.write()
            errors, programs = self.cargo(self.suites)
            if not errors:
                return programs
            before = (len(self.unviable), len(self.constants))
            for error in errors:
                self.blame(error)
            after = (len(self.unviable), len(self.constants))
            if before == after:
                sys.exit("does not compile, and not for a change:\n" + "\n".join(error["rendered"] for error in errors))
            print(f"{after[0]} changes do not compile, {after[1]} functions stay constant", flush=True)
            save(self.found, [sorted(self.unviable), sorted(self.constants)])

    def cargo(self, suites):
        command = ["cargo", "test", "--no-run", "--message-format=json"]
        command += sorted({f"--package={package}" for package, _, _ in suites})
        for target in sorted({target for _, target, _ in suites}):
            command += ["--lib"] if target == LIBRARY else ["--test", target]
        done = subprocess.run(command, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        errors = [message["message"] for message in messages if message["reason"] == "compiler-message"]
        errors = [error for error in errors if error["level"] == "error" and error["spans"]]
        if done.returncode and not errors:
            sys.exit(done.stderr)
        programs = {}
        for message in messages:
            if message["reason"] == "compiler-artifact" and message["executable"] and message["profile"]["test"]:
                manifest, target = Path(message["manifest_path"]), message["target"]
                package = re.search(r'^name = "(.*)"', manifest.read_text(), re.M)[1]
                name = LIBRARY if LIBRARY in target["kind"] else target["name"]
                # The next build, of another part perhaps, may come before this one was asked everything.
                program = self.found.with_name(f"{package} {name}")
                if not errors:
                    program.unlink(missing_ok=True)
                    shutil.copy2(message["executable"], program)
                programs[package, name] = (program, manifest.parent)
        return errors, programs

    def ask_apart(self, run, change):
        """Asks about this change alone, in builds of its own: what is quicker to build and to run comes first."""
        self.write(only=change)
        for target in dict.fromkeys(suite[:2] for suite in self.suites):
            if change.key in run.noticed:
                return
            ours = [suite for suite in self.suites if suite[:2] == target]
            errors, programs = self.cargo(ours)
            if errors:
                self.unviable.add(change.key)
                save(self.found, [sorted(self.unviable), sorted(self.constants)])
                return
            run.ask(programs, [change], ours, is_whole=False)

    def blame(self, error):
        """Notes the change in whose text the error is, or the function that a constant needs."""
        for span in error["spans"]:
            while span["expansion"] and not (self.tree / span["file_name"]).is_file():
                span = span["expansion"]["span"]
            before = (self.tree / span["file_name"]).read_bytes()[:span["byte_start"]].decode(errors="ignore")
            begun = re.findall(r"/\*<(\d+)\*/", before)
            if span["is_primary"] and begun and f"/*{begun[-1]}>*/" not in before:
                self.unviable.add(self.changes[int(begun[-1]) - 1].key)
                return
        if (error["code"] or {}).get("code") == "E0015":
            self.constants.add(re.search(r"(\w+)(::<.*>)?`", error["message"])[1])


def ask(program, argument, number, patience):
    """Runs a suite until its first failure. Returns "passed", or how the change was noticed, and the seconds it took."""
    executable, cwd = program
    folder = tempfile.mkdtemp(prefix="mutants-")
    # Servers and children may run as somebody else.
    os.chmod(folder, 0o755)
    # With CI a trial that has no server fails, instead of being ignored.
    environment = dict(os.environ, CI="true", RUST_BACKTRACE="0", TMPDIR=folder, **{SWITCH: str(number)})
    command = ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$0" "$@"', executable] + ([argument] if argument else [])
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    began, late, failed, count = time.monotonic(), threading.Event(), None, 0

    def end():
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(patience, lambda: (late.set(), end()))
    timer.start()
    for line in process.stdout:
        count += sum(map(int, re.findall(rb"^running (\d+) test", line)))
        failed = re.search(rb"^test (.*?) +\.\.\. FAILED", line)
        if failed:
            break
    took = time.monotonic() - began
    if failed:
        end()
    status = process.wait()
    timer.cancel()
    # Whatever it started or wrote goes with it. A watchdog that stops a server has the pipe until it is done.
    end()
    process.stdout.read()
    process.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)
    if failed:
        return failed[1].decode(), took
    if late.is_set():
        return "does not end", took
    if status:
        return f"ends with {status}", took
    return ("passed" if count else "has no test"), took


def near(change):
    """The suites that are about a statement, by the longest beginning of its name that is listed, or by its last word."""
    file = Path(change.name.split(":")[0])
    if file.match("pg-backend/src/*.rs"):
        return [("tourbillon-pg", LIBRARY, ""), *map(nearest, NEAREST_OF_RUST.get(file.stem, []))]
    stem = file.stem if file.suffix == ".sql" else ""
    if stem and re.search(r": delete (for update|skip locked)", change.name):
        return [nearest(topic) for topic in LOCKS]
    for name in sorted(NEAREST, key=len, reverse=True):
        if stem.startswith(name) or stem.split("_")[-1].startswith(name):
            return [nearest(topic) for topic in [*NEAREST[name], *SEQUENCES]]
    return []


def nearest(topic):
    if " " in topic:
        return (SUITE, *topic.split(" "))
    return (SUITE, "conformance", topic if "::" in topic else f"postgres::{topic}")


class Run:
    """Asks the suites, and keeps what they say, so that it can go on after a break."""

    def __init__(self, folder, jobs):
        self.path, self.jobs, self.lock = folder / "results.json", jobs, threading.Lock()
        # How it was noticed, which suites have missed it, and the usual seconds of each suite.
        self.noticed, self.missed, self.usual = load(self.path, [{}, {}, {}])

    def ask(self, programs, changes, suites, is_whole=True):
        nearest = {change.key: list(near(change)) for change in changes}
        for one in [*dict.fromkeys(suite for suites in nearest.values() for suite in suites), *suites]:
            package, target, argument = one
            suite, program = " ".join(one), programs.get((package, target))
            left = [c for c in changes if one in suites or one in nearest[c.key]]
            left = [c for c in left if c.key not in self.noticed and suite not in self.missed.get(c.key, [])]
            # Of a change that has builds of its own, only what was built last can be asked.
            if not left or not program:
                continue
            if suite not in self.usual and is_whole:
                how, self.usual[suite] = ask(program, argument, 0, 900)
                if how != "passed":
                    sys.exit(f"{suite}, and nothing is changed: {how}")

            def one(change):
                how, _ = ask(program, argument, change.number, 3 * self.usual.get(suite, 100) + 30)
                with self.lock:
                    if how == "passed":
                        self.missed.setdefault(change.key, []).append(suite)
                    else:
                        self.noticed[change.key] = f"{suite}: {how}"
                    save(self.path, [self.noticed, self.missed, self.usual])

            with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
                for _ in pool.map(one, left):
                    pass
            noticed = sum(change.key in self.noticed for change in left)
            print(f"{suite}, {self.usual.get(suite, 0):.1f} s: notices {noticed} of {len(left)}", flush=True)


def report(part, build, run, only):
    """Prints the score, and what is behind it. Returns whether something was missed that nobody has explained."""
    lines = EXPLAINED.read_text() if EXPLAINED.is_file() else ""
    explained = dict(re.findall(r"^([^#\n].*?) # (.+)$", lines, re.M))
    changes = [change for change in build.changes if only in change.name]
    scores = collections.Counter()
    for change in changes:
        if change.key in build.unviable:
            score = "do not compile"
        elif change.key in run.noticed:
            score = "noticed"
        elif change.key not in run.missed:
            score = "not tried"
        else:
            is_planted = change.function is not None and change.function.is_planted
            score = "explained" if is_planted or change.key in explained else "missed"
        scores[score] += 1
        if score in ("missed", "not tried") or (score == "noticed" and change.key in explained):
            print(f"{score}: {change.name}")
    columns = ["do not compile", "not tried", "noticed", "explained", "missed"]
    print(f"| part | listed | {' | '.join(columns)} |\n| --- |{' --: |' * (len(columns) + 1)}")
    print(f"| {part} | {len(changes)} | {' | '.join(str(scores[column]) for column in columns)} |")
    return scores["missed"] > 0


def load(path, otherwise):
    return json.loads(path.read_text()) if path.is_file() else otherwise


def save(path, value):
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1))
    new.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--only", default="", help="changes with this in their name")
    parser.add_argument("--again", action="store_true", help="ask once more about those that were missed")
    parser.add_argument("--near", action="store_true", help="ask only the cases nearest, of Postgres")
    parser.add_argument("--apart", action="store_true", help="a build each for what cannot be behind the switch")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="test processes at once")
    parser.add_argument("--out", type=Path, default=ROOT / "target/mutants", help="where copy and results are")
    arguments = parser.parse_args()
    folder = arguments.out.resolve() / arguments.part
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CARGO_TARGET_DIR", str(folder.parent / "target"))
    build = Build(arguments.part, folder)
    run = Run(folder, arguments.jobs)
    if arguments.again:
        run.missed, run.usual = {}, {}
    programs = build.compile()
    wanted = [change for change in build.changes if change.key not in build.unviable and arguments.only in change.name]
    suites = [] if arguments.near else build.suites
    run.ask(programs, [change for change in wanted if not build.is_apart(change)], suites)
    for change in wanted if arguments.apart else []:
        if build.is_apart(change) and change.key not in run.noticed and change.key not in run.missed:
            build.ask_apart(run, change)
    sys.exit(report(arguments.part, build, run, arguments.only))


if __name__ == "__main__":
    main()
