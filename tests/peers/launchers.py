#!/usr/bin/env python3
"""What launchers do with a Ctrl-C while they start, with a job that is stopped for longer than its time
limit, and with output that does not end in a newline: cobre-launch, Open MPI, MPICH, Intel MPI. The ranks
are no MPI programs. Prints Markdown.

    tests/peers/launchers.py LAUNCHER [MPIS]   LAUNCHER is cobre-launch; MPIS a folder as
                                               benches/install-mpis.sh makes it, besides those in PATH
"""
import os, pty, random, re, select, shutil, signal, subprocess, sys, time

TRIES = 60
LIMIT, STOP = 3, 5
QUIET = 8
RANKS = 2

SLOWLY = "import os,time\nfor i in range(100): os.write(1, {}); time.sleep(0.05)"
OUTPUT = {
    "bar": SLOWLY.format(r"b'\r%d' % i"),
    "dots": SLOWLY.format("b'.'"),
    "question": "import os\nos.write(1, b'x' * 4096 + b'continue? ')\nos.read(0, 1)",
}


def launchers(ours, mpis):
    """Name, command line up to the number of ranks, arguments and variables of a time limit."""
    def version(command):
        text = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        return re.search(r"\d+\.\d+(\.\d+)?", text).group()
    found = [("cobre-launch", [ours, "-n"], ["--timeout", f"{LIMIT}s"], {})]
    open_mpi = [shutil.which("mpirun.openmpi"), f"{mpis}/openmpi/bin/mpirun"]
    root = ["--allow-run-as-root", "--oversubscribe", "-n"]
    for command in filter(lambda path: path and os.path.exists(path), open_mpi):
        found.append((f"Open MPI {version(command)}", [command, *root], ["--timeout", str(LIMIT)], {}))
    limit = {"MPIEXEC_TIMEOUT": str(LIMIT)}
    hydras = [("MPICH", shutil.which("mpirun.mpich")), ("MPICH", f"{mpis}/mpich/bin/mpiexec.hydra"),
              ("Intel MPI", f"{mpis}/impi/bin/mpiexec.hydra")]
    for name, command in hydras:
        if command and os.path.exists(command):
            found.append((f"{name} {version(command)}", [command, "-n"], [], limit))
    return found


def on_terminal(command, mark):
    """Starts `command` on a terminal of its own; returns when it has been executed."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ["LAUNCHER_MARK"] = mark
        os.execvp(command[0], command)
    me = os.readlink("/proc/self/exe")
    while True:
        try:
            if os.readlink(f"/proc/{pid}/exe") != me:
                return pid, terminal
        except OSError:
            return pid, terminal


def read(terminal, until):
    """What the terminal shows until then, with times, or until it closes."""
    while (rest := until - time.monotonic()) > 0:
        if not select.select([terminal], [], [], rest)[0]:
            return
        try:
            text = os.read(terminal, 65536)
        except OSError:
            return
        if not text:
            return
        yield time.monotonic(), text


def marked(mark):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if f"LAUNCHER_MARK={mark}".encode() in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return sorted(found)


def name(pid):
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def end(pid, terminal, mark):
    for left in marked(mark):
        try:
            os.kill(left, signal.SIGCONT)
            os.kill(left, signal.SIGKILL)
        except OSError:
            pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def interrupted(launch, within, serial):
    """How many of the jobs ran to their end although Ctrl-C was pressed."""
    chance = random.Random(1)
    lost = 0
    for number in range(TRIES):
        mark = f"{os.getpid()}-{serial}-{number}"
        pid, terminal = on_terminal([*launch, "4", "sleep", "1.5"], mark)
        time.sleep(chance.uniform(0, within))
        try:
            os.write(terminal, b"\x03")
        except OSError:
            pass
        for _ in read(terminal, time.monotonic() + 20):
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lost += code == 0
        os.close(terminal)
    return f"{lost} of {TRIES}"


def stopped(launch, options, variables, stop, serial):
    """The end of a job that runs for half its limit, and is stopped for some seconds."""
    mark = f"{os.getpid()}-{serial}"
    loop = f"i=0; while [ $i -lt {LIMIT * 5} ]; do sleep 0.1; i=$((i+1)); done"
    environment = {**os.environ, **variables, "LAUNCHER_MARK": mark}
    command = [launch[0], *options, *launch[1:], str(RANKS), "sh", "-c", loop]
    job = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, start_new_session=True)
    while not any(name(pid) == "sleep" for pid in marked(mark)):
        time.sleep(0.01)
    pids = [job.pid, *marked(mark)]
    for which, pause in ((signal.SIGSTOP, stop), (signal.SIGCONT, 0)):
        for pid in pids:
            try:
                os.kill(pid, which)
            except OSError:
                pass
        time.sleep(pause)
    job.communicate(timeout=60)
    return "goes on" if job.returncode == 0 else f"ended, code {job.returncode}"


def first_shown(launch, program, serial):
    """When the first byte (of the question, the question) was on the terminal, from the program's start."""
    mark = f"{os.getpid()}-{serial}"
    pid, terminal = on_terminal([*launch, "1", "python3", "-uc", program], mark)
    begin = time.monotonic()
    wanted = b"continue?" if "continue" in program else b""
    seen, at = b"", None
    for when, text in read(terminal, begin + QUIET):
        seen += text
        if at is None and wanted in seen:
            at = when - begin
            break
    end(pid, terminal, mark)
    return "never" if at is None else f"{at:.2f} s"


def main():
    ours, mpis = sys.argv[1], (sys.argv[2:] or ["/nowhere"])[0]
    for path in (f"{mpis}/impi/lib", f"{mpis}/impi/lib/libfabric"):
        if os.path.isdir(path):
            os.environ["LD_LIBRARY_PATH"] = path + ":" + os.environ.get("LD_LIBRARY_PATH", "")
    heads = ["launcher", "Ctrl-C within 30 ms lost", "within 300 ms lost", f"stopped for {STOP} s, limit {LIMIT} s",
             "`\\r` bar", "dots", "question behind 4096 bytes"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for number, (name, launch, options, variables) in enumerate(launchers(ours, mpis)):
        row = [name]
        row += [interrupted(launch, within, f"{number}-{within}") for within in (0.03, 0.3)]
        undisturbed = stopped(launch, options, variables, 0, f"{number}-control")
        assert undisturbed == "goes on", f"{name}: {undisturbed} without a stop"
        row.append(stopped(launch, options, variables, STOP, f"{number}-stop"))
        row += [first_shown(launch, program, f"{number}-{kind}") for kind, program in OUTPUT.items()]
        print("| " + " | ".join(row) + " |", flush=True)


main()
